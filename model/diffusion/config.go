package diffusion

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"slices"
	"strings"

	"yohaku/model/config"
)

// ConfigFile is the file that diffusers keeps a scheduler in.
const ConfigFile = "scheduler_config.json"

// maxConfigBytes bounds the file; a long trained_betas fits easily.
const maxConfigBytes = 16 << 20

// maxTimesteps bounds num_train_timesteps before anything is allocated; models have 1,000.
const maxTimesteps = 1 << 20

// Prediction types: what the network's output stands for.
const (
	Epsilon     = "epsilon"      // The noise.
	VPrediction = "v_prediction" // √ᾱ·noise − √(1−ᾱ)·x₀
	SampleType  = "sample"       // x₀
)

// Config is what this package reads of a scheduler_config.json, with diffusers' keys and the
// defaults of its DDPMScheduler.
type Config struct {
	Class string `json:"-"` // _class_name, "" when the file has none.

	NumTrainTimesteps   int        `json:"num_train_timesteps"`
	BetaStart           float64    `json:"beta_start"`
	BetaEnd             float64    `json:"beta_end"`
	BetaSchedule        string     `json:"beta_schedule"` // linear, scaled_linear, squaredcos_cap_v2 or sigmoid.
	TrainedBetas        *[]float64 `json:"trained_betas"` // Takes the place of the three above.
	RescaleBetasZeroSNR bool       `json:"rescale_betas_zero_snr"`
	PredictionType      string     `json:"prediction_type"`
	PredictEpsilon      *bool      `json:"predict_epsilon"` // Old files' way to say epsilon or sample.
	UseFlowSigmas       bool       `json:"use_flow_sigmas"`
	TimestepSpacing     string     `json:"timestep_spacing"` // leading, trailing or linspace.
	StepsOffset         int        `json:"steps_offset"`
	SetAlphaToOne       bool       `json:"set_alpha_to_one"`
	ClipSample          bool       `json:"clip_sample"`
	ClipSampleRange     float64    `json:"clip_sample_range"`
	VarianceType        *string    `json:"variance_type"`
	Thresholding        bool       `json:"thresholding"`
}

// Default returns the configuration of an empty file of that class.
func Default(class string) Config {
	return Config{
		Class: class, NumTrainTimesteps: 1000, BetaStart: 0.0001, BetaEnd: 0.02, BetaSchedule: "linear",
		PredictionType: Epsilon, TimestepSpacing: "leading", SetAlphaToOne: true, ClipSample: true, ClipSampleRange: 1,
	}
}

// trainable lists diffusers' scheduler classes whose files hold a schedule of betas.
var trainable = []string{
	"DDPMScheduler", "DDPMParallelScheduler", "DDIMScheduler", "DDIMParallelScheduler", "DDIMInverseScheduler", "PNDMScheduler",
	"EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler", "LMSDiscreteScheduler",
	"KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "DPMSolverMultistepScheduler", "DPMSolverMultistepInverseScheduler",
	"DPMSolverSinglestepScheduler", "DPMSolverSDEScheduler", "DEISMultistepScheduler", "UniPCMultistepScheduler",
	"LCMScheduler", "TCDScheduler", "SASolverScheduler",
}

// inert lists the keys of those classes that bear on neither training nor the samplers here.
var inert = []string{
	"skip_prk_steps", "dynamic_thresholding_ratio", "sample_max_value", "interpolation_type", "use_karras_sigmas",
	"use_exponential_sigmas", "use_beta_sigmas", "sigma_min", "sigma_max", "timestep_type", "final_sigmas_type",
	"solver_order", "algorithm_type", "solver_type", "lower_order_final", "euler_at_final", "use_lu_lambdas", "flow_shift",
	"lambda_min_clipped", "use_dynamic_shifting", "time_shift_type", "noise_sampler_seed", "predict_x0", "disable_corrector",
	"solver_p", "original_inference_steps", "timestep_scaling", "predictor_order", "corrector_order", "tau_func",
	"tensor_format", "shift_terminal",
}

// ReadConfig reads scheduler_config.json of the folder dir within fsys.
func ReadConfig(fsys fs.FS, dir string) (Config, error) {
	name := path.Join(dir, ConfigFile)
	f, err := fsys.Open(name)
	if err != nil {
		return Config{}, fmt.Errorf("open scheduler config: %w", err)
	}
	defer func() { _ = f.Close() }() // Only read from.
	data, err := io.ReadAll(io.LimitReader(f, maxConfigBytes+1))
	if err != nil {
		return Config{}, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > maxConfigBytes {
		return Config{}, fmt.Errorf("read %s: larger than %d bytes: not a scheduler config", name, maxConfigBytes)
	}
	c, err := ParseConfig(data)
	if err != nil {
		return Config{}, fmt.Errorf("read %s: %w", name, err)
	}
	return c, nil
}

// ParseConfig decodes a scheduler_config.json. It takes the bare NaN and Infinity that Python
// writes. An unknown class, key or value is an error that names it.
func ParseConfig(data []byte) (Config, error) {
	data = quoteBareNumbers(data)
	var head struct {
		Class string `json:"_class_name"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return Config{}, fmt.Errorf("scheduler config: %w", err)
	}
	if head.Class != "" && !slices.Contains(trainable, head.Class) {
		return Config{}, fmt.Errorf("scheduler class %q has no schedule of betas to train with; supported: %s", head.Class, strings.Join(trainable, ", "))
	}
	c := Default(head.Class)
	name := head.Class
	if name == "" {
		name = "scheduler"
	}
	if err := config.Decode(name, data, &c, inert...); err != nil {
		return Config{}, err
	}
	if c.PredictEpsilon != nil && !*c.PredictEpsilon && c.PredictionType == Epsilon {
		c.PredictionType = SampleType
	}
	return c, c.validate(name)
}

// validate holds the rules that training needs.
func (c Config) validate(name string) error {
	k := config.Checker{Class: name}
	k.Range("num_train_timesteps", c.NumTrainTimesteps, 1, maxTimesteps)
	k.That(!c.RescaleBetasZeroSNR || c.NumTrainTimesteps > 1, "rescale_betas_zero_snr", true, "needs num_train_timesteps above 1")
	k.OneOf("beta_schedule", c.BetaSchedule, "linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid")
	k.OneOf("prediction_type", c.PredictionType, Epsilon, VPrediction, SampleType)
	k.That(!c.UseFlowSigmas, "use_flow_sigmas", true, "flow matching is not supported; supported: false")
	k.That(beta(c.BetaStart), "beta_start", c.BetaStart, "must be above 0 and below 1")
	k.That(beta(c.BetaEnd), "beta_end", c.BetaEnd, "must be above 0 and below 1")
	if c.TrainedBetas != nil {
		k.That(len(*c.TrainedBetas) == c.NumTrainTimesteps, "trained_betas", fmt.Sprintf("of %d betas", len(*c.TrainedBetas)), "must have num_train_timesteps = %d", c.NumTrainTimesteps)
		for i, b := range *c.TrainedBetas {
			k.That(b > 0 && b <= 1, "trained_betas", b, "beta %d must be above 0 and at most 1", i)
		}
	}
	return k.Err()
}

func beta(b float64) bool { return b > 0 && b < 1 && !math.IsNaN(b) }

// errNoSampler begins the message for a class that cannot be sampled with.
var errNoSampler = errors.New("no sampler for this scheduler class")

// quoteBareNumbers turns the bare NaN, Infinity and -Infinity outside of strings, which Python
// writes and JSON lacks, into strings.
func quoteBareNumbers(data []byte) []byte {
	out := make([]byte, 0, len(data)+16)
	inString := false
	for i := 0; i < len(data); {
		switch c := data[i]; {
		case inString && c == '\\' && i+1 < len(data):
			out = append(out, c, data[i+1])
			i += 2
			continue
		case c == '"':
			inString = !inString
		case !inString:
			if word := bareNumber(data[i:]); word != "" {
				out = append(append(append(out, '"'), word...), '"')
				i += len(word)
				continue
			}
		}
		out = append(out, data[i])
		i++
	}
	return out
}

func bareNumber(data []byte) string {
	for _, word := range []string{"-Infinity", "Infinity", "NaN"} {
		if len(data) >= len(word) && string(data[:len(word)]) == word {
			return word
		}
	}
	return ""
}
