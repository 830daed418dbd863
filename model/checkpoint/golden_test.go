package checkpoint

import (
	"math"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yohaku/internal/golden"
)

// paramsOf returns empty parameters for all tensors, in the engine's layout.
func paramsOf(w *Weights) []Param {
	var params []Param
	for _, name := range w.Names() {
		s := w.Shape(name)
		if len(s) == 4 {
			s = []int{s[2], s[3], s[1], s[0]}
		}
		p := Param{Name: name, Shape: s}
		p.Data = make([]float32, p.elements())
		params = append(params, p)
	}
	return params
}

func TestGoldenStorageVariants(t *testing.T) {
	golden.Run(t, "09c_storage_variants", func(t *testing.T, c *golden.Case) {
		var args struct {
			Sum     float64 `json:"sum_of_abs_float64"`
			Checked string  `json:"checked_tensor"`
		}
		c.Args(t, &args)
		outputs := c.Outputs(t)
		for folder, prefix := range map[string]string{"sharded": "f32.", "fp16_variant": "fp16.", "bf16": "bf16."} {
			fromDisk, err := OpenWeights(c.Path(folder))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = fromDisk.Close() }()
			within, err := FolderFS(os.DirFS(c.Dir), folder)
			if err != nil {
				t.Fatal(err)
			}
			fromFS, err := within.Weights("")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = fromFS.Close() }()
			params, again := paramsOf(fromDisk), paramsOf(fromFS)
			if err := fromDisk.Load(params, LoadOptions{}); err != nil {
				t.Fatal(err)
			}
			if err := fromFS.Load(again, LoadOptions{}); err != nil {
				t.Fatal(err)
			}
			if Digest(params, State{}) != Digest(again, State{}) {
				t.Errorf("%s: disk and file system differ", folder)
			}
			var sum float64
			checked := false
			for _, p := range params {
				for _, v := range p.Data {
					sum += math.Abs(float64(v))
				}
				if p.Name == args.Checked {
					checked = true
					if diff := cmp.Diff(p.Data, golden.Float32(t, outputs, prefix+p.Name)); diff != "" {
						t.Errorf("%s: %s got, want: %.300s", folder, p.Name, diff)
					}
				}
			}
			if !checked {
				t.Errorf("%s has no tensor %s", folder, args.Checked)
			}
			if limit := map[string]float64{"f32.": 1e-9, "fp16.": 1e-4, "bf16.": 1e-3}[prefix]; math.Abs(sum/args.Sum-1) > limit {
				t.Errorf("%s: sum of magnitudes %v, want %v", folder, sum, args.Sum)
			}
		}
	})
}
