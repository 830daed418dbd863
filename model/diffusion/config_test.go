package diffusion

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestParseConfig(t *testing.T) {
	// As diffusers writes it for a DPMSolverMultistepScheduler, with the bare -Infinity.
	c, err := ParseConfig([]byte(`{"_class_name":"DPMSolverMultistepScheduler","_diffusers_version":"0.42.1","_note":"a \"NaN\" \\",
		"algorithm_type":"dpmsolver++","beta_end":0.012,"beta_schedule":"scaled_linear","beta_start":0.00085,"lambda_min_clipped":-Infinity,
		"num_train_timesteps":50,"prediction_type":"v_prediction","solver_order":2,"trained_betas":null,"variance_type":null}`))
	if err != nil {
		t.Fatal(err)
	}
	want := Default("DPMSolverMultistepScheduler")
	want.BetaStart, want.BetaEnd, want.BetaSchedule = 0.00085, 0.012, "scaled_linear"
	want.NumTrainTimesteps, want.PredictionType = 50, VPrediction
	if diff := cmp.Diff(c, want); diff != "" {
		t.Error("got, want:", diff)
	}
	for file, want := range map[string]string{
		`{}`: Epsilon, `{"predict_epsilon":false}`: SampleType, `{"predict_epsilon":true}`: Epsilon,
		`{"predict_epsilon":false,"prediction_type":"v_prediction"}`: VPrediction,
	} {
		if c, err := ParseConfig([]byte(file)); err != nil || c.PredictionType != want {
			t.Errorf("%s: prediction_type %s, want %s (%v)", file, c.PredictionType, want, err)
		}
	}
}

func TestParseConfigRefusesByName(t *testing.T) {
	for file, want := range map[string]string{
		`{"_class_name":"FlowMatchEulerDiscreteScheduler"}`: `scheduler class "FlowMatchEulerDiscreteScheduler" has no schedule of betas`,
		`{"_class_name":7}`: "scheduler config",
		`[]`:                "scheduler config",
		`{"betta_start":1}`: `"betta_start"`,
		`{"_class_name":"DDIMScheduler","num_train_timesteps":0}`: `DDIMScheduler config: key "num_train_timesteps": value 0: must be between 1`,
		`{"num_train_timesteps":99999999999}`:                     `"num_train_timesteps"`,
		`{"num_train_timesteps":"many"}`:                          `"num_train_timesteps"`,
		`{"num_train_timesteps":1,"rescale_betas_zero_snr":true}`: `"rescale_betas_zero_snr"`,
		`{"beta_schedule":"cubic"}`:                               `"beta_schedule": value "cubic"`,
		`{"prediction_type":"flow_prediction"}`:                   `"prediction_type": value "flow_prediction"`,
		`{"use_flow_sigmas":true}`:                                `"use_flow_sigmas"`,
		`{"beta_start":0}`:                                        `"beta_start"`,
		`{"beta_start":-Infinity}`:                                `"beta_start"`,
		`{"beta_end":NaN}`:                                        `"beta_end"`,
		`{"beta_end":1}`:                                          `"beta_end"`,
		`{"trained_betas":[0.1,0.2]}`:                             `"trained_betas"`,
		`{"trained_betas":[0.1,2],"num_train_timesteps":2}`:       `"trained_betas": value 2: beta 1`,
		`{"lambda_min_clipped":"low"}`:                            `"lambda_min_clipped"`,
		`{"lambda_min_clipped":null}`:                             `"lambda_min_clipped"`,
		`{"use_karras_sigmas":1}`:                                 `"use_karras_sigmas"`,
		`{"trained_betas":"x"}`:                                   `"trained_betas"`,
	} {
		if _, err := ParseConfig([]byte(file)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line with %q", file, err, want)
		}
	}
	fsys := fstest.MapFS{"scheduler/scheduler_config.json": {Data: []byte(`{"betta":1}`)}}
	if _, err := ReadConfig(fsys, "scheduler"); err == nil || !strings.Contains(err.Error(), "scheduler/scheduler_config.json") {
		t.Errorf("the file is not named: %v", err)
	}
	if _, err := ReadConfig(fsys, "elsewhere"); err == nil {
		t.Error("a missing file gives no error")
	}
}

func TestNewSamplerRefusesByName(t *testing.T) {
	const dpm = "DPMSolverMultistepScheduler"
	large, log, yes := "fixed_large_log", "fixed_small_log", true
	for _, c := range []struct {
		want   string
		steps  int
		eta    float64
		change func(*Config)
	}{
		{`no sampler for this scheduler class: "HeunDiscreteScheduler"; supported: [DDIMScheduler DDPMScheduler DPMSolverMultistepScheduler `, 10, 0, func(c *Config) { c.Class = "HeunDiscreteScheduler" }},
		{"sampling steps must be between 1 and num_train_timesteps = 1000, got 0", 0, 0, func(*Config) {}},
		{"got 1001", 1001, 0, func(*Config) {}},
		{`"timestep_spacing": value "random"`, 10, 0, func(c *Config) { c.TimestepSpacing = "random" }},
		{`"thresholding"`, 10, 0, func(c *Config) { c.Thresholding = true }},
		{`"clip_sample_range"`, 10, 0, func(c *Config) { c.ClipSampleRange = math.NaN() }},
		{`"steps_offset"`, 10, 0, func(c *Config) { c.StepsOffset = -1 }},
		{"visit timestep 1000, outside 0 to 999", 1000, 0, func(c *Config) { c.StepsOffset = 1 }},
		{"eta must be between 0 and 1, got 2", 10, 2, func(*Config) {}},
		{`"variance_type": value "fixed_large_log"`, 10, 0, func(c *Config) { c.Class, c.VarianceType = "DDPMScheduler", &large }},
		{`"prediction_type": value "sample"`, 10, 0, func(c *Config) { c.Class, c.PredictionType = "PNDMScheduler", SampleType }},
		{`"prediction_type": value "sample"`, 10, 0, func(c *Config) { c.Class, c.PredictionType = "EulerAncestralDiscreteScheduler", SampleType }},
		{`"rescale_betas_zero_snr"`, 10, 0, func(c *Config) { c.Class, c.RescaleBetasZeroSNR = "PNDMScheduler", true }},
		{"needs at least 4 steps, got 3", 3, 0, func(c *Config) { c.Class = "PNDMScheduler" }},
		{`"interpolation_type": value "log_linear"`, 10, 0, func(c *Config) { c.Class, c.InterpolationType = "EulerDiscreteScheduler", "log_linear" }},
		{`"timestep_type": value "continuous"`, 10, 0, func(c *Config) { c.Class, c.TimestepType = "EulerDiscreteScheduler", "continuous" }},
		{`"use_beta_sigmas"`, 10, 0, func(c *Config) { c.Class, c.UseBetaSigmas = "EulerDiscreteScheduler", &yes }},
		{`"sigma_min": value 0`, 10, 0, func(c *Config) { c.Class, c.SigmaMin = "EulerDiscreteScheduler", new(float64) }},
		{`"use_exponential_sigmas"`, 10, 0, func(c *Config) { c.Class, c.UseExponentialSigmas, c.UseKarrasSigmas = dpm, &yes, &yes }},
		{`"algorithm_type": value "sde-dpmsolver"`, 10, 0, func(c *Config) { c.Class, c.AlgorithmType = dpm, "sde-dpmsolver" }},
		{`"final_sigmas_type": value "zero"`, 10, 0, func(c *Config) { c.Class, c.AlgorithmType = dpm, "dpmsolver" }},
		{`"solver_order": value 3`, 10, 0, func(c *Config) { c.Class, c.AlgorithmType, c.SolverOrder = dpm, "sde-dpmsolver++", 3 }},
		{`"solver_order": value 4`, 10, 0, func(c *Config) { c.Class, c.SolverOrder = dpm, 4 }},
		{`"solver_type": value "bh2"`, 10, 0, func(c *Config) { c.Class, c.SolverType = dpm, "bh2" }},
		{"lambda_min_clipped 90 leaves no timestep", 10, 0, func(c *Config) { c.Class, c.LambdaMinClipped = dpm, 90 }},
		{"lambda_min_clipped NaN leaves no timestep", 10, 0, func(c *Config) { c.Class, c.LambdaMinClipped = dpm, number(math.NaN()) }},
		{`"variance_type"`, 10, 0, func(c *Config) { c.Class, c.VarianceType = dpm, &large }},
		{"1000 steps give noise level 1 the sigma", 1000, 0, func(c *Config) { c.Class, c.TimestepSpacing = dpm, "leading" }},
		{"has no image at timestep 999", 10, 0, func(c *Config) { c.RescaleBetasZeroSNR, c.TimestepSpacing = true, "trailing" }},
	} {
		config := Default("DDIMScheduler")
		c.change(&config)
		if _, err := NewSampler(config, c.steps, SamplerOptions{Eta: c.eta}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	config := Default("DDPMScheduler")
	config.VarianceType = &log
	if _, err := NewSampler(config, 10, SamplerOptions{}); err != nil {
		t.Error(err)
	}
	config.Class = ""
	if _, err := NewSampler(config, 10, SamplerOptions{}); !errors.Is(err, errNoSampler) {
		t.Errorf("no class: %v", err)
	}
}

func TestSchedules(t *testing.T) {
	for name, want := range map[string][2]float32{ // First and last beta of four.
		"linear": {0.0001, 0.02}, "scaled_linear": {0.0001, 0.02}, "sigmoid": {0.0001492, 0.0199508}, "squaredcos_cap_v2": {0.1529879, 0.999},
	} {
		c := Default("")
		c.BetaSchedule, c.NumTrainTimesteps = name, 4
		s := c.Schedule()
		for i, b := range []float32{s.Betas[0], s.Betas[3]} {
			if math.Abs(float64(b/want[i]-1)) > 1e-4 {
				t.Errorf("%s: beta %v, want %v", name, b, want[i])
			}
		}
		product := 1.0
		for i, b := range s.Betas {
			product *= 1 - float64(b)
			if math.Abs(float64(s.AlphasCumprod[i])-product) > 1e-6 {
				t.Errorf("%s: ᾱ[%d] = %v, want %v", name, i, s.AlphasCumprod[i], product)
			}
		}
	}
	c := Default("")
	c.NumTrainTimesteps, c.TrainedBetas = 2, &[]float64{0.25, 0.5}
	if diff := cmp.Diff(c.Schedule().AlphasCumprod, []float32{0.75, 0.375}); diff != "" {
		t.Error("trained betas:", diff)
	}
	c.RescaleBetasZeroSNR = true
	if last := c.Schedule().AlphasCumprod[1]; last != 0 {
		t.Errorf("zero terminal SNR: ᾱ ends at %v", last)
	}
	if diff := cmp.Diff(*c.TrainedBetas, []float64{0.25, 0.5}); diff != "" {
		t.Error("Schedule changed its config:", diff)
	}
}

// TestTargetsAndInverse: from a noisy sample and its exact target a sampler finds the clean one.
func TestTargetsAndInverse(t *testing.T) {
	x, noise := []float32{0.3, -0.5, 0.9}, []float32{1.2, -0.1, 0.4}
	for _, class := range SamplerClasses() {
		for _, prediction := range []string{Epsilon, VPrediction, SampleType} {
			if !slices.Contains(classes[class].predictions, prediction) {
				continue
			}
			c, one := Default(class), true
			c.PredictionType, c.TimestepSpacing, c.SetAlphaToOne, c.SkipPRKSteps = prediction, "trailing", &one, true
			s, err := NewSampler(c, 1, SamplerOptions{})
			if err != nil {
				t.Fatal(err)
			}
			at := int(s.Timesteps()[0])
			noisy, target := make([]float32, 3), make([]float32, 3)
			c.Schedule().AddNoise(noisy, x, noise, at)
			c.Schedule().Target(target, x, noise, at)
			if s.InitNoiseSigma() > 1 { // Its samples are not scaled to unit variance.
				root, _ := c.Schedule().roots(at)
				for i := range noisy {
					noisy[i] /= root
				}
			}
			s.Start().Step(0, target, noisy, make([]float32, 3))
			for i := range x {
				if math.Abs(float64(noisy[i]-x[i])) > 2e-4 { // √ᾱ is 0.006 at the last timestep.
					t.Errorf("%s, %s: got %v, want %v", class, prediction, noisy, x)
				}
			}
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"_class_name":"DDIMScheduler","lambda_min_clipped":-Infinity,"trained_betas":[0.1],"num_train_timesteps":1}`), 10)
	f.Add([]byte(`{"_class_name":"PNDMScheduler"}`), 7)
	f.Add([]byte(`{"_class_name":"EulerAncestralDiscreteScheduler","rescale_betas_zero_snr":true}`), 3)
	f.Add([]byte(`{"_class_name":"DPMSolverMultistepScheduler","lambda_min_clipped":-5,"use_karras_sigmas":true,"solver_order":3,"final_sigmas_type":"sigma_min"}`), 9)
	f.Add([]byte(`{"\\":"NaN","beta_start":NaN}`), 1)
	f.Fuzz(func(t *testing.T, data []byte, steps int) {
		c, err := ParseConfig(data)
		if err != nil || c.NumTrainTimesteps > 2000 {
			return
		}
		s := c.Schedule()
		if len(s.Betas) != c.NumTrainTimesteps {
			t.Fatalf("%d betas, want %d", len(s.Betas), c.NumTrainTimesteps)
		}
		sampler, err := NewSampler(c, steps, SamplerOptions{})
		if err != nil {
			return
		}
		x, walk := []float32{1}, sampler.Start()
		for i := range sampler.Timesteps() {
			walk.Step(i, []float32{0.5}, x, []float32{0.1})
		}
	})
}
