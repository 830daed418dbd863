package safetensors

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// long is a file with a tensor of several pieces, of n float32, in a folder of the test's.
func long(t *testing.T, n int) (path string, want []float32) {
	t.Helper()
	want = make([]float32, n)
	for i := range want {
		want[i] = float32(i)
	}
	path = filepath.Join(t.TempDir(), "long.safetensors")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(f, []Entry{{"a", F32, []int{3}, []float32{7, 8, 9}}, {"long", F32, []int{n}, want}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path, want
}

func TestFloat32From(t *testing.T) {
	const n = 3*chunkBytes/4 + 5
	path, want := long(t, n)
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range []struct{ first, n int }{{0, n}, {1, n - 1}, {n, 0}, {chunkBytes/4 - 1, 3}, {n - 2, 2}} {
		got := make([]float32, c.n)
		for range 2 { // The second time its pages were dropped.
			if err := f.Float32From("long", c.first, got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want[c.first:c.first+c.n], got); diff != "" {
				t.Errorf("from %d, %d elements: %s", c.first, c.n, diff)
			}
		}
	}
	for _, c := range []struct{ first, n int }{{-1, 1}, {n, 1}, {0, n + 1}} {
		if err := f.Float32From("long", c.first, make([]float32, c.n)); err == nil {
			t.Errorf("from %d, %d elements: no error", c.first, c.n)
		}
	}
}

// TestCutOff: a file that is cut off after it was opened is an error, not the end of the process.
func TestCutOff(t *testing.T) {
	path, want := long(t, 4*chunkBytes)
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Truncate(path, 4096); err != nil {
		t.Skip("this system does not cut off open files:", err)
	}
	err = f.Float32("long", make([]float32, len(want)))
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got error %v, want one about %s", err, path)
	}
}
