package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// EventKind says what happened to the cluster.
type EventKind string

// The kinds of events.
const (
	WorkerReady      EventKind = "worker_ready"      // A worker said hello.
	WorkerGone       EventKind = "worker_gone"       // One is known to be lost.
	GenerationEnds   EventKind = "generation_ends"   // The first news of it.
	GenerationFormed EventKind = "generation_formed" // The next ring was ordered.
	GoesOn           EventKind = "training_goes_on"  // Its first step is committed.
)

// Event is something that happened to the cluster, of the last ones in GET /api/v1/events?since=T,
// T in nanoseconds since 1970.
type Event struct {
	Time       time.Time `json:"time"`
	Kind       EventKind `json:"kind"`
	Node       string    `json:"node,omitempty"`
	Generation uint64    `json:"generation,omitempty"`
	Step       int       `json:"step"`            // Committed by then.
	Nodes      []string  `json:"nodes,omitempty"` // Of the generation formed, by rank.

	// Of a generation formed: work that is done again. StepsLost were committed, and with the last
	// checkpoint. MicroBatches of the step under way were in the shares of lost ranks; nobody knows
	// how many of them those had computed, so it is a bound.
	StepsLost    int `json:"steps_lost,omitempty"`
	MicroBatches int `json:"micro_batches,omitempty"`
	// Of training that goes on: the time from the last committed step to this one.
	StoodMS float64 `json:"stood_ms,omitempty"`
}

// Fault asks to hurt a worker that allows it, or, with kind "join", to start a further local one.
// It is POST /api/v1/chaos?kind=K&node=N&ms=D.
type Fault struct {
	Kind     string // kill, freeze, partition or join.
	Node     string
	Duration time.Duration
}

func events(w http.ResponseWriter, r *http.Request, run Run) {
	since, err := strconv.ParseInt(r.FormValue("since"), 10, 64)
	if err != nil {
		problem(w, http.StatusBadRequest, "since must be nanoseconds since 1970")
		return
	}
	answer(w, run.Events(time.Unix(0, since)))
}

func hurt(w http.ResponseWriter, r *http.Request, run Run) {
	ms, err := strconv.Atoi(r.FormValue("ms"))
	if err != nil {
		problem(w, http.StatusBadRequest, "ms must be a number of milliseconds")
		return
	}
	f := Fault{Kind: r.FormValue("kind"), Node: r.FormValue("node"), Duration: time.Duration(ms) * time.Millisecond}
	if err := run.Hurt(r.Context(), f); err != nil {
		problem(w, http.StatusConflict, err.Error())
		return
	}
	answer(w, struct{}{})
}

// Events lists what happened to the cluster since then, in order.
func (c Client) Events(ctx context.Context, since time.Time) ([]Event, error) {
	var all []Event
	err := c.Do(ctx, http.MethodGet, "events?since="+strconv.FormatInt(since.UnixNano(), 10), &all)
	return all, err
}

// Hurt asks the coordinator for a fault.
func (c Client) Hurt(ctx context.Context, f Fault) error {
	if err := c.Do(ctx, http.MethodPost, "chaos?"+url.Values{
		"kind": {f.Kind}, "node": {f.Node}, "ms": {strconv.FormatInt(f.Duration.Milliseconds(), 10)},
	}.Encode(), nil); err != nil {
		return fmt.Errorf("%s: %w", f.Kind, err)
	}
	return nil
}
