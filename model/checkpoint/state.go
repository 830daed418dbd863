package checkpoint

import (
	"fmt"
	"io"
	"maps"
	"strconv"

	"yohaku/internal/atomicfile"
	"yohaku/internal/safetensors"
)

// StateFile holds what training needs beside the weights to go on exactly.
const StateFile = "trainer_state.safetensors"

const (
	stateFormat     = "yohaku trainer state 1"
	exponentsTensor = "exponents"
	firstMoments    = "m."
	secondMoments   = "v."
)

// State is the optimizer's state after Step updates, and counters of the run.
type State struct {
	Step      int
	M, V      []Param           // First and second moments under their parameters' names and shapes.
	EMA       []Param           // The parameters' moving average, nil for none. It has a file of its own: see unet_ema.
	Exponents []int8            // Of the exact sums, block by block.
	Metadata  map[string]string // Counters and settings; the keys format and step are taken.
}

// WriteState writes s as a safetensors file: moments in file layout as m.NAME and v.NAME, the
// exponents, and the metadata.
func WriteState(w io.Writer, s State) error {
	metadata := maps.Clone(s.Metadata)
	if metadata == nil {
		metadata = map[string]string{}
	}
	metadata["format"], metadata["step"] = stateFormat, strconv.Itoa(s.Step)
	tensors := append(entries(firstMoments, s.M, safetensors.F32), entries(secondMoments, s.V, safetensors.F32)...)
	exponents := make([]byte, len(s.Exponents))
	for i, e := range s.Exponents {
		exponents[i] = byte(e)
	}
	tensors = append(tensors, safetensors.Entry{Name: exponentsTensor, DType: safetensors.I8, Shape: []int{len(exponents)}, Data: exponents})
	return safetensors.Write(w, tensors, metadata)
}

// SaveState is WriteState into the file at path, which is whole or as before.
func SaveState(path string, s State) error {
	return atomicfile.WriteFunc(path, func(w io.Writer) error { return WriteState(w, s) })
}

// ReadState reads the folder's trainer state. It fills the Data of m and v, which must name
// exactly the parameters of the file, and returns them in the State.
func (f *Folder) ReadState(m, v []Param) (State, error) {
	file, err := f.OpenTensors(StateFile)
	if err != nil {
		return State{}, fmt.Errorf("%w; this folder cannot be resumed from", err)
	}
	defer func() { _ = file.Close() }() // Only read from.
	where := f.Path(StateFile)
	metadata := maps.Clone(file.Metadata())
	step, err := strconv.Atoi(metadata["step"])
	if metadata["format"] != stateFormat || err != nil || step < 0 {
		return State{}, fmt.Errorf("%s has format %q and step %q, it must have %q and a whole number", where, metadata["format"], metadata["step"], stateFormat)
	}
	delete(metadata, "format")
	delete(metadata, "step")
	exponents, err := file.Int64s(exponentsTensor)
	if err != nil {
		return State{}, err
	}
	s := State{Step: step, M: m, V: v, Exponents: make([]int8, len(exponents)), Metadata: metadata}
	for i, e := range exponents {
		if e < -128 || e > 127 {
			return State{}, fmt.Errorf("%s: exponent %d is %d, it must fit in 8 bits", where, i, e)
		}
		s.Exponents[i] = int8(e)
	}
	w := &Weights{folder: f, tensors: map[string]*safetensors.File{}}
	for _, info := range file.Infos() {
		if info.Name != exponentsTensor {
			w.tensors[info.Name] = file
		}
	}
	return s, w.Load(append(prefixed(firstMoments, m), prefixed(secondMoments, v)...), LoadOptions{})
}

// prefixed returns params under longer names, sharing their Data.
func prefixed(prefix string, params []Param) []Param {
	out := make([]Param, len(params))
	for i, p := range params {
		out[i] = Param{Name: prefix + p.Name, Shape: p.Shape, Data: p.Data}
	}
	return out
}
