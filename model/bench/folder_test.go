package bench

import (
	"testing"

	"yohaku/internal/safetensors"
	"yohaku/model/checkpoint"
)

// TestWriteUNet: the folder holds exactly the tensors that its config.json asks for, and none is left at zero but biases.
func TestWriteUNet(t *testing.T) {
	dir := t.TempDir()
	r := stepWork("S", Float32).Request
	if err := WriteUNet(dir, r, safetensors.F16); err != nil {
		t.Fatal(err)
	}
	w, err := checkpoint.OpenWeights(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if got := w.DType(); got != safetensors.F16 {
		t.Errorf("weights are %s, want F16", got)
	}
	params, err := w.Params()
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, p := range params {
		total += len(p.Data)
		if len(p.Shape) > 1 && p.Data[0] == 0 && p.Data[1] == 0 {
			t.Errorf("%s begins with zeros", p.Name)
		}
	}
	if want := 1_489_028; total != want {
		t.Errorf("%d parameters, want %d", total, want)
	}
}
