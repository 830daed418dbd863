package coordinator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"yohaku/coordinator/runstore"
	"yohaku/internal/wire"
)

// modelFiles is the base model as files on this machine, named by content.
type modelFiles struct {
	all     []runstore.File  // What a checkpoint folder carries.
	refs    map[string]int64 // Size by path.
	digest  string
	encoder string // Digest of what decides latents and embeddings.
}

// workerParts are the components that workers compute with.
var workerParts = []string{"model_index.json", "unet/", "vae/", "text_encoder/", "tokenizer/", "text_encoder_2/", "tokenizer_2/", "scheduler/"}

// encoderParts decide what pictures and prompts are encoded to.
var encoderParts = []string{"vae/", "text_encoder/", "tokenizer/", "text_encoder_2/", "tokenizer_2/"}

// prepareModel names every file of the base model by content and offers it to the workers.
func (c *Coordinator) prepareModel(ctx context.Context) error {
	dir := c.o.ModelDir
	if dir == "" {
		dir = c.run.Path("model")
		if err := c.o.UnpackModel(dir); err != nil {
			return fmt.Errorf("unpack the built-in model: %w", err)
		}
	}
	m, err := c.readModel(ctx, dir)
	if err != nil {
		return err
	}
	if want := c.run.Manifest.ModelDigest; want != "" && want != m.digest {
		return fmt.Errorf("--resume %s: the model has digest %.12s…, the run was started on %.12s…; give the same --model", c.run.Manifest.RunID, m.digest, want)
	}
	c.model = m
	c.run.Manifest.ModelDigest = m.digest
	return c.run.SaveManifest()
}

func (c *Coordinator) readModel(ctx context.Context, dir string) (modelFiles, error) {
	return readModel(ctx, dir, func(file string) (wire.Ref, error) {
		ref, err := c.blobs.Register(file)
		return wire.Ref(ref), err
	})
}

// ModelDigest is the digest of the pipeline folder dir, as a run's manifest holds it.
func ModelDigest(ctx context.Context, dir string) (string, error) {
	m, err := readModel(ctx, dir, runstore.HashFile)
	return m.digest, err
}

// readModel names every file of the pipeline folder dir by content, as hash gives it.
func readModel(ctx context.Context, dir string, hash func(file string) (wire.Ref, error)) (modelFiles, error) {
	m := modelFiles{refs: map[string]int64{}}
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !carried(d.Name()) {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		rel, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		ref, err := hash(file)
		if err != nil {
			return err
		}
		m.all = append(m.all, runstore.File{Path: filepath.ToSlash(rel), Source: file, SHA256: ref.SHA256})
		m.refs[filepath.ToSlash(rel)] = ref.Size
		return nil
	})
	if err != nil {
		return modelFiles{}, fmt.Errorf("--model: read %s: %w", dir, err)
	}
	m.digest, m.encoder = filesDigest(m.all, []string{""}), filesDigest(m.all, encoderParts)
	return m, nil
}

// carried tells the files of a pipeline that are kept: configurations, vocabularies, safetensors.
func carried(name string) bool {
	return slices.Contains([]string{".json", ".txt", ".safetensors", ".model"}, path.Ext(name)) && !strings.HasPrefix(name, ".")
}

// filesDigest is the SHA-256 over "sha256  path" lines of the files under the prefixes.
func filesDigest(files []runstore.File, prefixes []string) string {
	h := sha256.New()
	for _, f := range files { // In the order of WalkDir, which is lexical.
		if hasPrefix(f.Path, prefixes) {
			_, _ = io.WriteString(h, f.SHA256+"  "+f.Path+"\n") // A hash never fails.
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func hasPrefix(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

// wire is a pipeline as workers get it, with the adapter that may lie beside it.
func (m modelFiles) wire() wire.Model { return m.under(append([]string{adapterFile}, workerParts...)) }

// whole is all files, of a folder that is no pipeline.
func (m modelFiles) whole() wire.Model { return m.under([]string{""}) }

func (m modelFiles) under(prefixes []string) wire.Model {
	var out wire.Model
	for _, f := range m.all {
		if hasPrefix(f.Path, prefixes) {
			out.Files = append(out.Files, wire.ModelFile{Path: f.Path, Ref: wire.Ref{SHA256: f.SHA256, Size: m.refs[f.Path]}})
		}
	}
	return out
}
