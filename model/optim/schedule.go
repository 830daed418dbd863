package optim

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Config describes a learning-rate schedule. Steps are optimizer steps.
type Config struct {
	LearningRate float64 // The base rate, reached after the warm-up.
	WarmupSteps  int     // lr_warmup_steps; "constant" has no warm-up.
	TotalSteps   int     // max_train_steps
	NumCycles    int     // lr_num_cycles of cosine_with_restarts; 0 is 1.
	Power        float64 // lr_power of polynomial; 0 is 1.
}

// polynomialEnd is the rate that "polynomial" ends at.
const polynomialEnd = 1e-7

// curves maps a schedule's name to its factor after the warm-up, which multiplies the base rate.
var curves = map[string]func(c Config, step int) float64{
	"constant":             func(Config, int) float64 { return 1 },
	"constant_with_warmup": func(Config, int) float64 { return 1 },
	"linear":               linear,
	"cosine":               cosine,
	"cosine_with_restarts": cosineWithRestarts,
	"polynomial":           polynomial,
}

// Schedules returns the names that LearningRate takes, sorted.
func Schedules() []string {
	names := make([]string, 0, len(curves))
	for name := range curves {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// LearningRate returns the rate used at step 0, 1, … under diffusers' schedule of that name. It
// returns an error that names the key, the value and the rule when one is not usable.
//
// Source: diffusers/optimization.py, get_scheduler; the rate is read before each update.
func LearningRate(name string, c Config) (func(step int) float64, error) {
	curve, ok := curves[name]
	if !ok {
		return nil, fmt.Errorf("lr_scheduler must be one of %s, got %q", strings.Join(Schedules(), ", "), name)
	}
	if c.NumCycles == 0 {
		c.NumCycles = 1
	}
	if c.Power == 0 {
		c.Power = 1
	}
	if err := c.validate(name); err != nil {
		return nil, err
	}
	if name == "constant" {
		c.WarmupSteps = 0
	}
	return func(step int) float64 {
		if step < c.WarmupSteps {
			return c.LearningRate * (float64(step) / float64(c.WarmupSteps))
		}
		return c.LearningRate * curve(c, step)
	}, nil
}

func (c Config) validate(name string) error {
	switch {
	case !(c.LearningRate > 0) || math.IsInf(c.LearningRate, 0):
		return fmt.Errorf("learning_rate must be a finite number above 0, got %v", c.LearningRate)
	case c.WarmupSteps < 0:
		return fmt.Errorf("lr_warmup_steps must be at least 0, got %d", c.WarmupSteps)
	case c.TotalSteps < 0:
		return fmt.Errorf("max_train_steps must be at least 0, got %d", c.TotalSteps)
	case c.NumCycles < 0:
		return fmt.Errorf("lr_num_cycles must be at least 1, got %d", c.NumCycles)
	case !(c.Power > 0) || math.IsInf(c.Power, 0):
		return fmt.Errorf("lr_power must be a finite number above 0, got %v", c.Power)
	case name == "polynomial" && c.LearningRate <= polynomialEnd:
		return fmt.Errorf("learning_rate must be above %v, where lr_scheduler polynomial ends, got %v", polynomialEnd, c.LearningRate)
	}
	return nil
}

// progress returns how much of the time after the warm-up has gone: 0 at its end, 1 at TotalSteps.
func (c Config) progress(step int) float64 {
	return float64(step-c.WarmupSteps) / float64(max(1, c.TotalSteps-c.WarmupSteps))
}

func linear(c Config, step int) float64 {
	return math.Max(0, float64(c.TotalSteps-step)/float64(max(1, c.TotalSteps-c.WarmupSteps)))
}

// cosine makes half a period: diffusers does not pass num_cycles on to it.
func cosine(c Config, step int) float64 {
	return math.Max(0, 0.5*(1+math.Cos(math.Pi*c.progress(step))))
}

func cosineWithRestarts(c Config, step int) float64 {
	progress := c.progress(step)
	if progress >= 1 {
		return 0
	}
	return math.Max(0, 0.5*(1+math.Cos(math.Pi*math.Mod(float64(c.NumCycles)*progress, 1))))
}

func polynomial(c Config, step int) float64 {
	if step > c.TotalSteps || c.TotalSteps <= c.WarmupSteps {
		return polynomialEnd / c.LearningRate
	}
	remaining := 1 - float64(step-c.WarmupSteps)/float64(c.TotalSteps-c.WarmupSteps)
	return ((c.LearningRate-polynomialEnd)*math.Pow(remaining, c.Power) + polynomialEnd) / c.LearningRate
}
