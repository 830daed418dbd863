package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"yohaku/internal/atomicfile"
	"yohaku/internal/safetensors"
)

// Replacement is what a written pipeline has in place of a part's weights.
type Replacement struct {
	Params []Param
	DType  safetensors.DType // F32 when "".
}

// Content is what Write adds to a pipeline.
type Content struct {
	Weights map[string]Replacement // By part, such as unet.
	State   *State                 // nil leaves trainer_state.safetensors out.
}

// Write writes a pipeline folder to dst that diffusers' from_pretrained loads: this pipeline's
// files, with the weights of c in place of its own, c's trainer state, and SHA256SUMS. Parts
// whose only weights are a variant get them under the plain name; weights in other formats are
// left out where there are safetensors. dst appears whole or not at all, and takes the place of
// a folder that is there.
func (p *Pipeline) Write(dst string, c Content) (err error) {
	dst = filepath.Clean(dst)
	temporary, err := os.MkdirTemp(filepath.Dir(dst), "."+filepath.Base(dst)+".*.tmp")
	if err != nil {
		return fmt.Errorf("create checkpoint folder: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(temporary))
		}
	}()
	w := &folderWriter{root: temporary, sums: map[string]string{}}
	if err := p.writeParts(w, c); err != nil {
		return fmt.Errorf("write checkpoint %s: %w", dst, err)
	}
	if c.State != nil {
		if err := w.file(StateFile, func(out io.Writer) error { return WriteState(out, *c.State) }); err != nil {
			return fmt.Errorf("write checkpoint %s: %w", dst, err)
		}
	}
	if err := w.finish(); err != nil {
		return fmt.Errorf("write checkpoint %s: %w", dst, err)
	}
	return replaceFolder(temporary, dst)
}

// writeParts writes model_index.json and every part's folder.
func (p *Pipeline) writeParts(w *folderWriter, c Content) error {
	if err := w.copy(p.fsys, IndexFile, IndexFile); err != nil {
		return err
	}
	for name := range c.Weights {
		if _, ok := p.Components[name]; !ok {
			return fmt.Errorf("the pipeline has no part %q to replace", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Components)) {
		replacement, replaced := c.Weights[name]
		if err := p.copyPart(w, name, replaced); err != nil {
			return err
		}
		if !replaced {
			continue
		}
		file := DefaultWeightsFile
		if p.Components[name].Library == "transformers" {
			file = stems[1] + ".safetensors"
		}
		err := w.file(path.Join(name, file), func(out io.Writer) error {
			return WriteWeights(out, replacement.Params, replacement.DType)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// copyPart copies a part's files, without its weights when they are replaced.
func (p *Pipeline) copyPart(w *folderWriter, part string, replaced bool) error {
	sub, err := p.Sub(part)
	if err != nil {
		return err
	}
	keep, err := sub.weightFiles(replaced)
	if err != nil {
		return err
	}
	return fs.WalkDir(sub.fsys, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := fs.Stat(sub.fsys, name) // Follows the links that download caches are made of.
		if err != nil || info.IsDir() {
			return err
		}
		to := name
		if keep != nil && isWeights(name) {
			if to = keep[name]; to == "" {
				return nil
			}
		}
		return w.copy(sub.fsys, name, path.Join(part, to))
	})
}

// weightFiles maps the weights files to copy to their new names. It is nil when the folder has
// no weights that this package reads, and is then to be copied as it is; empty when replaced.
func (f *Folder) weightFiles(replaced bool) (map[string]string, error) {
	if replaced {
		return map[string]string{}, nil
	}
	name, err := f.findWeights("")
	if err != nil {
		return nil, nil //nolint:nilerr // A tokenizer's or scheduler's folder, or a passenger's pickle.
	}
	w, err := f.Weights("")
	if err != nil {
		return nil, err
	}
	keep := map[string]string{name: plainName(name)}
	if strings.HasSuffix(name, ".json") {
		for _, file := range w.files {
			shard := filepath.Base(file.Name())
			keep[shard] = shard
		}
	}
	return keep, w.Close()
}

// plainName takes the variant out of a weights file's name.
func plainName(name string) string {
	stem, _, _ := strings.Cut(name, ".")
	if strings.HasSuffix(name, ".json") {
		return stem + ".safetensors.index.json"
	}
	return stem + ".safetensors"
}

// isWeights tells weights and their indexes, in any format, from other files of a part.
func isWeights(name string) bool {
	switch path.Ext(name) {
	case ".safetensors", ".bin", ".ckpt", ".pt", ".pth", ".msgpack", ".h5", ".onnx", ".onnx_data", ".pb", ".xml":
		return true
	}
	return strings.HasSuffix(name, ".json") && strings.Contains(name, ".index.")
}

// folderWriter writes synced files below root and remembers their SHA-256.
type folderWriter struct {
	root string
	sums map[string]string
}

// file writes one file; name has forward slashes.
func (w *folderWriter) file(name string, fill func(io.Writer) error) error {
	to := filepath.Join(w.root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("create folder: %w", err)
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("create file: %w", err)
	}
	h := sha256.New()
	if err := errors.Join(fill(io.MultiWriter(out, h)), out.Sync(), out.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	w.sums[name] = hex.EncodeToString(h.Sum(nil))
	return nil
}

func (w *folderWriter) copy(from fs.FS, name, to string) error {
	in, err := from.Open(name)
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	defer func() { _ = in.Close() }() // Only read from.
	return w.file(to, func(out io.Writer) error {
		_, err := io.Copy(out, in)
		return err
	})
}

// finish writes SHA256SUMS and makes the folders durable.
func (w *folderWriter) finish() error {
	if err := atomicfile.Write(filepath.Join(w.root, SumsFile), encodeSums(w.sums)); err != nil {
		return err
	}
	if err := os.Chmod(w.root, 0o755); err != nil { // MkdirTemp makes it private.
		return fmt.Errorf("open up folder: %w", err)
	}
	return filepath.WalkDir(w.root, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		return atomicfile.SyncDir(name)
	})
}

// replaceFolder moves the finished folder to dst, in place of one that is there.
func replaceFolder(finished, dst string) error {
	old := finished + ".old"
	err := os.Rename(dst, old)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("move old checkpoint aside: %w", err)
	}
	replaced := err == nil
	if err := os.Rename(finished, dst); err != nil {
		if replaced {
			err = errors.Join(err, os.Rename(old, dst))
		}
		return fmt.Errorf("rename checkpoint into place: %w", err)
	}
	if err := atomicfile.SyncDir(filepath.Dir(dst)); err != nil {
		return err
	}
	if replaced {
		if err := os.RemoveAll(old); err != nil {
			return fmt.Errorf("remove old checkpoint: %w", err)
		}
	}
	return nil
}
