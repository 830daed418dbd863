package op

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"gorgonia.org/gorgonia"
)

// These tests pin gorgonia's traps: what would go wrong silently must be refused or avoided.

// twoLayers is loss = Σ (w·x)², with w on the way and, beside it, an unused parameter.
func twoLayers() (b *Builder, loss, w, unused Node) {
	b = NewBuilder()
	x := b.Input("x", 3, 4)
	w, unused = b.Param("w", 2, 4), b.Param("unused", 2)
	y := b.Apply(Linear{}, x, w)
	return b, b.Apply(Sum{}, b.Apply(MSEPerSample{}, y, b.Input("target", 3, 2))), w, unused
}

func TestGradRefusals(t *testing.T) {
	b, loss, w, unused := twoLayers()
	for _, c := range []struct {
		name string
		loss Node
		wrt  []Node
		want string
	}{
		{"parameter off the way", loss, []Node{w, unused}, "gradient of unused: does not reach the loss"},
		{"nothing", loss, nil, "nothing to differentiate"},
		{"given twice", loss, []Node{w, w}, "given twice"},
		{"no scalar", Children(loss)[0], []Node{w}, "must be a scalar, got shape (3)"},
		{"no leaf", loss, []Node{Children(loss)[0]}, "must be an input or a parameter"},
	} {
		_, err := b.Grad(c.loss, c.wrt...)
		var g *GradError
		if !errors.As(err, &g) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := b.Grad(loss, w); err != nil {
		t.Fatal(err)
	}
	// gorgonia would return the first loss's gradient.
	if _, err := b.Grad(loss, w); err == nil || !strings.Contains(err.Error(), "differentiates once") {
		t.Errorf("second Grad: error %v, want a refusal", err)
	}
}

// TestSameNameIsRefused: gorgonia would merge the two, whatever their shapes.
func TestSameNameIsRefused(t *testing.T) {
	b := NewBuilder()
	b.Param("w", 2, 2)
	for name, f := range map[string]func(){
		"parameter": func() { b.Param("w", 2, 2) },
		"input":     func() { b.Input("w", 3) },
		"no name":   func() { b.Input("", 3) },
		"dimension": func() { b.Input("z", 3, 0) },
	} {
		var e *NameError
		if err := Build(f); !errors.As(err, &e) {
			t.Errorf("%s: error %v, want a NameError", name, err)
		}
	}
}

// TestHashCollisionKeepsNodesApart: parameters whose hashes collide make equal additions in gorgonia.
func TestHashCollisionKeepsNodesApart(t *testing.T) {
	const first, second = "parameter.408708", "parameter.2104862" // Found by trying; as [2,2] leaves they have one hash.
	b := NewBuilder()
	x, y, z := b.Param(first, 2, 2), b.Param(second, 2, 2), b.Param("z", 2, 2)
	if x.Hashcode() != y.Hashcode() {
		t.Fatalf("%q and %q do not collide: gorgonia hashes otherwise than this test thinks", first, second)
	}
	if gorgonia.Must(gorgonia.Add(x, z)) != gorgonia.Must(gorgonia.Add(y, z)) {
		t.Error("gorgonia keeps them apart now: the check of gradient sums may go")
	}
	if b.Apply(Add{}, x, z) == b.Apply(Add{}, y, z) {
		t.Error("two additions are one node")
	}
	if first, second := b.Apply(Add{}, x, z), b.Apply(Add{}, x, z); first == second {
		t.Error("applying twice gave one node")
	}
}

// TestMergedSumIsFound: were gorgonia to take one sum of gradients for another, Grad would say so.
func TestMergedSumIsFound(t *testing.T) {
	b := NewBuilder()
	x := b.Param("x", 2, 3)
	y := b.Apply(Add{}, b.Apply(SiLU{}, x), b.Apply(Add{}, b.Apply(GELU{}, x), x))
	loss := b.Apply(Sum{}, y)
	grads, err := b.Grad(loss, x)
	if err != nil {
		t.Fatal(err)
	}
	if !IsSum(grads[0]) {
		t.Fatalf("the gradient of a value used three times is %v, not a sum", grads[0].Op())
	}
	for user, terms := range b.pullbacks {
		if o := user.Op().(*Op); o.Name() == "gelu" {
			b.pullbacks[user] = []Node{loss}
			if err := b.checkSums(loss); err == nil {
				t.Error("a sum with a wrong term passed")
			}
			b.pullbacks[user] = terms
		}
	}
	if err := b.checkSums(loss); err != nil {
		t.Errorf("the right sums: %v", err)
	}
}

// TestTypeIsFresh: gorgonia takes an operator's type apart while it infers.
func TestTypeIsFresh(t *testing.T) {
	b := NewBuilder()
	n := b.Apply(Linear{}, b.Input("x", 3, 4), b.Param("w", 2, 4))
	o := n.Op().(*Op)
	if o.Type() == o.Type() {
		t.Error("Type returned the same value twice")
	}
	if strings.Contains(fmt.Sprint(o.Type()), "b") {
		t.Errorf("Type %v uses the variable b, which is gorgonia's own", o.Type())
	}
}

func TestShapeErrors(t *testing.T) {
	b := NewBuilder()
	x, image := b.Input("x", 2, 6), b.Input("image", 2, 4, 4, 6)
	restore := b.Scope("net")
	defer restore()
	for name, f := range map[string]func(){
		"linear":         func() { b.Apply(Linear{}, x, b.Param("linear", 3, 5)) },
		"operands":       func() { b.Apply(Add{}, x) },
		"missing":        func() { b.Apply(Add{}, x, nil) },
		"other graph":    func() { b.Apply(Add{}, x, NewBuilder().Input("x", 2, 6)) },
		"conv":           func() { b.Apply(Conv2D{Stride: 1}, image, b.Param("conv", 3, 3, 5, 2)) },
		"conv too large": func() { b.Apply(Conv2D{Stride: 1}, image, b.Param("large", 5, 5, 6, 2)) },
		"conv stride":    func() { b.Apply(Conv2D{}, image, b.Param("stride", 1, 1, 6, 2)) },
		"groups":         func() { b.Apply(GroupNorm{Groups: 4}, x, b.Param("gamma", 6), b.Param("beta", 6)) },
		"heads": func() {
			b.Apply(Attention{Heads: 4}, b.Input("q", 1, 2, 6), b.Input("k", 1, 2, 6), b.Input("v", 1, 2, 6))
		},
		"reshape":   func() { b.Apply(Reshape{Shape: Shape{5}}, x) },
		"slice":     func() { b.Apply(Slice{From: 3, To: 7}, x) },
		"odd geglu": func() { b.Apply(GEGLU{}, b.Input("odd", 2, 3)) },
		"pair loss": func() { b.Apply(PairLoss{}, b.Input("mse", 4), b.Input("terms", 2, PairTerms)) },
		"aux":       func() { b.Aux(b.Apply(SiLU{}, x), 1) },
	} {
		var e *ShapeError
		if err := Build(f); !errors.As(err, &e) {
			t.Errorf("%s: error %v, want a ShapeError", name, err)
		} else if e.Scope != "net" {
			t.Errorf("%s: scope %q, want net", name, e.Scope)
		}
	}
}

func TestBuildLetsOtherPanicsPass(t *testing.T) {
	defer func() {
		if r := recover(); r != "boom" {
			t.Errorf("recovered %v, want boom", r)
		}
	}()
	_ = Build(func() { panic("boom") })
}
