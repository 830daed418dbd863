package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go"
)

// Get writes the blob that the service at prefix has to w. What w got is good only if the error is
// nil: ErrDigest comes at the end. It goes on after errors of the network; ctx bounds the whole.
func Get(ctx context.Context, conn *nats.Conn, prefix string, ref Ref, w io.Writer) error {
	if err := ref.Check(); err != nil {
		return err
	}
	h := sha256.New()
	if err := (remote{conn, prefix}).receive(ctx, ref, 0, io.MultiWriter(h, w)); err != nil {
		return fmt.Errorf("get %v from %s: %w", ref, prefix, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != ref.SHA256 {
		return digestError("get from "+prefix, ref, got)
	}
	return nil
}

// receive writes the bytes of ref from offset on (a multiple of ChunkBytes) to w.
func (r remote) receive(ctx context.Context, ref Ref, offset int64, w io.Writer) error {
	return persist(ctx, func() (int64, error) {
		err := r.fetch(ctx, ref, offset, func(data []byte) error {
			if _, err := w.Write(data); err != nil {
				return err
			}
			offset += int64(len(data))
			return nil
		})
		return offset, err
	})
}

// GetToFile makes the file at path hold the blob. The file appears whole and checked, or not at
// all; a right one that is there already is left as it is. After an error of the network, or the
// end of ctx, a hidden partial file stays beside it, from which the next call goes on; after
// ErrDigest nothing stays. Several processes may fetch to one path at the same time.
func GetToFile(ctx context.Context, conn *nats.Conn, prefix string, ref Ref, path string) error {
	if err := ref.Check(); err != nil {
		return err
	}
	if have, err := RefOfFile(path); err == nil && have == ref {
		return nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("get %v to %s: %w", ref, path, err)
	}
	for {
		part, err := openPart(path, ref)
		if err != nil {
			return fmt.Errorf("get %v to %s: %w", ref, path, err)
		}
		resumed := part.offset > 0
		err = part.fill(ctx, remote{conn, prefix})
		if errors.Is(err, ErrDigest) && resumed {
			continue // What was there before may be what is wrong, and it is gone now.
		}
		if err != nil {
			return fmt.Errorf("get %v from %s to %s: %w", ref, prefix, path, err)
		}
		return nil
	}
}

// part is a partial file: the first offset bytes of ref, all hashed.
type part struct {
	file   *os.File
	ref    Ref
	final  string
	hash   hash.Hash
	offset int64
	own    bool // Nobody else will go on from it.
}

// openPart opens the partial file for path, or one under a name of its own when another process
// has that.
func openPart(path string, ref Ref) (*part, error) {
	name := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+ref.SHA256[:16]+".part")
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	p := &part{file: file, ref: ref, final: path, hash: sha256.New()}
	if !lock(file) || !sameFile(file, name) {
		_ = file.Close() // The other process owns it.
		if p.file, err = os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.part"); err != nil {
			return nil, err
		}
		p.own = true
		return p, nil
	}
	if err := p.resume(); err != nil {
		_ = file.Close() // The first error is the one to report.
		return nil, err
	}
	return p, nil
}

// sameFile says whether name still is the open file: its owner may have renamed it meanwhile.
func sameFile(file *os.File, name string) bool {
	a, err := file.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(name)
	return err == nil && os.SameFile(a, b)
}

// resume hashes the whole chunks that are there, and drops the rest.
func (p *part) resume() error {
	info, err := p.file.Stat()
	if err != nil {
		return err
	}
	keep := info.Size()
	if keep > p.ref.Size {
		keep = 0
	}
	if keep < p.ref.Size {
		keep -= keep % ChunkBytes
	}
	if err := p.file.Truncate(keep); err != nil {
		return err
	}
	if _, err := io.Copy(p.hash, io.NewSectionReader(p.file, 0, keep)); err != nil {
		return err
	}
	p.offset = keep
	_, err = p.file.Seek(keep, io.SeekStart)
	return err
}

// Write appends to the file and the digest.
func (p *part) Write(data []byte) (int, error) {
	n, err := p.file.Write(data)
	p.hash.Write(data[:n])
	p.offset += int64(n)
	return n, err
}

// fill fetches the rest, checks it and gives the file its name.
func (p *part) fill(ctx context.Context, r remote) error {
	err := r.receive(ctx, p.ref, p.offset, p)
	if err != nil {
		p.leave(err)
		return err
	}
	if got := hex.EncodeToString(p.hash.Sum(nil)); got != p.ref.SHA256 {
		err = digestError("get from "+r.prefix, p.ref, got)
	} else {
		err = publish(p.file, p.final)
	}
	if err == nil {
		return nil
	}
	p.remove()
	if have, e := RefOfFile(p.final); e == nil && have == p.ref {
		return nil // Another process finished the same file between our closing and our renaming it.
	}
	return err
}

// leave closes the file after err and keeps it only if another call can go on from it.
func (p *part) leave(err error) {
	if p.own || p.offset < ChunkBytes || !transient(err) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		p.remove()
		return
	}
	_ = p.file.Close() // What is lost of it is fetched again.
}

// remove first removes and then closes, so that the lock covers both; Windows removes open files
// only afterwards.
func (p *part) remove() {
	first := os.Remove(p.file.Name())
	_ = p.file.Close() // It may be closed already.
	if first != nil {
		_ = os.Remove(p.file.Name())
	}
}
