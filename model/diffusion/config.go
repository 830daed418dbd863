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

// Config is what this package reads of a scheduler_config.json, with diffusers' keys. Values that
// the file lacks are nil or "" where diffusers' defaults differ between classes, so that a file of
// one class may be sampled as another.
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

	// Only for sampling.
	TimestepSpacing string  `json:"timestep_spacing"` // leading, trailing or linspace; "" is the class's default.
	StepsOffset     int     `json:"steps_offset"`
	SetAlphaToOne   *bool   `json:"set_alpha_to_one"` // DDIM, nil is true; PNDM, nil is false.
	SkipPRKSteps    bool    `json:"skip_prk_steps"`   // PNDM.
	ClipSample      bool    `json:"clip_sample"`      // DDIM and DDPM.
	ClipSampleRange float64 `json:"clip_sample_range"`
	VarianceType    *string `json:"variance_type"`
	Thresholding    bool    `json:"thresholding"`

	// Noise levels of the Euler samplers and DPM-Solver.
	UseKarrasSigmas      *bool    `json:"use_karras_sigmas"`
	UseExponentialSigmas *bool    `json:"use_exponential_sigmas"`
	UseBetaSigmas        *bool    `json:"use_beta_sigmas"`
	UseLuLambdas         *bool    `json:"use_lu_lambdas"`
	SigmaMin             *float64 `json:"sigma_min"`
	SigmaMax             *float64 `json:"sigma_max"`
	FinalSigmasType      string   `json:"final_sigmas_type"` // zero or sigma_min.
	InterpolationType    string   `json:"interpolation_type"`
	TimestepType         string   `json:"timestep_type"`
	LambdaMinClipped     number   `json:"lambda_min_clipped"`

	// DPM-Solver.
	SolverOrder     int    `json:"solver_order"`
	AlgorithmType   string `json:"algorithm_type"`
	SolverType      string `json:"solver_type"`
	LowerOrderFinal bool   `json:"lower_order_final"`
	EulerAtFinal    bool   `json:"euler_at_final"`
}

// Default returns the configuration of an empty file of that class.
func Default(class string) Config {
	return Config{
		Class: class, NumTrainTimesteps: 1000, BetaStart: 0.0001, BetaEnd: 0.02, BetaSchedule: "linear",
		PredictionType: Epsilon, ClipSample: true, ClipSampleRange: 1,
		FinalSigmasType: "zero", InterpolationType: "linear", TimestepType: "discrete", LambdaMinClipped: number(math.Inf(-1)),
		SolverOrder: 2, AlgorithmType: "dpmsolver++", SolverType: "midpoint", LowerOrderFinal: true,
	}
}

// number is a float64 that also reads the strings that quoteBareNumbers makes.
type number float64

// UnmarshalJSON reads a JSON number, "NaN", "Infinity" or "-Infinity".
func (n *number) UnmarshalJSON(data []byte) error {
	var f float64
	if err := json.Unmarshal(data, &f); err == nil && string(data) != "null" {
		*n = number(f)
		return nil
	}
	switch string(data) {
	case `"NaN"`:
		*n = number(math.NaN())
	case `"Infinity"`:
		*n = number(math.Inf(1))
	case `"-Infinity"`:
		*n = number(math.Inf(-1))
	default:
		return errors.New("want a number")
	}
	return nil
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
	"dynamic_thresholding_ratio", "sample_max_value", "flow_shift", "use_dynamic_shifting", "time_shift_type",
	"noise_sampler_seed", "predict_x0", "disable_corrector", "solver_p", "original_inference_steps", "timestep_scaling",
	"predictor_order", "corrector_order", "tau_func", "tensor_format", "shift_terminal",
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
