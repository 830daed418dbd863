package diffusion

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"yohaku/model/config"
)

// Sampler is a plan of steps from noise to a sample. It is immutable and may be shared.
//
//	x ← noise · InitNoiseSigma
//	walk := sampler.Start()
//	for i, t := range Timesteps: walk.Step(i, network(ScaleModelInput(x), t), x, fresh noise when NeedsNoise(i))
type Sampler interface {
	Timesteps() []float32                    // What the network is told at each step, in order; some repeat, some are between two timesteps.
	InitNoiseSigma() float64                 // Standard deviation that x starts with.
	ScaleModelInput(dst, x []float32, i int) // dst = the network's input at step i for x; dst may be x.
	NeedsNoise(i int) bool                   // Whether step i reads its noise.
	Start() Trajectory                       // A new walk, at step 0.
}

// Trajectory is one walk of a Sampler. It remembers what a multistep method needs of the steps
// before, so it belongs to one x, and takes its steps in order, each once.
type Trajectory interface {
	Step(i int, prediction, x, noise []float32) // x becomes the sample after step i. noise is unit normal, unused unless NeedsNoise(i).
}

// SamplerOptions are arguments of sampling that are not in the scheduler's file.
type SamplerOptions struct {
	Eta float64 // DDIM's η in [0, 1]: 0 is deterministic, 1 adds DDPM's noise.
}

// errNoSampler begins the message for a class that cannot be sampled with.
var errNoSampler = errors.New("no sampler for this scheduler class")

// class is one kind of sampler.
type class struct {
	spacing     string   // timestep_spacing of a file without one.
	predictions []string // prediction_type values.
	check       func(c Config, k *config.Checker)
	make        func(c Config, steps int, o SamplerOptions) (Sampler, error)
}

var classes = map[string]class{
	"DDIMScheduler": {"leading", []string{Epsilon, VPrediction, SampleType}, checkClipping, newDDIM},
	"DDPMScheduler": {"leading", []string{Epsilon, VPrediction, SampleType}, checkDDPM, newDDPM},
	"PNDMScheduler": {"leading", []string{Epsilon, VPrediction}, checkPNDM, newPNDM},

	"EulerDiscreteScheduler":          {"linspace", []string{Epsilon, VPrediction, SampleType}, checkEuler, newEuler},
	"EulerAncestralDiscreteScheduler": {"linspace", []string{Epsilon, VPrediction}, func(Config, *config.Checker) {}, newEulerAncestral},
	"DPMSolverMultistepScheduler":     {"linspace", []string{Epsilon, VPrediction, SampleType}, checkDPM, newDPM},
}

// SamplerClasses lists the scheduler classes that NewSampler takes, in alphabetical order.
func SamplerClasses() []string { return slices.Sorted(maps.Keys(classes)) }

// CheckSampler says whether c can be sampled with: an unsupported class or value is an error that
// names it. NewSampler may still refuse a number of steps.
func (c Config) CheckSampler() error {
	_, err := c.checked()
	return err
}

// checked returns c with its class's timestep_spacing if it has none.
func (c Config) checked() (Config, error) {
	kind, ok := classes[c.Class]
	if !ok {
		return c, fmt.Errorf("%w: %q; supported: %v (training takes any class with betas)", errNoSampler, c.Class, SamplerClasses())
	}
	if c.TimestepSpacing == "" {
		c.TimestepSpacing = kind.spacing
	}
	k := config.Checker{Class: c.Class}
	k.OneOf("timestep_spacing", c.TimestepSpacing, "leading", "trailing", "linspace")
	k.OneOf("prediction_type", c.PredictionType, kind.predictions...)
	k.That(!c.Thresholding, "thresholding", true, "not supported when sampling; supported: false")
	k.That(c.StepsOffset >= 0, "steps_offset", c.StepsOffset, "must be at least 0")
	kind.check(c, &k)
	return c, k.Err()
}

// NewSampler returns the sampler of c's class for that many steps. An unsupported class or value
// is an error that names it.
func NewSampler(c Config, steps int, o SamplerOptions) (Sampler, error) {
	c, err := c.checked()
	if err != nil {
		return nil, err
	}
	if steps < 1 || steps > c.NumTrainTimesteps {
		return nil, fmt.Errorf("sampling steps must be between 1 and num_train_timesteps = %d, got %d", c.NumTrainTimesteps, steps)
	}
	return classes[c.Class].make(c, steps, o)
}

// checkVisit refuses timesteps that the schedule does not have.
func (c Config) checkVisit(steps int, timesteps []float32) error {
	for _, t := range timesteps {
		if !(t >= 0 && int(t) < c.NumTrainTimesteps) { // Also catches NaN.
			return fmt.Errorf("%s: %d steps with timestep_spacing %s and steps_offset %d visit timestep %v, outside 0 to %d; use fewer steps",
				c.Class, steps, c.TimestepSpacing, c.StepsOffset, t, c.NumTrainTimesteps-1)
		}
	}
	return nil
}

// toOriginal sets dst to the clean sample x₀ that a prediction implies for x = a·x₀ + b·ε.
func toOriginal(dst []float32, kind string, prediction, x []float32, a, b float32) {
	switch kind {
	case Epsilon:
		for i, p := range prediction {
			dst[i] = (x[i] - float32(b*p)) / a
		}
	case VPrediction:
		mix(dst, a, x, -b, prediction)
	default:
		copy(dst, prediction)
	}
}

// toNoise sets dst to the noise ε that a prediction implies for x = a·x₀ + b·ε.
func toNoise(dst []float32, kind string, prediction, x []float32, a, b float32) {
	switch kind {
	case Epsilon:
		copy(dst, prediction)
	case VPrediction:
		mix(dst, a, prediction, b, x)
	default:
		for i, p := range prediction {
			dst[i] = (x[i] - float32(a*p)) / b
		}
	}
}

// addNoise adds sigma·noise to x.
func addNoise(x []float32, sigma float32, noise []float32) {
	for i, n := range noise[:len(x)] {
		x[i] += float32(sigma * n)
	}
}
