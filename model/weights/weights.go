// Package weights fills the parameters of compiled programs from the weights in model folders.
package weights

import (
	"fmt"

	"yohaku/model/checkpoint"
	"yohaku/model/compile"
)

// Params names the parameters in slab, in the engine's layout, for reading and writing model folders. The Data are parts
// of slab.
func Params(infos []compile.ParamInfo, slab []float32) []checkpoint.Param {
	params := make([]checkpoint.Param, len(infos))
	for i, p := range infos {
		params[i] = checkpoint.Param{Name: p.Name, Shape: p.Shape, Data: slab[p.Offset : p.Offset+p.Len : p.Offset+p.Len]}
	}
	return params
}

// Load fills the parameters of e from the weights in f. It returns a *checkpoint.MismatchError when they do not fit.
func Load(e *compile.Executable, f *checkpoint.Folder, o checkpoint.LoadOptions) error {
	return Fill(e.Params(), e.ParamSlab(), f, o)
}

// Fill is Load for the parameters in slab.
func Fill(infos []compile.ParamInfo, slab []float32, f *checkpoint.Folder, o checkpoint.LoadOptions) error {
	w, err := f.Weights("")
	if err != nil {
		return err
	}
	err = w.Load(Params(infos, slab), o)
	if closed := w.Close(); err == nil && closed != nil {
		return fmt.Errorf("close weights in %s: %w", f.Path(), closed)
	}
	return err
}
