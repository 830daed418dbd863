package blob

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"yohaku/internal/bus"
	"yohaku/internal/trust"
)

// spyStore notes the offsets that are read or written, and closes stop when one reaches stopAt.
type spyStore struct {
	Store
	stopAt int64
	stop   chan struct{}

	mu      sync.Mutex
	lowest  int64
	seen    bool
	stopped bool
}

func (s *spyStore) Open(ref Ref) (Reader, error) {
	r, err := s.Store.Open(ref)
	return spyReader{r, s}, err
}

func (s *spyStore) Create(ref Ref) (Writer, error) {
	w, err := s.Store.Create(ref)
	return spyWriter{w, s}, err
}

func (s *spyStore) note(off int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.seen || off < s.lowest {
		s.seen, s.lowest = true, off
	}
	if off >= s.stopAt && !s.stopped {
		s.stopped = true
		close(s.stop)
	}
}

func (s *spyStore) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = false
}

func (s *spyStore) first() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lowest
}

type spyReader struct {
	Reader
	s *spyStore
}

func (r spyReader) ReadAt(p []byte, off int64) (int, error) {
	r.s.note(off)
	return r.Reader.ReadAt(p, off)
}

type spyWriter struct {
	Writer
	s *spyStore
}

func (w spyWriter) WriteAt(p []byte, off int64) (int, error) {
	w.s.note(off)
	return w.Writer.WriteAt(p, off)
}

// fullStore takes one chunk and then has no space left.
type fullStore struct{ Store }

func (s fullStore) Create(ref Ref) (Writer, error) {
	w, err := s.Store.Create(ref)
	return fullWriter{w}, err
}

type fullWriter struct{ Writer }

func (w fullWriter) WriteAt(p []byte, off int64) (int, error) {
	if off > 0 {
		return 0, errors.New("no space left on device")
	}
	return w.Writer.WriteAt(p, off)
}

func noise(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func flip(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, 100); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b, 100); err != nil {
		t.Fatal(err)
	}
}

func expectFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func newFolder(t *testing.T) *Folder {
	t.Helper()
	f, err := OpenFolder(filepath.Join(t.TempDir(), "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func startBus(t *testing.T, c bus.Config) *bus.Bus {
	t.Helper()
	c.RunID = "run"
	if c.TLS != nil {
		c.RouteListen = "127.0.0.1:0"
	}
	b, err := bus.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func newBus(t *testing.T) *nats.Conn { return startBus(t, bus.Config{NodeName: "n"}).Conn() }

func serve(t *testing.T, conn *nats.Conn, s Store) *Service {
	t.Helper()
	service, err := Serve(conn, prefix, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(service.Close)
	return service
}

func mutual(t *testing.T, a *trust.Authority, name string) *tls.Config {
	t.Helper()
	id, err := a.Issue(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := id.MutualTLS()
	if err != nil {
		t.Fatal(err)
	}
	return c
}
