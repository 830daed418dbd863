package worker

import (
	"errors"
	"io"
	"os"
	"testing"

	"yohaku/internal/bus/blob"
	"yohaku/internal/wire"
)

// TestSavingGoesOnBesideTraining: to begin a checkpoint does not wait for its end; to settle does, and tells its error once.
func TestSavingGoesOnBesideTraining(t *testing.T) {
	r := &resident{}
	full := errors.New("disk is full")
	write, began := make(chan struct{}), make(chan struct{})
	r.saving = begin(func() error {
		close(began)
		<-write
		return full
	})
	<-began // And this goroutine goes on.
	settled := make(chan error)
	go func() { settled <- r.settle() }()
	select {
	case err := <-settled:
		t.Fatalf("settled with %v while the checkpoint was being written", err)
	default:
	}
	close(write)
	if err := <-settled; !errors.Is(err, full) {
		t.Errorf("got error %v, want %v", err, full)
	}
	if err := r.settle(); err != nil {
		t.Errorf("told again: %v", err)
	}
}

// TestKeep: a file is named by what was written to it; one that was not written whole is not there.
func TestKeep(t *testing.T) {
	f := &files{dir: t.TempDir()}
	data := []byte("some weights")
	ref, name, err := f.keep(func(w io.Writer) error {
		for i := range data {
			if _, err := w.Write(data[i : i+1]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := wire.Ref(blob.RefOf(data)); ref != want {
		t.Errorf("got %v, want %v", ref, want)
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != string(data) {
		t.Errorf("kept %q, error %v", got, err)
	}
	if _, _, err := f.keep(func(w io.Writer) error { return errors.Join(second(w.Write(data)), io.ErrShortWrite) }); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("got error %v", err)
	}
	left, err := os.ReadDir(f.dir)
	if err != nil || len(left) != 1 {
		t.Errorf("%d files are left, error %v; want the one that was kept", len(left), err)
	}
}

func second(_ int, err error) error { return err }
