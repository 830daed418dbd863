package worker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yohaku/internal/bus"
	"yohaku/internal/wire"
)

// TestTheOutboxWaitsForACoordinator: steps and checkpoints are delivered in order once one is there, and
// what it acknowledged is told.
func TestTheOutboxWaitsForACoordinator(t *testing.T) {
	w := testWorker(t)
	back := make(chan struct{})
	var got []int
	w.ask = func(ctx context.Context, node, subject string, data []byte) ([]byte, error) {
		select {
		case <-back:
		default:
			return nil, bus.ErrNoResponders
		}
		var r wire.Report
		if err := wire.Decode(data, &r); err != nil {
			return nil, err
		}
		for _, s := range r.Steps {
			got = append(got, s.Step)
		}
		if r.Checkpoint != nil {
			got = append(got, -r.Checkpoint.Step)
		}
		return nil, nil
	}
	w.sending.Go(w.deliverAll)
	for _, i := range []item{{step: &wire.StepReport{Step: 4}}, {step: &wire.StepReport{Step: 5}}, {state: &wire.TrainState{Step: 5}}, {state: &wire.TrainState{Step: 5}}, {step: &wire.StepReport{Step: 6}}} {
		if err := w.outbox.post(i); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.outbox.delivered(6); n != 3 {
		t.Errorf("step %d is delivered without a coordinator, want 3", n)
	}
	if steps, checkpoints := w.outbox.left(); steps != 3 || checkpoints != 1 {
		t.Errorf("%d steps and %d checkpoints wait, want 3 and 1", steps, checkpoints)
	}
	close(back)
	if err := w.outbox.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.bye()
	w.sending.Wait()
	if diff := cmp.Diff([]int{4, 5, -5, 6}, got); diff != "" || w.outbox.delivered(6) != 6 {
		t.Errorf("delivered (-want +got):\n%s up to %d, want 6", diff, w.outbox.delivered(6))
	}
}

// TestARefusalIsTold once, to whoever posts or waits next, and nothing waits behind it.
func TestARefusalIsTold(t *testing.T) {
	w := testWorker(t)
	w.ask = func(context.Context, string, string, []byte) ([]byte, error) {
		return nil, &bus.RemoteError{Text: "no space left"}
	}
	w.sending.Go(w.deliverAll)
	if err := w.outbox.post(item{state: &wire.TrainState{Step: 5}}); err != nil {
		t.Fatal(err)
	}
	var said *bus.RemoteError
	if err := w.outbox.flush(t.Context()); !errors.As(err, &said) {
		t.Errorf("%v, want the refusal", err)
	}
	if err := w.outbox.flush(t.Context()); err != nil {
		t.Errorf("told twice: %v", err)
	}
	w.bye()
	w.sending.Wait()
}

// TestClear: what was given up with its worker is not delivered, even when it was on its way.
func TestClear(t *testing.T) {
	b := newOutbox()
	file := filepath.Join(t.TempDir(), "kept")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), b.post(item{step: &wire.StepReport{Step: 1}}), b.post(item{state: &wire.TrainState{Step: 1}, files: []string{file}})); err != nil {
		t.Fatal(err)
	}
	first, batch := b.next(t.Context())
	if len(batch) != 1 {
		t.Fatalf("batch of %d, want the step", len(batch))
	}
	if err := removeAll(b.clear()); err != nil {
		t.Error(err)
	}
	if err := b.post(item{step: &wire.StepReport{Step: 7}}); err != nil {
		t.Fatal(err)
	}
	b.drop(first, len(batch), nil)
	if n := b.delivered(9); n != 6 {
		t.Errorf("step %d is delivered, want 6: the answer was to what had been cleared", n)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the checkpoint's file is still there: %v", err)
	}
}
