package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"yohaku/internal/bus"
	"yohaku/internal/bus/blob"
	"yohaku/internal/wire"
	"yohaku/model/checkpoint"
)

// files keeps what the worker fetched: blobs by digest, and model folders made of them. It is a
// temporary folder that goes with the worker.
type files struct {
	bus    *bus.Bus
	prefix func() string // Of the blob service of the coordinator that the worker belongs to.
	dir    string
	local  *localFiles // Of a worker without a cluster; see Recompute.
}

func newFiles(b *bus.Bus, prefix func() string) (*files, error) {
	dir, err := os.MkdirTemp("", "yohaku-worker-")
	if err != nil {
		return nil, fmt.Errorf("create folder for fetched files: %w; set TMPDIR to a folder with room for the model", err)
	}
	return &files{bus: b, prefix: prefix, dir: dir}, nil
}

func (f *files) close() error { return os.RemoveAll(f.dir) }

// get fetches a blob, once, and returns its path.
func (f *files) get(ctx context.Context, ref wire.Ref) (string, error) {
	if f.local != nil {
		return f.local.shard(ref), nil
	}
	r := blob.Ref(ref)
	if err := r.Check(); err != nil {
		return "", err
	}
	file := filepath.Join(f.dir, r.SHA256)
	if err := blob.GetToFile(ctx, f.bus.Conn(), f.prefix(), r, file); err != nil {
		return "", fmt.Errorf("fetch %s: %w", r, err)
	}
	return file, nil
}

// put hands data over to the coordinator.
func (f *files) put(ctx context.Context, data []byte) (wire.Ref, error) {
	ref, err := blob.PutBytes(ctx, f.bus.Conn(), f.prefix(), data)
	if err != nil {
		return wire.Ref{}, fmt.Errorf("hand %d bytes to the coordinator: %w", len(data), err)
	}
	return wire.Ref(ref), nil
}

// putFilled is put for what fill writes, by way of the disk.
func (f *files) putFilled(ctx context.Context, fill func(io.Writer) error) (wire.Ref, error) {
	_, file, err := f.keep(fill)
	if err != nil {
		return wire.Ref{}, err
	}
	ref, err := blob.PutFile(ctx, f.bus.Conn(), f.prefix(), file)
	if err != nil {
		err = fmt.Errorf("hand a file to the coordinator: %w", err)
	}
	return wire.Ref(ref), errors.Join(err, os.Remove(file))
}

// maxFolderFiles bounds the files of a model folder.
const maxFolderFiles = 4096

// folder fetches files and lays them out under their paths.
func (f *files) folder(ctx context.Context, list []wire.ModelFile) (string, error) {
	if f.local != nil {
		return f.local.state, nil
	}
	if len(list) > maxFolderFiles {
		return "", fmt.Errorf("folder of %d files, at most %d", len(list), maxFolderFiles)
	}
	dir := filepath.Join(f.dir, "folder-"+listDigest(list))
	for _, file := range list {
		name := filepath.FromSlash(file.Path)
		if !filepath.IsLocal(name) {
			return "", fmt.Errorf("file %q lies outside its folder", file.Path)
		}
		source, err := f.get(ctx, file.Ref)
		if err != nil {
			return "", fmt.Errorf("%s: %w", file.Path, err)
		}
		if err := link(source, filepath.Join(dir, name)); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// forget removes the files of a state that was taken, but for those that the base model has too.
func (f *files) forget(state *wire.TrainState, base wire.Model) error {
	keep := map[wire.Ref]bool{}
	for _, file := range base.Files {
		keep[file.Ref] = true
	}
	trainer := []wire.ModelFile{{Path: checkpoint.StateFile, Ref: state.Trainer}}
	errs := []error{
		os.RemoveAll(filepath.Join(f.dir, "folder-"+listDigest(state.Weights))),
		os.RemoveAll(filepath.Join(f.dir, "folder-"+listDigest(trainer))),
	}
	for _, file := range append(trainer, state.Weights...) {
		if !keep[file.Ref] {
			errs = append(errs, os.RemoveAll(filepath.Join(f.dir, file.Ref.SHA256)))
		}
	}
	return errors.Join(errs...)
}

// model is folder for a model; the digest names its content.
func (f *files) model(ctx context.Context, m wire.Model) (dir, digest string, err error) {
	if f.local != nil {
		return f.local.base, "", nil
	}
	dir, err = f.folder(ctx, m.Files)
	return dir, listDigest(m.Files), err
}

// link gives the file a second name, unless it has it already.
func link(source, to string) error {
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("create folder: %w", err)
	}
	if err := os.Link(source, to); err != nil {
		return fmt.Errorf("lay out fetched file: %w", err)
	}
	return nil
}

// listDigest names a list of files by content.
func listDigest(list []wire.ModelFile) string {
	sum := sha256.Sum256(wire.Encode(list))
	return hex.EncodeToString(sum[:])
}
