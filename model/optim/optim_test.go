package optim

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// adamw64 is the textbook update in float64.
func adamw64(a AdamW, p, g, m, v float64, step int, lr float64) (float64, float64, float64) {
	p *= 1 - lr*a.WeightDecay
	m = a.Beta1*m + (1-a.Beta1)*g
	v = a.Beta2*v + (1-a.Beta2)*g*g
	mHat := m / (1 - math.Pow(a.Beta1, float64(step)))
	vHat := v / (1 - math.Pow(a.Beta2, float64(step)))
	return p - lr*mHat/(math.Sqrt(vHat)+a.Eps), m, v
}

func TestAdamWAgainstFloat64(t *testing.T) {
	const seed, n, lr, scale = 3, 1000, 1e-3, 0.25
	r := rand.New(rand.NewPCG(seed, 0))
	a := DefaultAdamW()
	p, g, m, v := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
	p64, m64, v64 := make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range p {
		p[i] = float32(r.NormFloat64())
		p64[i] = float64(p[i])
	}
	for step := 1; step <= 20; step++ {
		for i := range g {
			g[i] = float32(r.NormFloat64() + 0.5)
		}
		a.Step(p, g, m, v, step, lr, scale)
		for i := range g {
			p64[i], m64[i], v64[i] = adamw64(a, p64[i], scale*float64(g[i]), m64[i], v64[i], step, lr)
		}
	}
	for i := range p {
		if math.Abs(float64(p[i])-p64[i]) > 1e-6*(1+math.Abs(p64[i])) || math.Abs(float64(v[i])-v64[i]) > 1e-6*v64[i] {
			t.Fatalf("seed %d, element %d: got p %v, v %v, want %v, %v", seed, i, p[i], v[i], p64[i], v64[i])
		}
	}
}

// plainStep is the specification of Step: float32, each product rounded.
func plainStep(a AdamW, p, g, m, v []float32, step int, lr, gradScale float64) {
	keep, toward, eps, scale := float32(1-lr*a.WeightDecay), float32(1-a.Beta1), float32(a.Eps), float32(gradScale)
	beta2, rest := float32(a.Beta2), float32(1-a.Beta2)
	inverse := float32(1 / math.Sqrt(1-math.Pow(a.Beta2, float64(step))))
	rate := float32(lr / (1 - math.Pow(a.Beta1, float64(step))))
	for i, pi := range p {
		gi := float32(g[i] * scale)
		m[i] += float32(toward * (gi - m[i]))
		v[i] = float32(beta2*v[i]) + float32(rest*float32(gi*gi))
		denom := float32(float32(math.Sqrt(float64(v[i])))*inverse) + eps
		p[i] = float32(pi*keep) - float32(rate*float32(m[i]/denom))
	}
}

// TestAdamWBits: the kernel set in use gives the bits of plain float32 arithmetic, subnormal and huge gradients included.
func TestAdamWBits(t *testing.T) {
	const seed, n = 7, 1003
	r := rand.New(rand.NewPCG(seed, 0))
	var got, want [4][]float32
	for k := range got {
		got[k] = make([]float32, n)
		for i := range n {
			if k < 2 {
				got[k][i] = float32(r.NormFloat64())
			}
		}
		want[k] = append([]float32(nil), got[k]...)
	}
	a := AdamW{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 1e-2}
	for step := 1; step <= 30; step++ {
		for i := range n {
			got[1][i] = float32(r.NormFloat64() * math.Pow(10, float64(r.IntN(60)-45)))
		}
		copy(want[1], got[1])
		lr, scale := 1e-3/float64(step), 1/float64(1+r.IntN(9))
		a.Step(got[0], got[1], got[2], got[3], step, lr, scale)
		plainStep(a, want[0], want[1], want[2], want[3], step, lr, scale)
		for k := range got {
			for i := range n {
				if math.Float32bits(got[k][i]) != math.Float32bits(want[k][i]) {
					t.Fatalf("seed %d, step %d: slice %d, element %d: %v, want %v", seed, step, k, i, got[k][i], want[k][i])
				}
			}
		}
	}
}

func TestAdamWDoesNotDependOnCuts(t *testing.T) {
	const seed, n = 5, 97
	r := rand.New(rand.NewPCG(seed, 0))
	a := DefaultAdamW()
	var whole, cut [4][]float32
	for k := range whole {
		for range n {
			whole[k] = append(whole[k], r.Float32())
		}
		cut[k] = append([]float32(nil), whole[k]...)
	}
	a.Step(whole[0], whole[1], whole[2], whole[3], 7, 1e-3, 1)
	for lo := 0; lo < n; lo += 10 {
		hi := min(n, lo+10)
		a.Step(cut[0][lo:hi], cut[1][lo:hi], cut[2][lo:hi], cut[3][lo:hi], 7, 1e-3, 1)
	}
	for k := range whole {
		for i := range n {
			if whole[k][i] != cut[k][i] {
				t.Fatalf("seed %d: slice %d, element %d: %v whole, %v cut", seed, k, i, whole[k][i], cut[k][i])
			}
		}
	}
}

func TestAdamWDecaysAndStands(t *testing.T) {
	a := DefaultAdamW()
	p, g, m, v := []float32{2}, []float32{0}, []float32{0}, []float32{0}
	a.Step(p, g, m, v, 1, 0.1, 1)
	if want := float32(2) * float32(1-0.1*a.WeightDecay); p[0] != want {
		t.Errorf("no gradient: p = %v, want the decay alone, %v", p[0], want)
	}
	defer func() {
		if recover() == nil {
			t.Error("step 0 did not panic")
		}
	}()
	a.Step(p, g, m, v, 0, 0.1, 1)
}

func TestClipCoefficient(t *testing.T) {
	for _, c := range []struct{ norm, max, want float64 }{
		{0, 1, 1}, {0.5, 1, 1}, {4, 1, 1 / (4 + 1e-6)}, {4, 2, 2 / (4 + 1e-6)}, {4, 0, 1}, {math.Inf(1), 1, 0},
	} {
		if got := ClipCoefficient(c.norm, c.max); got != c.want {
			t.Errorf("ClipCoefficient(%v, %v) = %v, want %v", c.norm, c.max, got, c.want)
		}
	}
	if !math.IsNaN(ClipCoefficient(math.NaN(), 1)) {
		t.Error("a NaN norm must not look like a coefficient")
	}
}

func TestErrorsNameKeyValueAndRule(t *testing.T) {
	good := Config{LearningRate: 1e-5, TotalSteps: 10}
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"triangle", func(*Config) {}, `lr_scheduler must be one of constant, constant_with_warmup, cosine, cosine_with_restarts, linear, polynomial, got "triangle"`},
		{"linear", func(c *Config) { c.LearningRate = 0 }, "learning_rate must be a finite number above 0, got 0"},
		{"linear", func(c *Config) { c.LearningRate = math.NaN() }, "got NaN"},
		{"linear", func(c *Config) { c.WarmupSteps = -1 }, "lr_warmup_steps must be at least 0, got -1"},
		{"linear", func(c *Config) { c.TotalSteps = -2 }, "max_train_steps must be at least 0, got -2"},
		{"linear", func(c *Config) { c.NumCycles = -1 }, "lr_num_cycles must be at least 1, got -1"},
		{"polynomial", func(c *Config) { c.Power = -1 }, "lr_power must be a finite number above 0, got -1"},
		{"polynomial", func(c *Config) { c.LearningRate = 1e-8 }, "learning_rate must be above 1e-07"},
	} {
		config := good
		c.change(&config)
		if _, err := LearningRate(c.name, config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	for want, change := range map[string]func(*AdamW){
		"adam_beta1 must be at least 0 and below 1 (default 0.9), got 1":                  func(a *AdamW) { a.Beta1 = 1 },
		"adam_beta2 must be at least 0 and below 1 (default 0.999), got -1":               func(a *AdamW) { a.Beta2 = -1 },
		"adam_epsilon must be a finite number above 0 (default 1e-8), got 0":              func(a *AdamW) { a.Eps = 0 },
		"adam_weight_decay must be a finite number of at least 0 (default 0.01), got NaN": func(a *AdamW) { a.WeightDecay = math.NaN() },
	} {
		a := DefaultAdamW()
		change(&a)
		if err := a.Validate(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := DefaultAdamW().Validate(); err != nil {
		t.Error(err)
	}
}
