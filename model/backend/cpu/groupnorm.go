package cpu

import (
	"math"

	"yohaku/model/backend"
	"yohaku/model/kernel"
	"yohaku/model/op"
)

// normChunk is the number of positions whose sums are one chain; it depends on nothing but the shape.
const normChunk = 64

// normShape is x as [samples, positions, channels] with its cut into chunks of positions.
type normShape struct {
	samples, positions, channels, groups, chunks int
}

func normShapeOf(x op.Shape, groups int) normShape {
	s := normShape{samples: x[0], channels: last(x), groups: groups}
	s.positions = x.TotalSize() / (s.samples * s.channels)
	s.chunks = (s.positions + normChunk - 1) / normChunk
	return s
}

// span is the elements of task t, which is chunk t%chunks of sample t/chunks.
func (s normShape) span(t int) (lo, hi int) {
	sample, chunk := t/s.chunks, t%s.chunks
	lo = (sample*s.positions + chunk*normChunk) * s.channels
	hi = (sample*s.positions + min(s.positions, (chunk+1)*normChunk)) * s.channels
	return lo, hi
}

// part is the two sums by channel of task t, within parts.
func (s normShape) part(parts []float64, t int) (first, second []float64) {
	p := parts[t*2*s.channels : (t+1)*2*s.channels]
	return p[:s.channels], p[s.channels:]
}

// groupNorm: sums and sums of squares by channel and chunk; from these a line a·x+b for each sample
// and channel; then the line, and SiLU.
func (be *Backend) groupNorm(d op.GroupNorm, in []op.Shape) backend.Kernel {
	s := normShapeOf(in[0], d.Groups)
	sums, lines := 4*s.samples*s.chunks*s.channels, 2*s.samples*s.channels
	return backend.Kernel{Scratch: sums + lines, InPlace: []int{0}, Bind: func(a backend.Args) func() error {
		n := &groupNormRun{normShape: s, def: d, x: a.In[0], gamma: a.In[1], beta: a.In[2], y: a.Out[0], parts: doubles(a.Scratch[:sums]), lines: a.Scratch[sums:]}
		n.stats = statsOf(a)
		measure, fit, apply := n.measure, n.fit, n.apply
		return func() error {
			be.pool.Run(s.samples*s.chunks, measure)
			be.pool.Run(s.samples, fit)
			be.pool.Run(s.samples*s.chunks, apply)
			return nil
		}
	}}
}

func statsOf(a backend.Args) []float32 {
	if len(a.Out) > 1 {
		return a.Out[1]
	}
	return nil
}

type groupNormRun struct {
	normShape
	def          op.GroupNorm
	x, y         []float32
	gamma, beta  []float32
	stats, lines []float32 // lines: slope and offset [samples, 2, channels].
	parts        []float64
}

// measure sums x and x² of one chunk by channel.
func (n *groupNormRun) measure(t, _ int) {
	sum, square := n.part(n.parts, t)
	lo, hi := n.span(t)
	kernel.ColumnSquares(sum, square, n.x[lo:hi])
}

// fit turns the sums of one sample into the line of each channel.
func (n *groupNormRun) fit(sample, _ int) {
	width := n.channels / n.groups
	for g := range n.groups {
		var sum, square float64
		for chunk := range n.chunks {
			s, q := n.part(n.parts, sample*n.chunks+chunk)
			for c := g * width; c < (g+1)*width; c++ {
				sum += s[c]
				square += q[c]
			}
		}
		count := float64(width * n.positions)
		mean := sum / count
		variance := max(0, square/count-float64(mean*mean))
		if math.IsNaN(square) {
			variance = square
		}
		inverse := 1 / math.Sqrt(variance+n.def.Eps)
		if n.stats != nil {
			st := n.stats[(sample*n.groups+g)*2:]
			st[0], st[1] = float32(mean), float32(inverse)
		}
		n.line(sample, g, float64(float32(mean)), float64(float32(inverse)))
	}
}

// line sets slope and offset of a group's channels: γ/√(var+ε) and β − mean·slope.
func (n *groupNormRun) line(sample, g int, mean, inverse float64) {
	width := n.channels / n.groups
	slope := n.lines[sample*2*n.channels:][:n.channels]
	offset := n.lines[(sample*2+1)*n.channels:][:n.channels]
	for c := g * width; c < (g+1)*width; c++ {
		k := inverse * float64(n.gamma[c])
		slope[c] = float32(k)
		offset[c] = float32(float64(n.beta[c]) - float64(mean*k))
	}
}

// apply computes one chunk of y.
func (n *groupNormRun) apply(t, _ int) {
	sample := t / n.chunks
	slope := n.lines[sample*2*n.channels:][:n.channels]
	offset := n.lines[(sample*2+1)*n.channels:][:n.channels]
	lo, hi := n.span(t)
	if n.def.SiLU {
		kernel.AffineSiLU(n.y[lo:hi], n.x[lo:hi], slope, offset)
	} else {
		kernel.Affine(n.y[lo:hi], n.x[lo:hi], slope, offset)
	}
}
