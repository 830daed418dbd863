package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"yohaku/internal/safetensors"
)

// stems are the names that weights go by: diffusers' and transformers'.
var stems = []string{"diffusion_pytorch_model", "model"}

// maxShards bounds the files that an index may name.
const maxShards = 1000

// Weights are a component's tensors under the names and shapes that its files give them. Its
// methods may be called from several goroutines at once.
type Weights struct {
	folder  *Folder
	files   []*safetensors.File
	tensors map[string]*safetensors.File
}

// OpenWeights opens the weights in the folder dir: one file, shards with an index, or, when there
// is nothing else, a single variant such as fp16. The caller closes them.
func OpenWeights(dir string) (*Weights, error) {
	f, err := OpenFolder(dir)
	if err != nil {
		return nil, err
	}
	return f.Weights("")
}

// Weights opens the folder's weights, see OpenWeights. A variant that is not "" must be there.
func (f *Folder) Weights(variant string) (*Weights, error) {
	name, err := f.findWeights(variant)
	if err != nil {
		return nil, err
	}
	w := &Weights{folder: f, tensors: map[string]*safetensors.File{}}
	if strings.HasSuffix(name, ".json") {
		err = w.addShards(name)
	} else {
		err = w.add(name)
	}
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// findWeights returns the name of the folder's weights file or index.
func (f *Folder) findWeights(variant string) (string, error) {
	entries, err := fs.ReadDir(f.fsys, ".")
	if err != nil {
		return "", fmt.Errorf("read model folder %s: %w", f.Path(), err)
	}
	found := map[string][]string{} // By variant.
	pickled := ""
	for _, e := range entries {
		if v, ok := variantOf(e.Name()); ok && !e.IsDir() {
			found[v] = append(found[v], e.Name())
		}
		if strings.HasSuffix(e.Name(), ".bin") {
			pickled = e.Name()
		}
	}
	if variant == "" && len(found[""]) == 0 && len(found) == 1 {
		variant = slices.Collect(maps.Keys(found))[0]
	}
	names := found[variant]
	switch {
	case len(names) == 1:
		return names[0], nil
	case len(names) > 1:
		return "", fmt.Errorf("%s holds %s; keep only one of them, they may differ", f.Path(), strings.Join(names, " and "))
	case len(found) > 0:
		return "", fmt.Errorf("%s has no weights of variant %q, but of %q; name one of these", f.Path(), variant, slices.Sorted(maps.Keys(found)))
	case pickled != "":
		return "", fmt.Errorf("%s has only pickled weights (%s), which can run code; convert them to safetensors (save_pretrained with safe_serialization=True)", f.Path(), pickled)
	}
	return "", fmt.Errorf("%s has no weights: %w; it must hold %s.safetensors or %s.safetensors", f.Path(), fs.ErrNotExist, stems[0], stems[1])
}

// variantOf returns the variant in the name of a weights file or index, "" for none; ok is false
// for other files. Single shards are other files.
func variantOf(name string) (variant string, ok bool) {
	for _, stem := range stems {
		rest, ok := strings.CutPrefix(name, stem+".")
		if !ok {
			continue
		}
		switch parts := strings.Split(rest, "."); {
		case rest == "safetensors" || rest == "safetensors.index.json":
			return "", true
		case len(parts) == 2 && parts[1] == "safetensors" && !strings.Contains(parts[0], "-of-"): // stem.fp16.safetensors
			return parts[0], true
		case len(parts) == 4 && parts[0] == "safetensors" && parts[1] == "index" && parts[3] == "json": // stem.safetensors.index.fp16.json
			return parts[2], true
		case len(parts) == 4 && parts[1] == "safetensors" && parts[2] == "index" && parts[3] == "json": // stem.fp16.safetensors.index.json
			return parts[0], true
		}
	}
	return "", false
}

// add opens one file and takes its tensors in.
func (w *Weights) add(name string) error {
	f, err := w.folder.OpenTensors(name)
	if err != nil {
		return err
	}
	w.files = append(w.files, f)
	for _, info := range f.Infos() {
		if other, ok := w.tensors[info.Name]; ok {
			return fmt.Errorf("%s and %s both hold tensor %q", other.Name(), f.Name(), info.Name)
		}
		w.tensors[info.Name] = f
	}
	return nil
}

// addShards opens the files that an index names and holds them to it.
func (w *Weights) addShards(index string) error {
	where := w.folder.Path(index)
	data, err := w.folder.ReadFile(index)
	if err != nil {
		return err
	}
	var content struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &content); err != nil {
		return fmt.Errorf("decode %s: %w", where, err)
	}
	shards := map[string]bool{}
	for tensor, shard := range content.WeightMap {
		if path.Base(shard) != shard || !fs.ValidPath(shard) || strings.ContainsAny(shard, `\:`) || !strings.HasSuffix(shard, ".safetensors") {
			return fmt.Errorf("%s: tensor %q lies in %q, which must be the name of a .safetensors file of the same folder", where, tensor, shard)
		}
		shards[shard] = true
	}
	if len(shards) == 0 || len(shards) > maxShards {
		return fmt.Errorf("%s: weight_map names %d files, it must name 1 to %d", where, len(shards), maxShards)
	}
	for _, shard := range slices.Sorted(maps.Keys(shards)) {
		if err := w.add(shard); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
	}
	for _, tensor := range slices.Sorted(maps.Keys(content.WeightMap)) {
		shard := w.folder.Path(content.WeightMap[tensor])
		if f, ok := w.tensors[tensor]; !ok || path.Base(f.Name()) != path.Base(content.WeightMap[tensor]) && f.Name() != shard {
			return fmt.Errorf("%s: tensor %q must be in %s, it is not", where, tensor, shard)
		}
	}
	return nil
}

// Close closes the files.
func (w *Weights) Close() error {
	var errs []error
	for _, f := range w.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// Names returns the tensors' names, sorted.
func (w *Weights) Names() []string { return slices.Sorted(maps.Keys(w.tensors)) }

// Info returns the tensor of that name.
func (w *Weights) Info(name string) (safetensors.Info, bool) {
	f, ok := w.tensors[name]
	if !ok {
		return safetensors.Info{}, false
	}
	return f.Info(name)
}

// Shape returns a tensor's shape in the file, OIHW for convolutions; nil when there is none.
func (w *Weights) Shape(name string) []int {
	info, _ := w.Info(name)
	return info.Shape
}

// Float32 fills dst with a tensor's elements in the file's order.
func (w *Weights) Float32(name string, dst []float32) error {
	f, ok := w.tensors[name]
	if !ok {
		return fmt.Errorf("%s has no tensor %q", w.folder.Path(), name)
	}
	return f.Float32(name, dst)
}

// Params reads all tensors of floating-point types as a network's parameters, in the engine's layout, under their own names.
func (w *Weights) Params() ([]Param, error) {
	var params []Param
	for _, name := range w.Names() {
		info, _ := w.Info(name)
		if !info.DType.IsFloat() {
			continue // Such as position_ids.
		}
		p := Param{Name: name, Shape: slices.Clone(info.Shape), Data: make([]float32, info.Elements())}
		if s := info.Shape; len(s) == 4 {
			p.Shape = []int{s[2], s[3], s[1], s[0]}
		}
		params = append(params, p)
	}
	return params, w.Load(params, LoadOptions{Partial: true})
}

// DType returns the floating-point type that all tensors share, F32 when they differ.
func (w *Weights) DType() safetensors.DType {
	var d safetensors.DType
	for name := range w.tensors {
		info, _ := w.Info(name)
		switch {
		case !info.DType.IsFloat():
		case d == "":
			d = info.DType
		case d != info.DType:
			return safetensors.F32
		}
	}
	if d == "" {
		return safetensors.F32
	}
	return d
}

// Digest returns the SHA-256, in hex, of all tensors' names, types, shapes and bytes in the order
// of names, however they are spread over files.
func (w *Weights) Digest() (string, error) {
	h := sha256.New()
	for _, name := range w.Names() {
		info, _ := w.Info(name)
		h.Write(fmt.Appendf(nil, "%q %s %v %d\n", name, info.DType, info.Shape, info.End-info.Begin))
		if err := w.tensors[name].Copy(h, name); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
