package worker

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"yohaku/internal/membership"
	"yohaku/internal/wire"
	"yohaku/worker/lifecycle"
)

func TestNodeNamesAreUniqueTokens(t *testing.T) {
	for name, want := range map[string]string{
		"gpu-3": "gpu-3-", "Ünï cöde.host": "-n--c-de-host-", strings.Repeat("x", 99): strings.Repeat("x", 48) + "-",
	} {
		a, b := nodeName(name), nodeName(name)
		if !strings.HasPrefix(a, want) || a == b || !wire.ValidToken(a) {
			t.Errorf("%q gives %q and %q, want two valid names that begin with %q", name, a, b, want)
		}
	}
	if got := nodeName(""); !wire.ValidToken(got) || len(got) < 9 {
		t.Errorf("no name gives %q, want a valid name made of the host's", got)
	}
}

const coordinatorName = "coordinator-1"

// testWorker belongs to a coordinator of epoch 1.
func testWorker(t *testing.T) *Worker {
	t.Helper()
	w := &Worker{log: zerolog.Nop(), name: "w", outbox: newOutbox(), again: make(chan struct{}, 1), absenceLimit: time.Minute}
	w.loyal = newAllegiance("r", coordinatorName, 1, zerolog.Nop())
	w.life, w.bye = context.WithCancel(t.Context())
	t.Cleanup(w.bye)
	return w
}

// TestAbsence: the clock runs only while the coordinator is gone.
func TestAbsence(t *testing.T) {
	w := testWorker(t)
	event := func(kind membership.Kind, name string) membership.Event {
		return membership.Event{Kind: kind, Node: membership.Node{Name: name}}
	}
	if w.memberEvent(event(membership.Leave, "peer"), nil) != nil {
		t.Error("a peer that left starts the clock")
	}
	clock := w.memberEvent(event(membership.Leave, coordinatorName), nil)
	if clock == nil {
		t.Fatal("the coordinator left, and no clock runs")
	}
	if w.memberEvent(event(membership.Join, "peer"), clock) != clock {
		t.Error("a peer's coming changes the clock")
	}
	if w.memberEvent(event(membership.Join, coordinatorName), clock) != nil {
		t.Error("the coordinator is back, and the clock still runs")
	}
}

// TestOrdersForAnotherJobAreDropped, and the own job hears each of its orders once.
func TestOrdersForAnotherJobAreDropped(t *testing.T) {
	w := testWorker(t)
	w.loyal.begin(lifecycle.Generation{Epoch: 1, Number: 2}, nil)
	take := func(o wire.Order) {
		t.Helper()
		o.Epoch = 1
		if err := w.take(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	take(wire.Order{Pause: "j"}) // There is no job: nothing happens.
	ctx, cancel := context.WithCancelCause(t.Context())
	r := &running{id: "j", cancel: cancel, forget: func() {}, done: make(chan struct{})}
	w.job = r
	take(wire.Order{Pause: "other"})
	take(wire.Order{Cancel: "other", Generation: 1})
	if pause, _ := r.wish.asked(); pause || ctx.Err() != nil {
		t.Fatal("an order for another job reached this one")
	}
	take(wire.Order{Pause: "j"})
	take(wire.Order{Pause: "j", Save: true})
	if pause, save := r.wish.asked(); !pause || !save {
		t.Errorf("asked to pause %v and save %v, want both", pause, save)
	}
	take(wire.Order{Cancel: "j"})
	if !errors.Is(context.Cause(ctx), errCalledBack) {
		t.Errorf("cause %v, want errCalledBack", context.Cause(ctx))
	}
}

// TestAJobThatNeverCameIsAnswered: the coordinator waits for the end of what it calls back, and
// what it called back does not begin later.
func TestAJobThatNeverCameIsAnswered(t *testing.T) {
	var got []wire.Report
	w := testWorker(t)
	w.ask = func(_ context.Context, _, _ string, data []byte) ([]byte, error) {
		var r wire.Report
		defer func() { got = append(got, r) }()
		return nil, wire.Decode(data, &r)
	}
	if err := w.take(t.Context(), wire.Order{Epoch: 1, Cancel: "train-3", Generation: 3}); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].JobID != "train-3" || got[0].Done == nil || got[0].Done.Holding == nil {
		t.Fatalf("reports %+v, want what is held at the end of train-3", got)
	}
	done, err := w.train(t.Context(), wire.TrainJob{Epoch: 1, Generation: 3}, &wish{})
	if err == nil || done.Holding == nil {
		t.Errorf("a generation that was called back begins: %+v, %v", done, err)
	}
}

// TestAPanicInAJobIsItsError: the worker lives on.
func TestAPanicInAJobIsItsError(t *testing.T) {
	w := &Worker{log: zerolog.Nop()}
	done := w.do(t.Context(), wire.Job{ID: "j", Kind: wire.JobEncode}, nil) // Without its Encode.
	if !strings.HasPrefix(done.Error, "internal error: ") {
		t.Errorf("error %q, want an internal error", done.Error)
	}
}
