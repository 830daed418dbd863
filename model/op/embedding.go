package op

import "fmt"

// TimestepEmbedding is the sinusoidal embedding of timesteps t [B]: [B,Dim], computed in float32 as
// diffusers does, so that its rounding is diffusers' too. With half = Dim/2 and
//
//	f_i = exp(−ln(MaxPeriod)·i / (half − FreqShift)),
//
// the result is [sin(t·f), cos(t·f)], or [cos, sin] with FlipSinToCos, and a zero when Dim is odd.
// No gradient. Source: diffusers models/embeddings.py, get_timestep_embedding.
type TimestepEmbedding struct {
	Dim          int
	FlipSinToCos bool
	FreqShift    float64
	MaxPeriod    float64 // 0 means 10000.
}

// Name is "timestep.embedding".
func (TimestepEmbedding) Name() string { return "timestep.embedding" }

// Operands is one.
func (TimestepEmbedding) Operands() (int, int) { return 1, 1 }

// Infer returns [B,Dim].
func (t TimestepEmbedding) Infer(in []Shape) ([]Shape, error) {
	switch {
	case len(in[0]) != 1:
		return nil, fmt.Errorf("wants timesteps [B]")
	case t.Dim < 2 || float64(t.Dim/2) == t.FreqShift:
		return nil, fmt.Errorf("dim %d with frequency shift %g divides by zero", t.Dim, t.FreqShift)
	}
	return []Shape{{in[0][0], t.Dim}}, nil
}

// Embedding looks up rows of a table. Operands: ids [...] (whole numbers as float32, at most 2^24),
// table [V,C]. Result: [...,C]. The gradient goes to the table. An id outside [0,V) makes the run fail.
type Embedding struct{}

// Name is "embedding".
func (Embedding) Name() string { return "embedding" }

// Operands is two.
func (Embedding) Operands() (int, int) { return 2, 2 }

// Infer is the rule above.
func (Embedding) Infer(in []Shape) ([]Shape, error) {
	if len(in[1]) != 2 || in[1][0] > 1<<24 {
		return nil, fmt.Errorf("wants ids [...] and table [V,C] with V at most 2^24")
	}
	return []Shape{append(in[0].Clone(), in[1][1])}, nil
}

// Wrt is the table only.
func (Embedding) Wrt(int) []bool { return []bool{false, true} }

// VJP uses EmbeddingBackward.
func (Embedding) VJP(b *Builder, in []Node, _, dout Node) []Node {
	return []Node{nil, b.Apply(EmbeddingBackward{Rows: in[1].Shape()[0]}, in[0], dout)}
}

// EmbeddingBackward adds dy's rows into the rows of a [Rows,C] that ids name, in order.
type EmbeddingBackward struct{ Rows int }

// Name is "embedding.backward".
func (EmbeddingBackward) Name() string { return "embedding.backward" }

// Infer returns [Rows,C].
func (e EmbeddingBackward) Infer(in []Shape) ([]Shape, error) {
	return []Shape{{e.Rows, last(in[1])}}, nil
}

// TakeRow picks one row per sample. Operands: x [B,N,C], index [B] (whole numbers as float32).
// Result: [B,C]. An index outside [0,N) makes the run fail.
type TakeRow struct{ firstOperand }

// Name is "take.row".
func (TakeRow) Name() string { return "take.row" }

// Operands is two.
func (TakeRow) Operands() (int, int) { return 2, 2 }

// Infer returns [B,C].
func (TakeRow) Infer(in []Shape) ([]Shape, error) {
	if len(in[0]) != 3 || !in[1].Eq(Shape{in[0][0]}) {
		return nil, fmt.Errorf("wants x [B,N,C] and index [B]")
	}
	return []Shape{{in[0][0], in[0][2]}}, nil
}

// VJP puts the gradient among zeros.
func (TakeRow) VJP(b *Builder, in []Node, _, dout Node) []Node {
	return []Node{b.Apply(TakeRowBackward{Input: in[0].Shape()}, in[1], dout), nil}
}

// TakeRowBackward puts dy [B,C] at row index[b] of an Input-shaped value that is otherwise zero.
type TakeRowBackward struct{ Input Shape }

// Name is "take.row.backward".
func (TakeRowBackward) Name() string { return "take.row.backward" }

// Infer returns Input.
func (t TakeRowBackward) Infer([]Shape) ([]Shape, error) { return []Shape{t.Input}, nil }

// PrependRow puts one row before those of every sample. Operands: x [B,N,C], row [C]. Result: [B,N+1,C]. It has no
// gradient: vision models, whose class token it is, are not trained here.
type PrependRow struct{}

// Name is "prepend.row".
func (PrependRow) Name() string { return "prepend.row" }

// Operands is two.
func (PrependRow) Operands() (int, int) { return 2, 2 }

// Infer returns [B,N+1,C].
func (PrependRow) Infer(in []Shape) ([]Shape, error) {
	if len(in[0]) != 3 || !in[1].Eq(Shape{in[0][2]}) {
		return nil, fmt.Errorf("wants x [B,N,C] and row [C]")
	}
	return []Shape{{in[0][0], in[0][1] + 1, in[0][2]}}, nil
}
