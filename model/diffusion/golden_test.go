package diffusion

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yohaku/internal/golden"
	"yohaku/internal/safetensors"
)

type goldenRun struct {
	Key       string `json:"key"`
	Scheduler string `json:"scheduler"`
	StepArgs  struct {
		Eta float64 `json:"eta"`
	} `json:"step_args"`
	Steps          int     `json:"steps"`
	InitNoiseSigma float64 `json:"init_noise_sigma"`
	UsesNoise      bool    `json:"uses_noise"`
}

func TestGoldenSamplers(t *testing.T) {
	golden.RunSubs(t, "06_schedulers", []string{"DDIM", "DDPM"}, func(t *testing.T, c *golden.Case) {
		var args struct {
			Runs []goldenRun `json:"runs"`
		}
		c.Args(t, &args)
		inputs, outputs := c.Inputs(t), c.Outputs(t)
		found := 0
		for _, run := range args.Runs {
			if run.Scheduler != c.Sub+"Scheduler" {
				continue
			}
			found++
			t.Run(run.Key, func(t *testing.T) { goldenTrajectory(t, c, run, inputs, outputs) })
		}
		if found == 0 {
			t.Errorf("the case has no run of %s", c.Sub)
		}
	})
}

// goldenTrajectory samples with the case's stand-in for a network, 0.3·x + 0.1·sin(t).
func goldenTrajectory(t *testing.T, c *golden.Case, run goldenRun, inputs, outputs *safetensors.File) {
	folder, _, _ := strings.Cut(run.Key[len("00_"):], "_")
	config, err := ReadConfig(os.DirFS(c.Path("configs")), run.Key[:len("00_")]+folder)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSampler(config, run.Steps, SamplerOptions{Eta: run.StepArgs.Eta})
	if err != nil {
		t.Fatal(err)
	}
	var got []int64
	for _, step := range s.Timesteps() {
		got = append(got, int64(step))
	}
	want, err := outputs.Int64s(run.Key + ".timesteps")
	if diff := cmp.Diff(got, want); diff != "" || err != nil {
		t.Fatal(err, "timesteps got, want:", diff)
	}
	if s.InitNoiseSigma() != run.InitNoiseSigma {
		t.Errorf("init_noise_sigma %v, want %v", s.InitNoiseSigma(), run.InitNoiseSigma)
	}
	noise := golden.Float32(t, inputs, fmt.Sprintf("noise.%d", len(got)))
	x := golden.Float32(t, inputs, "x0_unit")
	trajectory, modelInputs := slices.Clone(x), []float32(nil)
	prediction := make([]float32, len(x))
	input := make([]float32, len(x))
	drew := false
	for i, step := range s.Timesteps() {
		s.ScaleModelInput(input, x, i)
		modelInputs = append(modelInputs, input...)
		for j, v := range input {
			prediction[j] = float32(0.3*v) + float32(0.1*math.Sin(float64(step)))
		}
		drew = drew || s.NeedsNoise(i)
		s.Step(i, prediction, x, noise[i*len(x):(i+1)*len(x)])
		trajectory = append(trajectory, x...)
	}
	if drew != run.UsesNoise {
		t.Errorf("noise was drawn: %v, want %v", drew, run.UsesNoise)
	}
	c.Near(t, run.Key+".samples", trajectory, golden.Float32(t, outputs, run.Key+".samples"))
	c.Near(t, run.Key+".samples", modelInputs, golden.Float32(t, outputs, run.Key+".model_inputs"))
}

func TestGoldenTraining(t *testing.T) {
	golden.RunSubs(t, "06_schedulers", []string{"train"}, func(t *testing.T, c *golden.Case) {
		inputs, outputs := c.Inputs(t), c.Outputs(t)
		latents, noise := golden.Float32(t, inputs, "train.latents"), golden.Float32(t, inputs, "train.noise")
		timesteps, err := inputs.Int64s("train.timesteps")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"ddpm", "ddpm_zsnr"} {
			config, err := ReadConfig(os.DirFS(c.Path("configs")), "train_"+name)
			if err != nil {
				t.Fatal(err)
			}
			s := config.Schedule()
			noisy, velocity := make([]float32, len(latents)), make([]float32, len(latents))
			n := len(latents) / len(timesteps)
			for i, step := range timesteps {
				lo, hi := i*n, (i+1)*n
				s.AddNoise(noisy[lo:hi], latents[lo:hi], noise[lo:hi], int(step))
				s.Velocity(velocity[lo:hi], latents[lo:hi], noise[lo:hi], int(step))
			}
			key := "train." + name + "."
			c.Near(t, "train.alphas_cumprod", s.AlphasCumprod, golden.Float32(t, outputs, key+"alphas_cumprod"))
			c.Near(t, "train.alphas_cumprod", s.Betas, golden.Float32(t, outputs, key+"betas"))
			c.Near(t, "train.add_noise", noisy, golden.Float32(t, outputs, key+"add_noise"))
			c.Near(t, "train.velocity", velocity, golden.Float32(t, outputs, key+"velocity"))
		}
	})
}

// TestGoldenAnyClassTrains: every scheduler file of the case gives the one schedule that they
// were all made with, whatever their class, and only DDPM and DDIM are sampled.
func TestGoldenAnyClassTrains(t *testing.T) {
	golden.RunSubs(t, "06_schedulers", []string{"train"}, func(t *testing.T, c *golden.Case) {
		folders, err := filepath.Glob(c.Path("configs", "*"))
		if err != nil || len(folders) == 0 {
			t.Fatal(err, len(folders))
		}
		outputs := c.Outputs(t)
		for _, folder := range folders {
			config, err := ReadConfig(os.DirFS(folder), ".")
			if err != nil {
				t.Error(err)
				continue
			}
			key := "train.ddpm.alphas_cumprod"
			if config.RescaleBetasZeroSNR {
				key = "train.ddpm_zsnr.alphas_cumprod"
			}
			c.Near(t, "train.alphas_cumprod", config.Schedule().AlphasCumprod, golden.Float32(t, outputs, key))
			_, err = NewSampler(config, 10, SamplerOptions{})
			if slices.Contains(SamplerClasses(), config.Class) != (err == nil) {
				t.Errorf("%s: sampler error %v", config.Class, err)
			}
		}
	})
}
