// Package layer holds the layers that the networks share: operators with their parameters, which it names as PyTorch's
// modules do (<path>.weight, <path>.bias).
//
// Layouts are the engine's: feature maps NHWC [B,H,W,C], tokens [B,N,C], convolution weights HWIO, linear weights
// [out,in]. A 4-D parameter is a convolution's weight, HWIO here and OIHW in files.
package layer

import (
	"fmt"

	"yohaku/model/op"
)

// Module is a place in a network: it applies operators and names their parameters and scopes after its path.
type Module struct {
	B    *op.Builder
	Path string // Such as "down_blocks.0.resnets.1"; empty at the top.
	LoRA *LoRA  // Adapters beside the linear maps and convolutions; nil for none.
}

// Sub is the module below m under the given name.
func (m Module) Sub(format string, args ...any) Module {
	m.Path = m.join(fmt.Sprintf(format, args...))
	return m
}

func (m Module) join(name string) string {
	if m.Path == "" {
		return name
	}
	return m.Path + "." + name
}

// Apply adds an operator under m's path.
func (m Module) Apply(d op.Def, in ...op.Node) op.Node {
	defer m.B.Scope(m.Path)()
	return m.B.Apply(d, in...)
}

// Padding is the number of rows and columns of zeros on each side of a picture.
type Padding struct{ Top, Left, Bottom, Right int }

// Pad is the same padding on all sides.
func Pad(n int) Padding { return Padding{n, n, n, n} }

// Conv is the convolution m.name: x [B,H,W,I] → [B,H',W',out], with a bias.
func (m Module) Conv(name string, x op.Node, out, kernel, stride int, pad Padding) op.Node {
	c := m.Sub("%s", name)
	in := Channels(x)
	weight := m.B.Param(c.join("weight"), kernel, kernel, in, out)
	bias := m.B.Param(c.join("bias"), out)
	conv := op.Conv2D{Stride: stride, PadTop: pad.Top, PadLeft: pad.Left, PadBottom: pad.Bottom, PadRight: pad.Right}
	return c.adaptConv(c.Apply(conv, x, weight, bias), x, kernel, conv)
}

// Linear is the linear map m.name: x [...,I] → [...,out].
func (m Module) Linear(name string, x op.Node, out int, bias bool) op.Node {
	l := m.Sub("%s", name)
	in := []op.Node{x, m.B.Param(l.join("weight"), out, Channels(x))}
	if bias {
		in = append(in, m.B.Param(l.join("bias"), out))
	}
	return l.adaptLinear(l.Apply(op.Linear{}, in...), x)
}

// GroupNorm is the group normalization m.name over x [B,...,C], with SiLU behind it when silu is set.
func (m Module) GroupNorm(name string, x op.Node, groups int, eps float64, silu bool) op.Node {
	n := m.Sub("%s", name)
	c := Channels(x)
	return n.Apply(op.GroupNorm{Groups: groups, Eps: eps, SiLU: silu}, x, m.B.Param(n.join("weight"), c), m.B.Param(n.join("bias"), c))
}

// LayerNorm is the layer normalization m.name over the last axis.
func (m Module) LayerNorm(name string, x op.Node, eps float64) op.Node {
	n := m.Sub("%s", name)
	c := Channels(x)
	return n.Apply(op.LayerNorm{Eps: eps}, x, m.B.Param(n.join("weight"), c), m.B.Param(n.join("bias"), c))
}

// Reshape gives x another shape with as many elements.
func (m Module) Reshape(x op.Node, shape ...int) op.Node {
	return m.Apply(op.Reshape{Shape: shape}, x)
}

// Repeated is x [B,...] as often as a batch takes: [batch,...]. What samples share is computed once, and repeated where
// they meet.
func (m Module) Repeated(x op.Node, batch int) op.Node {
	if b := x.Shape()[0]; b != batch {
		return m.Apply(op.Repeat{Times: batch / b}, x)
	}
	return x
}

// Channels is the length of the last axis.
func Channels(x op.Node) int {
	s := x.Shape()
	return s[len(s)-1]
}
