package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"yohaku/internal/bus"
	"yohaku/internal/trust"
)

const prefix = "run.node"

func TestRoundTrips(t *testing.T) {
	conn, folder := newBus(t), newFolder(t)
	serve(t, conn, folder)
	for _, size := range []int{0, 1, ChunkBytes - 1, ChunkBytes, ChunkBytes + 1, 9*ChunkBytes + 7} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			data := noise(size)
			ref, err := PutBytes(deadline(t), conn, prefix, data)
			if err != nil {
				t.Fatal(err)
			}
			if want := RefOf(data); ref != want {
				t.Fatalf("put gave %v, want %v", ref, want)
			}
			if again, err := PutBytes(deadline(t), conn, prefix, data); err != nil || again != ref {
				t.Errorf("put again: %v, error %v", again, err)
			}
			var buf bytes.Buffer
			if err := Get(deadline(t), conn, prefix, ref, &buf); err != nil || !bytes.Equal(buf.Bytes(), data) {
				t.Errorf("get: %d bytes, error %v; want the %d sent", buf.Len(), err, size)
			}
			dir := t.TempDir()
			path := filepath.Join(dir, "file")
			for range 2 { // The second finds it there.
				if err := GetToFile(deadline(t), conn, prefix, ref, path); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
				t.Errorf("file has %d bytes, error %v; want the %d sent", len(got), err, size)
			}
			expectFiles(t, dir, "file")
		})
	}
}

func TestAcrossRoutes(t *testing.T) {
	a, err := trust.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	home := startBus(t, bus.Config{NodeName: "home", TLS: mutual(t, a, "home")})
	peer := startBus(t, bus.Config{NodeName: "peer", TLS: mutual(t, a, "peer"), Routes: []string{home.RouteAddr()}})
	if err := peer.WaitPeers(deadline(t), "home"); err != nil {
		t.Fatal(err)
	}
	folder := newFolder(t)
	serve(t, home.Conn(), folder)
	data := noise(40*ChunkBytes + 1)
	path := filepath.Join(t.TempDir(), "model")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	ref, err := folder.Register(path)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	var buf bytes.Buffer
	if err := Get(deadline(t), peer.Conn(), prefix, ref, &buf); err != nil || !bytes.Equal(buf.Bytes(), data) {
		t.Errorf("get: %d bytes, error %v", buf.Len(), err)
	}
	t.Logf("get: %.0f MB/s", float64(len(data))/1e6/time.Since(begin).Seconds())
	begin = time.Now()
	data[0]++
	if _, err := PutBytes(deadline(t), peer.Conn(), prefix, data); err != nil {
		t.Error(err)
	}
	t.Logf("put: %.0f MB/s", float64(len(data))/1e6/time.Since(begin).Seconds())
}

func TestMissingBlob(t *testing.T) {
	conn := newBus(t)
	serve(t, conn, newFolder(t))
	dir := t.TempDir()
	err := GetToFile(deadline(t), conn, prefix, RefOf(noise(10)), filepath.Join(dir, "file"))
	if !errors.Is(err, ErrNotFound) {
		t.Errorf("error %v, want ErrNotFound", err)
	}
	expectFiles(t, dir)
}

// TestCorruptSource: one flipped bit at the source is an error at the end, and leaves nothing.
func TestCorruptSource(t *testing.T) {
	conn, folder := newBus(t), newFolder(t)
	serve(t, conn, folder)
	data := noise(3 * ChunkBytes)
	ref, err := folder.Put(data)
	if err != nil {
		t.Fatal(err)
	}
	data[2*ChunkBytes+5] ^= 4
	if err := os.WriteFile(filepath.Join(folder.dir, ref.SHA256), data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Get(deadline(t), conn, prefix, ref, io.Discard); !errors.Is(err, ErrDigest) {
		t.Errorf("get: %v, want ErrDigest", err)
	}
	dir := t.TempDir()
	if err := GetToFile(deadline(t), conn, prefix, ref, filepath.Join(dir, "file")); !errors.Is(err, ErrDigest) {
		t.Errorf("get to file: %v, want ErrDigest", err)
	}
	expectFiles(t, dir)
}

func TestCorruptUpload(t *testing.T) {
	conn, folder := newBus(t), newFolder(t)
	s := serve(t, conn, folder)
	data := noise(ChunkBytes)
	req := request{Ref: RefOf(data), Upload: "u"}
	r := remote{conn, prefix}
	if _, err := r.call(deadline(t), subjectBegin, req, nil, time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := r.call(deadline(t), subjectCommit, req, nil, time.Minute); !transient(err) {
		t.Errorf("commit without the chunk: %v, want a transient error", err)
	}
	if _, err := r.call(deadline(t), subjectBegin, req, nil, time.Minute); err != nil {
		t.Fatal(err)
	}
	data[0] ^= 1
	if _, err := r.call(deadline(t), subjectChunk, req, data, time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := r.call(deadline(t), subjectCommit, req, nil, time.Minute); !errors.Is(err, ErrDigest) {
		t.Errorf("commit: %v, want ErrDigest", err)
	}
	expectFiles(t, folder.dir)
	if len(s.uploads) != 0 {
		t.Errorf("%d uploads are left", len(s.uploads))
	}
}

// TestGetResumes: a call that was cancelled half-way leaves a part, and the next one asks only for
// the rest; a part that turned bad is found out and fetched anew.
func TestGetResumes(t *testing.T) {
	for _, damage := range []bool{false, true} {
		conn, folder := newBus(t), newFolder(t)
		data := noise(32 * ChunkBytes)
		ref, err := folder.Put(data)
		if err != nil {
			t.Fatal(err)
		}
		spy := &spyStore{Store: folder, stopAt: 16 * ChunkBytes, stop: make(chan struct{})}
		serve(t, conn, spy)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-spy.stop; cancel() }()
		dir := t.TempDir()
		path := filepath.Join(dir, "file")
		if err := GetToFile(ctx, conn, prefix, ref, path); !errors.Is(err, context.Canceled) {
			t.Fatalf("cancelled get: %v", err)
		}
		part := filepath.Join(dir, ".file."+ref.SHA256[:16]+".part")
		expectFiles(t, dir, filepath.Base(part))
		if damage {
			flip(t, part)
		}
		spy.forget()
		if err := GetToFile(deadline(t), conn, prefix, ref, path); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
			t.Errorf("damage %v: file is wrong, error %v", damage, err)
		}
		expectFiles(t, dir, "file")
		if first := spy.first(); !damage && first < 8*ChunkBytes {
			t.Errorf("the second call asked from %d on, want only the rest", first)
		}
	}
}

// TestGetSurvivesRestart: the service goes away in the middle and comes back.
func TestGetSurvivesRestart(t *testing.T) {
	conn, folder := newBus(t), newFolder(t)
	data := noise(32 * ChunkBytes)
	ref, err := folder.Put(data)
	if err != nil {
		t.Fatal(err)
	}
	spy := &spyStore{Store: folder, stopAt: 16 * ChunkBytes, stop: make(chan struct{})}
	s, err := Serve(conn, prefix, spy)
	if err != nil {
		t.Fatal(err)
	}
	restarted := make(chan error, 1)
	go func() {
		<-spy.stop
		s.Close()
		_, err := conn.Request(prefix+subjectGet, nil, time.Second)
		if !errors.Is(err, nats.ErrNoResponders) {
			err = fmt.Errorf("closed service answers: %w", err)
		} else {
			_, err = Serve(conn, prefix, folder)
		}
		restarted <- err
	}()
	var buf bytes.Buffer
	if err := Get(deadline(t), conn, prefix, ref, &buf); err != nil || !bytes.Equal(buf.Bytes(), data) {
		t.Errorf("get: %d bytes, error %v", buf.Len(), err)
	}
	if err := <-restarted; err != nil {
		t.Error(err)
	}
}

// TestPutSurvivesRestart: the service forgets the upload in the middle.
func TestPutSurvivesRestart(t *testing.T) {
	conn, folder := newBus(t), newFolder(t)
	spy := &spyStore{Store: folder, stopAt: 16 * ChunkBytes, stop: make(chan struct{})}
	s := serve(t, conn, spy)
	go func() {
		<-spy.stop
		s.mu.Lock()
		defer s.mu.Unlock()
		for name, u := range s.uploads {
			delete(s.uploads, name)
			u.end()
		}
	}()
	data := noise(32 * ChunkBytes)
	ref, err := PutBytes(deadline(t), conn, prefix, data)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(folder.dir, ref.SHA256)); err != nil || !bytes.Equal(got, data) {
		t.Errorf("stored %d bytes, error %v", len(got), err)
	}
	expectFiles(t, folder.dir, ref.SHA256)
}

func TestNobodyServes(t *testing.T) {
	conn := newBus(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := Get(ctx, conn, prefix, RefOf(noise(5)), io.Discard); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the deadline", err)
	}
}

func TestFullDiskEndsUpload(t *testing.T) {
	conn, folder := newBus(t), newFolder(t)
	s := serve(t, conn, fullStore{folder})
	_, err := PutBytes(deadline(t), conn, prefix, noise(3*ChunkBytes))
	if err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("error %v, want the disk's", err)
	}
	s.Close() // Waits for chunks that were still being written.
	expectFiles(t, folder.dir)
}

// TestConcurrentGetsOfOnePath: all succeed, and one file is left.
func TestConcurrentGetsOfOnePath(t *testing.T) {
	conn, folder := newBus(t), newFolder(t)
	serve(t, conn, folder)
	data := noise(8*ChunkBytes + 3)
	ref, err := folder.Put(data)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := GetToFile(deadline(t), conn, prefix, ref, path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
		t.Errorf("file is wrong, error %v", err)
	}
	expectFiles(t, dir, "file")
}

func TestRegisteredFileIsServedUntilItChanges(t *testing.T) {
	conn, folder := newBus(t), newFolder(t)
	serve(t, conn, folder)
	path := filepath.Join(t.TempDir(), "weights")
	if err := os.WriteFile(path, []byte("weights"), 0o644); err != nil {
		t.Fatal(err)
	}
	ref, err := folder.Register(path)
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := Get(deadline(t), conn, prefix, ref, &buf); err != nil || buf.String() != "weights" {
		t.Errorf("got %q, error %v", buf.String(), err)
	}
	if got, err := folder.Path(ref); err != nil || got != path {
		t.Errorf("path %q, error %v; want %q", got, err, path)
	}
	expectFiles(t, folder.dir) // Not copied.
	if err := os.WriteFile(path, []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
	if err := Get(deadline(t), conn, prefix, ref, io.Discard); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "changed after") {
		t.Errorf("changed file: %v, want ErrNotFound with the reason", err)
	}
	if _, err := folder.Register(t.TempDir()); err == nil {
		t.Error("a folder was registered")
	}
}

func TestServiceRefusesRubbish(t *testing.T) {
	conn, folder := newBus(t), newFolder(t)
	serve(t, conn, folder)
	good := RefOf(noise(2 * ChunkBytes))
	r := remote{conn, prefix}
	for name, tc := range map[string]struct {
		subject string
		req     request
		data    []byte
	}{
		"path as digest":   {subjectGet, request{Ref: Ref{SHA256: strings.Repeat("../", 21) + "x", Size: 1}}, nil},
		"upper case":       {subjectGet, request{Ref: Ref{SHA256: strings.ToUpper(good.SHA256), Size: 1}}, nil},
		"negative size":    {subjectGet, request{Ref: Ref{SHA256: good.SHA256, Size: -1}}, nil},
		"huge size":        {subjectBegin, request{Ref: Ref{SHA256: good.SHA256, Size: MaxBytes + 1}, Upload: "u"}, nil},
		"odd offset":       {subjectGet, request{Ref: good, Offset: 1}, nil},
		"offset past end":  {subjectGet, request{Ref: good, Offset: 3 * ChunkBytes}, nil},
		"no upload name":   {subjectBegin, request{Ref: good}, nil},
		"long upload name": {subjectBegin, request{Ref: good, Upload: strings.Repeat("u", 65)}, nil},
		"short chunk":      {subjectChunk, request{Ref: good, Upload: "u"}, []byte("short")},
		"unknown upload":   {subjectChunk, request{Ref: good, Upload: "u"}, noise(ChunkBytes)},
		"unknown commit":   {subjectCommit, request{Ref: good, Upload: "u"}, nil},
	} {
		_, err := r.call(deadline(t), tc.subject, tc.req, tc.data, time.Minute)
		var said *serviceError
		if !errors.As(err, &said) {
			t.Errorf("%s: error %v, want a refusal", name, err)
		}
	}
	if _, err := bus.Call(deadline(t), conn, prefix+subjectGet, []byte{0xff, 0xff, 0xff, 0xff, '{'}); err == nil {
		t.Error("a head that is not there was accepted")
	}
	expectFiles(t, folder.dir)
}

func TestUploadsAreBounded(t *testing.T) {
	s := &Service{store: newFolder(t), uploads: map[string]*upload{}}
	ref := RefOf([]byte("x"))
	for i := range maxUploads {
		if _, err := s.begin(request{Ref: ref, Upload: fmt.Sprint(i)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	var busy *codedError
	if _, err := s.begin(request{Ref: ref, Upload: "more"}, nil); !errors.As(err, &busy) || busy.code != codeBusy {
		t.Errorf("one more: %v, want busy", err)
	}
	s.uploads["7"].used = time.Now().Add(-2 * uploadIdle)
	if _, err := s.begin(request{Ref: ref, Upload: "more"}, nil); err != nil {
		t.Errorf("after one went idle: %v", err)
	}
	s.Close()
	expectFiles(t, s.store.(*Folder).dir)
}

func FuzzDecode(f *testing.F) {
	msg, err := encode(request{Ref: RefOf([]byte("x")), Upload: "u"}, []byte("data"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(msg)
	f.Add([]byte{0, 0, 0, 2, '{', '}'})
	f.Fuzz(func(t *testing.T, msg []byte) {
		r, data, err := decode(msg)
		if err != nil {
			return
		}
		if n := chunkLen(r.Ref, r.Offset); n < 0 || n > ChunkBytes || len(data) > len(msg) || filepath.Base(r.Ref.SHA256) != r.Ref.SHA256 {
			t.Errorf("accepted %+v with a chunk of %d bytes", r, n)
		}
	})
}
