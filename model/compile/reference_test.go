package compile_test

import (
	"math"

	"yohaku/model/objective"
	"yohaku/model/op"
)

// array is a float64 value of the naive references.
type array struct {
	shape op.Shape
	data  []float64
}

func zeros(shape ...int) array {
	return array{shape: shape, data: make([]float64, op.Shape(shape).TotalSize())}
}

func (a array) last() int { return a.shape[len(a.shape)-1] }

// at is the element at the given indices, 0 outside.
func (a array) at(idx ...int) float64 {
	flat := 0
	for i, x := range idx {
		if x < 0 || x >= a.shape[i] {
			return 0
		}
		flat = flat*a.shape[i] + x
	}
	return a.data[flat]
}

func same(x array, f func(i int, v float64) float64) array {
	y := zeros(x.shape...)
	for i, v := range x.data {
		y.data[i] = f(i, v)
	}
	return y
}

func logistic(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
func normal(x float64) float64   { return 0.5 * math.Erfc(-x/math.Sqrt2) }

// reference computes result 0 of a forward operator, straight from its definition.
func reference(d op.Def, in []array) array {
	x := in[0]
	shapes := make([]op.Shape, len(in))
	for i, a := range in {
		shapes[i] = a.shape
	}
	out, err := d.Infer(shapes)
	if err != nil {
		panic(err)
	}
	switch d := d.(type) {
	case op.Conv2D:
		return referenceConv(d, in, out[0])
	case op.Linear:
		return referenceLinear(in, out[0])
	case op.GroupNorm:
		return referenceGroupNorm(d, in)
	case op.LayerNorm:
		return referenceGroupNorm(op.GroupNorm{Groups: 1, Eps: d.Eps}, []array{{op.Shape{len(x.data) / x.last(), x.last()}, x.data}, in[1], in[2]}).as(x.shape)
	case op.Attention:
		return referenceAttention(d, in)
	case op.SiLU:
		return same(x, func(_ int, v float64) float64 { return v * logistic(v) })
	case op.GELU:
		return same(x, func(_ int, v float64) float64 { return v * normal(v) })
	case op.QuickGELU:
		return same(x, func(_ int, v float64) float64 { return v * logistic(1.702*v) })
	case op.GEGLU:
		c := out[0][len(out[0])-1]
		return same(zeros(out[0]...), func(i int, _ float64) float64 {
			g := x.data[i/c*2*c+c+i%c]
			return x.data[i/c*2*c+i%c] * g * normal(g)
		})
	case op.Add:
		return same(x, func(i int, v float64) float64 { return v + in[1].data[i] })
	case op.AddBroadcast:
		per := len(x.data) / x.shape[0]
		return same(x, func(i int, v float64) float64 { return v + in[1].data[i/per*x.last()+i%x.last()] })
	case op.AddPosition:
		return same(x, func(i int, v float64) float64 { return v + in[1].data[i%len(in[1].data)] })
	case op.Scale:
		return same(x, func(_ int, v float64) float64 { return d.By * v })
	case op.Sum, op.Mean:
		y := zeros()
		for _, v := range x.data {
			y.data[0] += v
		}
		if _, mean := d.(op.Mean); mean {
			y.data[0] /= float64(len(x.data))
		}
		return y
	}
	return referenceMovement(d, in, out[0])
}

func (a array) as(shape op.Shape) array { return array{shape, a.data} }

func referenceMovement(d op.Def, in []array, out op.Shape) array {
	x := in[0]
	switch d := d.(type) {
	case op.Reshape:
		return x.as(out)
	case op.ToNHWC:
		return eachOf(out, func(i []int) float64 { return x.at(i[0], i[3], i[1], i[2]) })
	case op.ToNCHW:
		return eachOf(out, func(i []int) float64 { return x.at(i[0], i[2], i[3], i[1]) })
	case op.Upsample2x:
		return eachOf(out, func(i []int) float64 { return x.at(i[0], i[1]/2, i[2]/2, i[3]) })
	case op.Repeat:
		return eachOf(out, func(i []int) float64 { return x.at(append([]int{i[0] % x.shape[0]}, i[1:]...)...) })
	case op.Concat:
		c := x.last()
		return eachOf(out, func(i []int) float64 {
			j := append([]int(nil), i...)
			if j[len(j)-1] < c {
				return x.at(j...)
			}
			j[len(j)-1] -= c
			return in[1].at(j...)
		})
	case op.Slice:
		return eachOf(out, func(i []int) float64 {
			j := append([]int(nil), i...)
			j[len(j)-1] += d.From
			return x.at(j...)
		})
	case op.Embedding:
		return eachOf(out, func(i []int) float64 { return in[1].at(int(x.at(i[:len(i)-1]...)), i[len(i)-1]) })
	case op.PrependRow:
		return eachOf(out, func(i []int) float64 {
			if i[1] == 0 {
				return in[1].at(i[2])
			}
			return x.at(i[0], i[1]-1, i[2])
		})
	case op.TakeRow:
		return eachOf(out, func(i []int) float64 { return x.at(i[0], int(in[1].data[i[0]]), i[1]) })
	case op.MSEPerSample:
		n := len(x.data) / out[0]
		y := zeros(out...)
		for i, v := range x.data {
			e := v - in[1].data[i]
			y.data[i/n] += e * e / float64(n)
		}
		return y
	case op.ErrorProduct:
		y := zeros(out...)
		n := len(x.data) / (2 * out[0])
		for i, v := range x.data[:out[0]*n] {
			k := out[0]*n + i
			y.data[i/n] += (v - in[1].data[i]) * (x.data[k] - in[1].data[k]) / float64(n)
		}
		return y
	case op.PairLoss:
		y := zeros()
		b := in[1].shape[0]
		for i := range b {
			var loser float64
			if d.Objective.SamplesPerItem() == 2 {
				loser = x.data[b+i]
			}
			t := in[1].data[i*op.PairTerms:]
			y.data[0] += d.Objective.Pair(x.data[i], loser, objective.Terms{
				RefW: t[op.TermRefWinner], RefL: t[op.TermRefLoser], Weight: t[op.TermWeight], Margin: t[op.TermMargin],
			}).Loss
		}
		return y
	}
	panic("no reference for " + d.Name())
}

// eachOf fills shape by index.
func eachOf(shape op.Shape, f func(i []int) float64) array {
	y := zeros(shape...)
	idx := make([]int, len(shape))
	for flat := range y.data {
		rest := flat
		for k := len(shape) - 1; k >= 0; k-- {
			idx[k] = rest % shape[k]
			rest /= shape[k]
		}
		y.data[flat] = f(idx)
	}
	return y
}

func referenceConv(d op.Conv2D, in []array, out op.Shape) array {
	x, w := in[0], in[1]
	return eachOf(out, func(i []int) float64 {
		var s float64
		if len(in) == 3 {
			s = in[2].data[i[3]]
		}
		for u := range w.shape[0] {
			for v := range w.shape[1] {
				for c := range w.shape[2] {
					s += x.at(i[0], i[1]*d.Stride+u-d.PadTop, i[2]*d.Stride+v-d.PadLeft, c) * w.at(u, v, c, i[3])
				}
			}
		}
		return s
	})
}

func referenceLinear(in []array, out op.Shape) array {
	x, w := in[0], in[1]
	return eachOf(out, func(i []int) float64 {
		j := append([]int(nil), i...)
		o := j[len(j)-1]
		var s float64
		if len(in) == 3 {
			s = in[2].data[o]
		}
		for k := range w.shape[1] {
			j[len(j)-1] = k
			s += x.at(j...) * w.at(o, k)
		}
		return s
	})
}

func referenceGroupNorm(d op.GroupNorm, in []array) array {
	x := in[0]
	c, per := x.last(), len(x.data)/x.shape[0]
	width := c / d.Groups
	group := func(i int) int { return i/per*d.Groups + i%c/width }
	sum, square := make([]float64, x.shape[0]*d.Groups), make([]float64, x.shape[0]*d.Groups)
	n := float64(per / d.Groups)
	for i, v := range x.data {
		sum[group(i)] += v / n
	}
	for i, v := range x.data {
		square[group(i)] += (v - sum[group(i)]) * (v - sum[group(i)]) / n
	}
	return same(x, func(i int, v float64) float64 {
		h := (v-sum[group(i)])/math.Sqrt(square[group(i)]+d.Eps)*in[1].data[i%c] + in[2].data[i%c]
		if d.SiLU {
			h *= logistic(h)
		}
		return h
	})
}

func referenceAttention(d op.Attention, in []array) array {
	q, k, v := in[0], in[1], in[2]
	dim := q.last() / d.Heads
	y := zeros(q.shape...)
	for b := range q.shape[0] {
		for h := range d.Heads {
			for i := range q.shape[1] {
				p := make([]float64, k.shape[1])
				var sum float64
				for j := range p {
					if d.Causal && j > i {
						continue
					}
					var s float64
					for c := h * dim; c < (h+1)*dim; c++ {
						s += q.at(b, i, c) * k.at(b, j, c)
					}
					p[j] = math.Exp(s * d.Factor(q.last()))
					sum += p[j]
				}
				for c := h * dim; c < (h+1)*dim; c++ {
					for j := range p {
						y.data[(b*q.shape[1]+i)*q.last()+c] += p[j] / sum * v.at(b, j, c)
					}
				}
			}
		}
	}
	return y
}
