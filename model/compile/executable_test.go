package compile_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gorgonia.org/gorgonia"

	"yohaku/model/backend/cpu"
	"yohaku/model/compile"
	"yohaku/model/op"
)

// result is all that a run gives.
type result struct {
	Loss  float32
	Names []string
	Grads map[string][]float32
}

func runOnce(t *testing.T, e *compile.Executable) result {
	t.Helper()
	r := result{Grads: map[string][]float32{}}
	err := e.Run(func(i int, g []float32) {
		if i != len(r.Names) {
			t.Errorf("gradient %d came after %d others", i, len(r.Names))
		}
		name := e.GradOrder()[i].Name
		r.Names = append(r.Names, name)
		r.Grads[name] = slices.Clone(g)
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Loss = e.Output(0)[0]
	return r
}

// TestBitsDoNotDependOnThreadsOrMemory: 1, 2 and 3 threads, with and without sharing of memory, with
// and without poisoning of what is dead, and a second run: the same bits.
func TestBitsDoNotDependOnThreadsOrMemory(t *testing.T) {
	for _, unfused := range []bool{false, true} {
		var want *result
		for _, threads := range []int{1, 2, 3} {
			be := cpu.New(threads)
			defer be.Close()
			for _, o := range []compile.Options{{}, {Debug: true}, {Unshared: true}, {Unshared: true, Debug: true}} {
				o.Unfused = unfused
				e := tinyUNet.compile(t, be, o)
				for run := range 2 {
					got := runOnce(t, e)
					if want == nil {
						want = &got
					}
					if diff := cmp.Diff(*want, got); diff != "" || math.IsNaN(float64(got.Loss)) {
						t.Fatalf("%d threads, %+v, run %d differs (loss %v):\n%.2000s", threads, o, run, got.Loss, diff)
					}
				}
			}
		}
	}
}

// TestBitsAtWorkingSize: in the tiny network most products are too small to be shared among threads.
func TestBitsAtWorkingSize(t *testing.T) {
	c := unetCase{channels: []int{32, 64}, layers: 1, heads: 4, size: 16, pairs: 2, context: 24, tokens: 7, groups: 8}
	var want *result
	for _, threads := range []int{1, 2, 3} {
		be := cpu.New(threads)
		defer be.Close()
		got := runOnce(t, c.compile(t, be, compile.Options{Debug: threads == 2}))
		if want == nil {
			want = &got
		}
		if diff := cmp.Diff(*want, got); diff != "" || math.IsNaN(float64(got.Loss)) {
			t.Fatalf("%d threads differ (loss %v):\n%.2000s", threads, got.Loss, diff)
		}
	}
}

// TestFusionChangesRoundingOnly compares with the program without fusion.
func TestFusionChangesRoundingOnly(t *testing.T) {
	be := cpu.New(2)
	defer be.Close()
	fused, plain := tinyUNet.compile(t, be, compile.Options{}), tinyUNet.compile(t, be, compile.Options{Unfused: true})
	if f, p := fused.Plan().Instructions, plain.Plan().Instructions; f >= p {
		t.Errorf("fused program has %d instructions, plain %d", f, p)
	}
	compareGradients(t, runOnce(t, fused), runOnce(t, plain), 2e-5)
}

func compareGradients(t *testing.T, got, want result, tolerance float64) {
	t.Helper()
	if len(got.Grads) != len(want.Grads) {
		t.Fatalf("%d gradients, want %d", len(got.Grads), len(want.Grads))
	}
	for name, w := range want.Grads {
		var most, worst float64
		for i := range w {
			most = max(most, math.Abs(float64(w[i])))
			worst = max(worst, math.Abs(float64(got.Grads[name][i]-w[i])))
		}
		if worst > tolerance*(most+1e-3) {
			t.Errorf("gradient of %s: off by %v, largest %v", name, worst, most)
		}
	}
}

// TestGradAgainstReverseSweep holds gorgonia.Grad to a plain reverse sweep over the same operators'
// SymDiff, on the graphs of two networks.
func TestGradAgainstReverseSweep(t *testing.T) {
	be := cpu.New(2)
	defer be.Close()
	deep := unetCase{channels: []int{8, 16, 8}, layers: 2, heads: 2, size: 8, pairs: 1, context: 6, tokens: 3, groups: 2}
	for _, c := range []unetCase{tinyUNet, deep} {
		want := runOnce(t, c.compile(t, be, compile.Options{Debug: true}))
		b, loss, _ := c.forward(t)
		grads := reverseSweep(t, b, loss)
		var nodes []op.Node
		for _, p := range b.Params() {
			if grads[p] == nil {
				t.Fatalf("the sweep has no gradient of %s", p.Name())
			}
			nodes = append(nodes, grads[p])
		}
		e, err := compile.Compile(b, be, append([]op.Node{loss}, nodes...), nil, compile.Options{Debug: true})
		if err != nil {
			t.Fatal(err)
		}
		c.fill(e)
		if err := e.Run(nil); err != nil {
			t.Fatal(err)
		}
		got := result{Grads: map[string][]float32{}}
		for i, p := range b.Params() {
			got.Grads[p.Name()] = e.Output(i + 1)
		}
		compareGradients(t, want, got, 2e-5)
	}
}

// reverseSweep differentiates by walking the nodes backwards; no node's derivative is kept by gorgonia.
func reverseSweep(t *testing.T, b *op.Builder, loss op.Node) map[op.Node]op.Node {
	t.Helper()
	sums := map[op.Node]op.Node{}
	all := slices.Clone(b.Graph().AllNodes())
	sums[loss] = b.Input("seed")
	for _, n := range slices.Backward(all) {
		o, ok := n.Op().(gorgonia.SDOp)
		if !ok || sums[n] == nil {
			continue
		}
		children := op.Children(n)
		if !slices.Contains(o.DiffWRT(len(children)), true) {
			continue
		}
		grads, err := o.SymDiff(children, n, sums[n])
		if err != nil {
			t.Fatal(err)
		}
		for i, wanted := range o.DiffWRT(len(children)) {
			switch c := children[i]; {
			case !wanted:
			case sums[c] == nil:
				sums[c] = grads[i]
			default:
				sums[c] = b.Apply(op.Add{}, sums[c], grads[i])
			}
		}
	}
	return sums
}

// TestRunDoesNotAllocate uses one thread: when threads park, Go's runtime allocates now and then.
func TestRunDoesNotAllocate(t *testing.T) {
	be := cpu.New(1)
	defer be.Close()
	e := tinyUNet.compile(t, be, compile.Options{})
	count := 0
	onGrad := func(int, []float32) { count++ }
	if n := testing.AllocsPerRun(3, func() {
		if err := e.Run(onGrad); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("a run allocates %v times", n)
	}
	if count != 4*len(e.GradOrder()) {
		t.Errorf("%d gradients in 4 runs, want %d", count, 4*len(e.GradOrder()))
	}
}

// TestGradientSumsOfOddShapes: gorgonia types [1], [n,1] and scalars unlike other shapes.
func TestGradientSumsOfOddShapes(t *testing.T) {
	be := cpu.New(1)
	defer be.Close()
	for _, shape := range [][]int{{1}, {1, 1}, {5, 1}, {1, 5}, {3, 1, 1}, {2, 1, 1, 1}, {1, 1, 1, 1}} {
		b := op.NewBuilder()
		w := b.Param("w", shape...)
		y := b.Apply(op.Add{}, b.Apply(op.Add{}, b.Apply(op.Scale{By: 2}, w), w), w) // 4w
		grads, err := b.Grad(b.Apply(op.Sum{}, y), w)
		if err != nil {
			t.Errorf("%v: %v", shape, err)
			continue
		}
		e, err := compile.Compile(b, be, []op.Node{y}, grads, compile.Options{Debug: true})
		if err != nil {
			t.Errorf("%v: %v", shape, err)
			continue
		}
		e.ParamSlab()[0] = 3
		got := []float32{}
		if err := e.Run(func(_ int, g []float32) { got = append(got, g...) }); err != nil {
			t.Fatal(err)
		}
		for _, g := range got {
			if g != 4 || len(got) != op.Shape(shape).TotalSize() || e.Output(0)[0] != 12 {
				t.Errorf("%v: gradient %v, first result %v; want all 4 and 12", shape, got, e.Output(0)[0])
				break
			}
		}
	}
}

// TestLeavesAsResults: outputs and gradients that no instruction makes.
func TestLeavesAsResults(t *testing.T) {
	be := cpu.New(1)
	defer be.Close()
	b := op.NewBuilder()
	x, s, bias := b.Input("x", 2, 3), b.Param("s"), b.Param("bias", 2, 3)
	flat := b.Apply(op.Reshape{Shape: op.Shape{6}}, x)
	loss := b.Apply(op.Add{}, b.Apply(op.Sum{}, b.Apply(op.Add{}, x, bias)), s)
	grads, err := b.Grad(loss, s, bias, x)
	if err != nil {
		t.Fatal(err)
	}
	e, err := compile.Compile(b, be, []op.Node{flat, loss}, grads, compile.Options{Debug: true})
	if err != nil {
		t.Fatal(err)
	}
	copy(e.Input("x"), []float32{1, 2, 3, 4, 5, 6})
	e.ParamSlab()[e.Params()[0].Offset] = 100
	got := runOutputs(t, e)
	want := map[string][]float32{"s": {1}, "bias": {1, 1, 1, 1, 1, 1}, "x": {1, 1, 1, 1, 1, 1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("gradients (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]float32{1, 2, 3, 4, 5, 6}, e.Output(0)); diff != "" || e.Output(1)[0] != 121 {
		t.Errorf("outputs %v and %v", e.Output(0), e.Output(1))
	}
	for _, g := range e.GradOrder() {
		if (g.Offset < 0) != (g.Name == "x") {
			t.Errorf("gradient of %s has offset %d", g.Name, g.Offset)
		}
	}
}

func runOutputs(t *testing.T, e *compile.Executable) map[string][]float32 {
	t.Helper()
	got := map[string][]float32{}
	if err := e.Run(func(i int, g []float32) { got[e.GradOrder()[i].Name] = slices.Clone(g) }); err != nil {
		t.Fatal(err)
	}
	return got
}

// TestBoundParameters: two programs share one set of weights.
func TestBoundParameters(t *testing.T) {
	be := cpu.New(2)
	defer be.Close()
	one, two := tinyUNet.compile(t, be, compile.Options{}), tinyUNet.compile(t, be, compile.Options{})
	want := runOnce(t, one)
	clear(two.ParamSlab())
	two.BindParams(one.ParamSlab())
	if diff := cmp.Diff(want, runOnce(t, two)); diff != "" {
		t.Errorf("a program bound to the same weights differs:\n%.1000s", diff)
	}
	one.ParamSlab()[0]++
	if cmp.Equal(want, runOnce(t, two)) {
		t.Error("a changed weight changed nothing")
	}
	end := 0
	for _, p := range one.Params() {
		if p.Offset < end || p.Offset%16 != 0 || p.Len != p.Shape.TotalSize() {
			t.Errorf("parameter %s at %d, %d long, after one that ends at %d", p.Name, p.Offset, p.Len, end)
		}
		end = p.Offset + p.Len
	}
}

func TestIndexOutsideTableFailsTheRun(t *testing.T) {
	be := cpu.New(1)
	defer be.Close()
	for _, id := range []float32{-1, 5, 1.5, float32(math.NaN())} {
		b := op.NewBuilder()
		defer b.Scope("text")()
		y := b.Apply(op.Embedding{}, b.Input("ids", 2), b.Param("table", 5, 3))
		e, err := compile.Compile(b, be, []op.Node{y}, nil, compile.Options{})
		if err != nil {
			t.Fatal(err)
		}
		e.Input("ids")[1] = id
		want := fmt.Sprintf(`run embedding in "text": id must be a whole number from 0 to 4, got %v`, id)
		if err := e.Run(nil); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

func TestPlan(t *testing.T) {
	be := cpu.New(1)
	defer be.Close()
	shared, unshared := tinyUNet.compile(t, be, compile.Options{}).Plan(), tinyUNet.compile(t, be, compile.Options{Unshared: true}).Plan()
	if shared.SlabBytes < shared.LiveBytes || float64(shared.SlabBytes) > 1.05*float64(shared.LiveBytes) {
		t.Errorf("slab of %d bytes, lower bound %d", shared.SlabBytes, shared.LiveBytes)
	}
	b, loss, _ := tinyUNet.forward(t)
	grads, err := b.Grad(loss, b.Params()...)
	if err != nil {
		t.Fatal(err)
	}
	if estimate, err := compile.Estimate(b, be, []op.Node{loss}, grads, compile.Options{}); err != nil || estimate != shared {
		t.Errorf("estimate %+v, error %v; the plan is %+v", estimate, err, shared)
	}
	if shared.SlabBytes >= unshared.SlabBytes {
		t.Errorf("sharing memory takes %d bytes, not sharing %d", shared.SlabBytes, unshared.SlabBytes)
	}
	if shared.FLOPs <= 0 || shared.FLOPs != unshared.FLOPs {
		t.Errorf("%d and %d FLOPs", shared.FLOPs, unshared.FLOPs)
	}
}

// TestForeignOperatorIsRefused: gorgonia's own operators do not run here.
func TestForeignOperatorIsRefused(t *testing.T) {
	be := cpu.New(1)
	defer be.Close()
	b := op.NewBuilder()
	n := gorgonia.Must(gorgonia.Tanh(b.Input("x", 2, 3)))
	if _, err := compile.Compile(b, be, []op.Node{n}, nil, compile.Options{}); err == nil || !strings.Contains(err.Error(), "has no place in a program") {
		t.Errorf("error %v, want a refusal", err)
	}
}
