package blob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"yohaku/internal/bus"
)

const (
	parallelRequests = 4
	maxUploads       = 64
	uploadIdle       = 2 * time.Minute
)

// Service answers blob requests below a subject prefix until Close.
type Service struct {
	store    Store
	handlers []*bus.Handler

	mu      sync.Mutex
	uploads map[string]*upload
}

// upload is a blob on its way in. Its lock is held for the book-keeping, not while writing.
type upload struct {
	ref    Ref
	writer Writer

	mu      sync.Mutex
	used    time.Time
	have    []bool // By chunk.
	missing int
	writing int  // Chunks being written now.
	ended   bool // Committed, failed or dropped: take nothing more.
}

// Serve offers store at prefix (a subject, such as "run.node") on conn.
func Serve(conn *nats.Conn, prefix string, store Store) (*Service, error) {
	s := &Service{store: store, uploads: map[string]*upload{}}
	for subject, fn := range map[string]func(request, []byte) ([]byte, error){
		subjectGet:    s.get,
		subjectBegin:  s.begin,
		subjectChunk:  s.chunk,
		subjectCommit: s.commit,
	} {
		h, err := bus.Handle(conn, prefix+subject, parallelRequests, func(_ context.Context, msg []byte) ([]byte, error) {
			r, data, err := decode(msg)
			if err != nil {
				return nil, err
			}
			reply, err := fn(r, data)
			return reply, coded(err)
		})
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("serve blobs: %w", err)
		}
		s.handlers = append(s.handlers, h)
	}
	return s, nil
}

// Close stops answering, waits for running requests and drops unfinished uploads.
func (s *Service) Close() {
	for _, h := range s.handlers {
		h.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, u := range s.uploads {
		delete(s.uploads, name)
		u.end()
	}
}

// get returns one chunk.
func (s *Service) get(r request, _ []byte) ([]byte, error) {
	in, err := s.store.Open(r.Ref)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }() // Read only.
	data := make([]byte, chunkLen(r.Ref, r.Offset))
	if n, err := in.ReadAt(data, r.Offset); n < len(data) {
		return nil, fmt.Errorf("read %v at %d: %w", r.Ref, r.Offset, err)
	}
	return data, nil
}

// begin starts an upload, or tells where a started one stands.
func (s *Service) begin(r request, _ []byte) ([]byte, error) {
	if r.Upload == "" {
		return nil, errors.New("begin upload: it has no name")
	}
	if in, err := s.store.Open(r.Ref); err == nil {
		_ = in.Close() // Only its being there matters.
		s.drop(r.Upload)
		return json.Marshal(begun{Complete: true})
	}
	u, err := s.openUpload(r)
	if err != nil {
		return nil, err
	}
	return json.Marshal(begun{Offset: u.offset()})
}

func (s *Service) openUpload(r request) (*upload, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.uploads[r.Upload]; u != nil {
		if u.ref != r.Ref {
			return nil, fmt.Errorf("begin upload: its name belongs to %v, not to %v", u.ref, r.Ref)
		}
		return u, nil
	}
	s.dropIdle()
	if len(s.uploads) >= maxUploads {
		return nil, &codedError{codeBusy, fmt.Errorf("begin upload: %d are under way, at most %d are allowed; try again later", len(s.uploads), maxUploads)}
	}
	w, err := s.store.Create(r.Ref)
	if err != nil {
		return nil, err
	}
	chunks := (r.Ref.Size + ChunkBytes - 1) / ChunkBytes
	u := &upload{ref: r.Ref, writer: w, used: time.Now(), have: make([]bool, chunks), missing: int(chunks)}
	s.uploads[r.Upload] = u
	return u, nil
}

// dropIdle ends uploads whose client has gone; s.mu is held.
func (s *Service) dropIdle() {
	for name, u := range s.uploads {
		if u.idle() {
			delete(s.uploads, name)
			u.end()
		}
	}
}

func (s *Service) drop(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.uploads[name]; u != nil {
		delete(s.uploads, name)
		u.end()
	}
}

func (s *Service) find(r request) (*upload, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.uploads[r.Upload]
	if u == nil || u.ref != r.Ref {
		return nil, &codedError{codeUpload, fmt.Errorf("no such upload of %v", r.Ref)}
	}
	return u, nil
}

// chunk writes one chunk; a repeated one is written again, as its first answer may be lost.
func (s *Service) chunk(r request, data []byte) ([]byte, error) {
	if want := chunkLen(r.Ref, r.Offset); len(data) != want || want == 0 {
		return nil, fmt.Errorf("chunk at %d of %v has %d bytes, it must have %d", r.Offset, r.Ref, len(data), want)
	}
	u, err := s.find(r)
	if err != nil {
		return nil, err
	}
	if err := u.write(r.Offset, data); err != nil {
		s.drop(r.Upload) // A full disk, say: nothing is left behind.
		return nil, err
	}
	return nil, nil
}

// commit checks and publishes the upload.
func (s *Service) commit(r request, _ []byte) ([]byte, error) {
	u, err := s.find(r)
	if err != nil {
		if in, e := s.store.Open(r.Ref); e == nil {
			return nil, in.Close() // It was committed, and the answer was lost.
		}
		return nil, err
	}
	err = u.commit()
	s.drop(r.Upload)
	return nil, err
}

func (u *upload) offset() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i, ok := range u.have {
		if !ok {
			return int64(i) * ChunkBytes
		}
	}
	return u.ref.Size
}

func (u *upload) idle() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.writing == 0 && time.Since(u.used) > uploadIdle
}

func (u *upload) write(offset int64, data []byte) error {
	u.mu.Lock()
	if u.ended {
		u.mu.Unlock()
		return &codedError{codeUpload, fmt.Errorf("the upload of %v has ended", u.ref)}
	}
	u.used = time.Now()
	u.writing++
	u.mu.Unlock()

	_, err := u.writer.WriteAt(data, offset)

	u.mu.Lock()
	defer u.mu.Unlock()
	u.writing--
	if err == nil && !u.have[offset/ChunkBytes] {
		u.have[offset/ChunkBytes] = true
		u.missing--
	}
	u.abortIfEnded()
	if err != nil {
		return fmt.Errorf("write %v at %d: %w", u.ref, offset, err)
	}
	return nil
}

func (u *upload) commit() error {
	u.mu.Lock()
	if u.ended || u.writing > 0 || u.missing > 0 {
		defer u.mu.Unlock()
		return &codedError{codeUpload, fmt.Errorf("the upload of %v cannot be committed: %d chunks are missing, %d are being written", u.ref, u.missing, u.writing)}
	}
	u.ended = true
	w := u.writer
	u.writer = nil
	u.mu.Unlock()
	return w.Commit() // It reads the whole blob: the lock would hold others up.
}

// end drops an upload that was not committed, as soon as no chunk is being written.
func (u *upload) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended = true
	u.abortIfEnded()
}

func (u *upload) abortIfEnded() {
	if u.ended && u.writing == 0 && u.writer != nil {
		u.writer.Abort()
		u.writer = nil
	}
}
