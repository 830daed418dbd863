package checkpoint

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"yohaku/internal/assert"
)

// LoadOptions say how a file's tensors meet a network's parameters.
type LoadOptions struct {
	// Rename gives a parameter's name from a tensor's, "" for a tensor that is no parameter.
	// nil is no change.
	Rename func(tensor string) string
	// Partial lets the file hold more than the parameters, as when only a VAE's encoder is built.
	Partial bool
}

// MismatchError says which tensors of a component do not fit the network that its config.json
// describes: config and weights belong to different models, or a file is damaged.
type MismatchError struct {
	Folder     string
	Missing    []string // Parameters without a tensor.
	Extra      []string // Tensors without a parameter.
	WrongShape []string // "name is [..] in FILE, the network needs [..]"
}

func (e *MismatchError) Error() string {
	var parts []string
	for _, p := range []struct {
		what  string
		names []string
	}{{"missing", e.Missing}, {"not in the network", e.Extra}, {"of another shape", e.WrongShape}} {
		if len(p.names) > 0 {
			parts = append(parts, fmt.Sprintf("%d %s (%s)", len(p.names), p.what, some(p.names)))
		}
	}
	return fmt.Sprintf("weights in %s do not fit config.json: tensors %s; check that both are of one model", e.Folder, strings.Join(parts, ", "))
}

// some lists the first names.
func some(names []string) string {
	const most = 4
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// Load fills the parameters' Data from the tensors, converting types to float32 and OIHW to HWIO.
// It returns a *MismatchError, and reads nothing, when names or shapes do not match.
func (w *Weights) Load(params []Param, o LoadOptions) error {
	sources, err := w.match(params, o)
	if err != nil {
		return err
	}
	for i, p := range params {
		assert.That(len(p.Data) == p.elements(), "parameter %s of shape %v has %d elements", p.Name, p.Shape, len(p.Data))
		if err := w.fill(sources[i], p); err != nil {
			return err
		}
	}
	return nil
}

// fill reads one parameter, a convolution's a few outputs at a time.
func (w *Weights) fill(tensor string, p Param) error {
	if len(p.Shape) != 4 {
		return w.Float32(tensor, p.Data)
	}
	one := p.elements() / max(1, p.Shape[3])
	return eachOutputs(p.Shape, func(first, n int, buf []float32) error {
		if err := w.tensors[tensor].Float32From(tensor, first*one, buf); err != nil {
			return err
		}
		outputsToEngine(p.Data, buf, p.Shape, first, n)
		return nil
	})
}

// Check holds the tensors to the parameters, whose Data it does not read: it returns the *MismatchError that Load would.
func (w *Weights) Check(params []Param, o LoadOptions) error {
	_, err := w.match(params, o)
	return err
}

// match returns each parameter's tensor.
func (w *Weights) match(params []Param, o LoadOptions) ([]string, error) {
	byParam := map[string]string{}
	for _, tensor := range w.Names() {
		name := tensor
		if o.Rename != nil {
			name = o.Rename(tensor)
		}
		if name == "" {
			continue
		}
		if other, ok := byParam[name]; ok {
			return nil, fmt.Errorf("weights in %s: tensors %q and %q are both parameter %s", w.folder.Path(), other, tensor, name)
		}
		byParam[name] = tensor
	}
	mismatch := &MismatchError{Folder: w.folder.Path()}
	sources := make([]string, len(params))
	for i, p := range params {
		tensor, ok := byParam[p.Name]
		if !ok {
			mismatch.Missing = append(mismatch.Missing, p.Name)
			continue
		}
		delete(byParam, p.Name)
		sources[i] = tensor
		if got, want := w.Shape(tensor), FileShape(p.Shape); !SameWeights(got, want) {
			mismatch.WrongShape = append(mismatch.WrongShape, fmt.Sprintf("%s is %v in %s, the network needs %v", tensor, got, w.tensors[tensor].Name(), want))
		}
	}
	if !o.Partial {
		mismatch.Extra = slices.Sorted(maps.Values(byParam))
	}
	if len(mismatch.Missing)+len(mismatch.Extra)+len(mismatch.WrongShape) > 0 {
		return nil, mismatch
	}
	return sources, nil
}
