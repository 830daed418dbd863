package lora

import (
	"fmt"
	"slices"
	"strings"

	"yohaku/model/checkpoint"
)

// Merge adds the adapter, times strength, to the weights of its modules, which are in the engine's layout:
//
//	W ← W + strength·Alpha/Rank·Up·Down, the product in float64
//
// It returns an error, and changes nothing, when a module has no weight among params or one of another shape.
func (a Adapter) Merge(params []checkpoint.Param, strength float64) error {
	byModule := map[string]checkpoint.Param{}
	for _, p := range params {
		if path, ok := strings.CutSuffix(p.Name, ".weight"); ok {
			byModule[path] = p
		}
	}
	for _, path := range a.Paths() {
		p, ok := byModule[path]
		if !ok {
			return fmt.Errorf("merge adapter: the network has no module %s; is it of another model family?", path)
		}
		if got, want := a.Modules[path].weightShape(), checkpoint.FileShape(p.Shape); !checkpoint.SameWeights(got, want) {
			return fmt.Errorf("merge adapter: module %s is adapted as %v, the network has %v", path, got, want)
		}
	}
	for path, m := range a.Modules {
		p := byModule[path]
		w := checkpoint.ToFile(p)
		m.addTo(w, strength)
		checkpoint.FromFile(p, w)
	}
	return nil
}

// weightShape is the shape in files of the weight that m adapts.
func (m Module) weightShape() []int {
	shape := slices.Clone(m.DownShape)
	shape[0] = m.UpShape[0]
	return shape
}

// addTo adds strength·Scale·Up·Down to w [out, in·kh·kw].
func (m Module) addTo(w []float32, strength float64) {
	rank, out := m.Rank(), m.UpShape[0]
	in := len(m.Down) / rank
	scale := strength * m.Scale()
	row := make([]float64, in)
	for o := range out {
		clear(row)
		for r := range rank {
			u := float64(m.Up[o*rank+r])
			for i, d := range m.Down[r*in : (r+1)*in] {
				row[i] += u * float64(d)
			}
		}
		for i, v := range row {
			w[o*in+i] = float32(float64(w[o*in+i]) + scale*v)
		}
	}
}
