package blob

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"
)

// hashRate is a slow disk's, bytes a second: how long a service may take to check an upload.
const hashRate = 50 << 20

// Put sends size bytes of r to the service at prefix, and returns their name once the service has
// checked and kept them. A blob that is there already is not sent. It goes on after errors of the
// network; ctx bounds the whole.
func Put(ctx context.Context, conn *nats.Conn, prefix string, r io.ReaderAt, size int64) (Ref, error) {
	ref, err := refOfReader(io.NewSectionReader(r, 0, size))
	if err == nil && ref.Size != size {
		err = fmt.Errorf("it has %d bytes, %d were promised", ref.Size, size)
	}
	if err == nil {
		err = ref.Check()
	}
	if err != nil {
		return Ref{}, fmt.Errorf("put blob: %w", err)
	}
	u := &sender{remote: remote{conn, prefix}, ref: ref, name: uploadName(), source: r}
	if err := persist(ctx, func() (int64, error) { return u.send(ctx) }); err != nil {
		return Ref{}, fmt.Errorf("put %v to %s: %w", ref, prefix, err)
	}
	return ref, nil
}

// PutBytes is Put for bytes in memory.
func PutBytes(ctx context.Context, conn *nats.Conn, prefix string, data []byte) (Ref, error) {
	return Put(ctx, conn, prefix, bytes.NewReader(data), int64(len(data)))
}

// PutFile is Put for the file at path.
func PutFile(ctx context.Context, conn *nats.Conn, prefix, path string) (Ref, error) {
	f, err := os.Open(path)
	if err != nil {
		return Ref{}, fmt.Errorf("put blob: %w", err)
	}
	defer func() { _ = f.Close() }() // Read only.
	info, err := f.Stat()
	if err != nil {
		return Ref{}, fmt.Errorf("put blob: %w", err)
	}
	return Put(ctx, conn, prefix, f, info.Size())
}

func uploadName() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // It never fails.
	return hex.EncodeToString(raw[:])
}

type sender struct {
	remote
	ref    Ref
	name   string
	source io.ReaderAt
}

// send goes on with the upload from where the service says it stands.
func (s *sender) send(ctx context.Context) (int64, error) {
	req := request{Ref: s.ref, Upload: s.name}
	reply, err := s.call(ctx, subjectBegin, req, nil, chunkTimeout)
	if err != nil {
		return 0, err
	}
	var at begun
	if err := json.Unmarshal(reply, &at); err != nil || at.Offset < 0 || at.Offset > s.ref.Size {
		return 0, fmt.Errorf("the service's answer to begin is unusable; the peer runs another version")
	}
	if at.Complete {
		return s.ref.Size, nil
	}
	if err := s.chunks(ctx, at.Offset); err != nil {
		return at.Offset, err
	}
	_, err = s.call(ctx, subjectCommit, req, nil, chunkTimeout+time.Duration(s.ref.Size/hashRate)*time.Second)
	return s.ref.Size, err
}

func (s *sender) chunks(ctx context.Context, offset int64) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(window)
	buffers := sync.Pool{New: func() any { b := make([]byte, ChunkBytes); return &b }}
	for off := offset; off < s.ref.Size && ctx.Err() == nil; off += ChunkBytes {
		group.Go(func() error {
			buf := buffers.Get().(*[]byte)
			defer buffers.Put(buf)
			data := (*buf)[:chunkLen(s.ref, off)]
			if n, err := s.source.ReadAt(data, off); n < len(data) {
				return fmt.Errorf("read %v at %d: %w", s.ref, off, err)
			}
			_, err := s.call(ctx, subjectChunk, request{Ref: s.ref, Offset: off, Upload: s.name}, data, chunkTimeout)
			return err
		})
	}
	return group.Wait()
}
