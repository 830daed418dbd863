package diffusion

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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
	golden.RunSubs(t, "06_schedulers", []string{"DDIM", "DDPM", "PNDM", "EulerDiscrete", "EulerAncestralDiscrete", "DPMSolverMultistep"}, func(t *testing.T, c *golden.Case) {
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
	got := s.Timesteps()
	near(t, "timesteps", got, goldenTimesteps(t, outputs, run.Key+".timesteps"), 1e-4) // Those at given noise levels are between two.
	switch s := s.(type) {
	case *euler:
		near(t, "sigmas", s.sigmas, golden.Float32(t, outputs, run.Key+".sigmas"), 2e-6)
	case *dpm:
		near(t, "sigmas", s.sigmas, golden.Float32(t, outputs, run.Key+".sigmas"), 2e-6)
	}
	if math.Abs(s.InitNoiseSigma()/run.InitNoiseSigma-1) > 1e-6 {
		t.Errorf("init_noise_sigma %v, want %v", s.InitNoiseSigma(), run.InitNoiseSigma)
	}
	noise := golden.Float32(t, inputs, fmt.Sprintf("noise.%d", len(got)))
	x := golden.Float32(t, inputs, "x0_unit")
	for i := range x {
		x[i] *= float32(s.InitNoiseSigma())
	}
	trajectory, modelInputs := slices.Clone(x), []float32(nil)
	prediction := make([]float32, len(x))
	input := make([]float32, len(x))
	drew, walk := false, s.Start()
	for i, step := range s.Timesteps() {
		s.ScaleModelInput(input, x, i)
		modelInputs = append(modelInputs, input...)
		for j, v := range input {
			prediction[j] = float32(0.3*v) + float32(0.1*math.Sin(float64(step)))
		}
		drew = drew || s.NeedsNoise(i)
		walk.Step(i, prediction, x, noise[i*len(x):(i+1)*len(x)])
		trajectory = append(trajectory, x...)
	}
	if drew != run.UsesNoise {
		t.Errorf("noise was drawn: %v, want %v", drew, run.UsesNoise)
	}
	c.Near(t, run.Key+".samples", trajectory, golden.Float32(t, outputs, run.Key+".samples"))
	c.Near(t, run.Key+".samples", modelInputs, golden.Float32(t, outputs, run.Key+".model_inputs"))
}

// goldenTimesteps reads timesteps, which some classes have as whole numbers.
func goldenTimesteps(t *testing.T, f *safetensors.File, name string) []float32 {
	whole, err := f.Int64s(name)
	if err != nil {
		return golden.Float32(t, f, name)
	}
	out := make([]float32, len(whole))
	for i, v := range whole {
		out[i] = float32(v)
	}
	return out
}

// near checks |got − want| ≤ rel·max(1, |want|).
func near(t *testing.T, name string, got, want []float32, rel float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d %s, want %d", len(got), name, len(want))
	}
	for i, w := range want {
		if !(math.Abs(float64(got[i]-w)) <= rel*max(1, math.Abs(float64(w)))) {
			t.Errorf("%s[%d] = %v, want %v", name, i, got[i], w)
		}
	}
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
			betas := golden.Float32(t, outputs, key+"betas")
			if config.RescaleBetasZeroSNR {
				weigh(s.AlphasCumprod, s.Betas, betas)
			}
			c.Near(t, "train.alphas_cumprod", s.Betas, betas)
			c.Near(t, "train.add_noise", noisy, golden.Float32(t, outputs, key+"add_noise"))
			c.Near(t, "train.velocity", velocity, golden.Float32(t, outputs, key+"velocity"))
		}
	})
}

// weigh turns β_t into ᾱ_{t−1}·β_t, the step of ᾱ. Rescaled betas are quotients of numbers that end
// at 0: the last of them magnify the rounding of √ᾱ, and torch's square root is off by a bit.
func weigh(bar []float32, betas ...[]float32) {
	for _, b := range betas {
		for i := range b[1:] {
			b[i+1] *= bar[i]
		}
	}
}

// TestGoldenAnyClassTrains: every scheduler file of the case gives the one schedule that they
// were all made with, whatever their class, and all are sampled.
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
			if _, err = NewSampler(config, 10, SamplerOptions{}); err != nil {
				t.Error(err)
			}
		}
	})
}
