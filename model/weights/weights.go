// Package weights fills the parameters of compiled programs from the weights in model folders.
package weights

import (
	"fmt"
	"strings"

	"yohaku/model/checkpoint"
	"yohaku/model/compile"
	"yohaku/model/layer"
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

// Modules lists the paths of the modules that have a weight among the parameters, adapters left out.
func Modules(infos []compile.ParamInfo) []string {
	var modules []string
	for _, p := range infos {
		if path, ok := strings.CutSuffix(p.Name, ".weight"); ok && !layer.IsAdapter(p.Name) {
			modules = append(modules, path)
		}
	}
	return modules
}
