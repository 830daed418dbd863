package golden

import (
	"encoding/json"
	"math"
	"testing"

	"yohaku/internal/safetensors"
)

// Tensors opens a safetensors file of the case, until the test ends.
func (c *Case) Tensors(t testing.TB, elem ...string) *safetensors.File {
	t.Helper()
	f, err := safetensors.Open(c.Path(elem...))
	if err != nil {
		t.Fatalf("%s: %v", c.Name, err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
	})
	return f
}

// Float32 reads a whole tensor as float32.
func Float32(t testing.TB, f *safetensors.File, name string) []float32 {
	t.Helper()
	info, ok := f.Info(name)
	if !ok {
		t.Fatalf("%s has no tensor %q", f.Name(), name)
	}
	x := make([]float32, info.Elements())
	if err := f.Float32(name, x); err != nil {
		t.Fatal(err)
	}
	return x
}

// Shape returns the shape of a tensor.
func Shape(t testing.TB, f *safetensors.File, name string) []int {
	t.Helper()
	info, ok := f.Info(name)
	if !ok {
		t.Fatalf("%s has no tensor %q", f.Name(), name)
	}
	return info.Shape
}

// Tolerance decodes the entry key of case.json's "tolerance" into v; a missing one falls back to
// the entry "*".
func (c *Case) Tolerance(t testing.TB, key string, v any) {
	t.Helper()
	raw, ok := c.info.Tolerance[key]
	if !ok {
		raw, ok = c.info.Tolerance["*"]
	}
	if !ok {
		t.Fatalf("%s: case.json has no tolerance for %q", c.Name, key)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatalf("%s: decode tolerance of %q: %v", c.Name, key, err)
	}
}

// MaxAbs returns the greatest absolute error that case.json allows for key.
func (c *Case) MaxAbs(t testing.TB, key string) float64 {
	t.Helper()
	var tol struct {
		MaxAbs *float64 `json:"max_abs"`
	}
	c.Tolerance(t, key, &tol)
	if tol.MaxAbs == nil {
		t.Fatalf("%s: the tolerance for %q has no max_abs", c.Name, key)
	}
	return *tol.MaxAbs
}

// Near checks |got − want| ≤ max_abs of the tolerance entry key, elementwise, and logs the
// greatest error.
func (c *Case) Near(t testing.TB, key string, got, want []float32) {
	t.Helper()
	limit := c.MaxAbs(t, key)
	worst, at := MaxDifference(t, got, want)
	if at < 0 {
		return
	}
	if !(worst <= limit) { // Also catches NaN.
		t.Errorf("%s: %s: element %d = %v, want %v: error %.3g, at most %.3g allowed",
			c.Name, key, at, got[at], want[at], worst, limit)
		return
	}
	t.Logf("%s: %s: greatest error %.3g of %.3g allowed", c.Name, key, worst, limit)
}

// NearSet checks a set of tensors by the rule of case.json's "rel" entries:
// max|got − want| ≤ rel · (max|want| + 1e-3·G), where G is the "G" of the entry, the greatest
// value of the whole set.
func (c *Case) NearSet(t testing.TB, key string, got, want map[string][]float32) {
	t.Helper()
	var tol struct{ Rel, G *float64 }
	c.Tolerance(t, key, &tol)
	if tol.Rel == nil || tol.G == nil {
		t.Fatalf("%s: the tolerance for %q has no rel and G", c.Name, key)
	}
	worstRel, worstName := 0.0, ""
	for name, w := range want {
		g, ok := got[name]
		if !ok {
			t.Errorf("%s: %s: %s is missing", c.Name, key, name)
			continue
		}
		difference, at := MaxDifference(t, g, w)
		if at < 0 {
			continue
		}
		rel := difference / (maxAbs(w) + 1e-3**tol.G)
		if !(rel <= *tol.Rel) {
			t.Errorf("%s: %s: %s[%d] = %v, want %v: relative error %.3g, at most %.3g allowed",
				c.Name, key, name, at, g[at], w[at], rel, *tol.Rel)
		}
		if rel > worstRel {
			worstRel, worstName = rel, name
		}
	}
	t.Logf("%s: %s: greatest relative error %.3g (%s) of %.3g allowed, %d tensors",
		c.Name, key, worstRel, worstName, *tol.Rel, len(want))
}

// MaxDifference returns the greatest |got − want| and its index, −1 when both are empty or their
// lengths differ (which it reports). A NaN on one side only is the greatest difference there is.
func MaxDifference(t testing.TB, got, want []float32) (worst float64, at int) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("got %d elements, want %d", len(got), len(want))
		return 0, -1
	}
	at = -1
	for i := range want {
		g, w := float64(got[i]), float64(want[i])
		d := math.Abs(g - w)
		switch {
		case g == w || math.IsNaN(g) && math.IsNaN(w):
			d = 0
		case math.IsNaN(d):
			return d, i
		}
		if at < 0 || d > worst {
			worst, at = d, i
		}
	}
	return worst, at
}

func maxAbs(x []float32) float64 {
	m := 0.0
	for _, v := range x {
		m = max(m, math.Abs(float64(v)))
	}
	return m
}
