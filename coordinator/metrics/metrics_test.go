package metrics

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"yohaku/coordinator/api"
	"yohaku/internal/wire"
)

// played are the figures after two steps of a ring that lost a worker.
func played() *Metrics {
	m := New("r1", "v1", 20)
	m.Event(api.Event{Kind: api.WorkerReady})
	m.Event(api.Event{Kind: api.WorkerReady})
	m.Event(api.Event{Kind: api.GenerationFormed, Generation: 1, Nodes: []string{"a", "b"}})
	m.Step(wire.StepReport{Generation: 1, Step: 1, Items: 8, Loss: 0.5, DurationMS: 250, RingBytes: 100, Nodes: []string{"a", "b"}})
	m.Event(api.Event{Kind: api.WorkerGone})
	m.Event(api.Event{Kind: api.GenerationFormed, Generation: 2, Nodes: []string{"a"}})
	m.Step(wire.StepReport{
		Generation: 2, Step: 2, Items: 8, Loss: 0.25, WinnerMSE: 0.1, LoserMSE: 0.3, LogOdds: 0.02, GradNorm: 3, LearningRate: 1e-5,
		DurationMS: 500, RingMS: 40, RingExposedMS: 5, RingBytes: 50, Recomputed: 1, Skipped: true, ItemsPerSecond: 16, Nodes: []string{"a"},
	})
	return m
}

func TestNamesFollowTheConventions(t *testing.T) {
	recorder := httptest.NewRecorder()
	played().Handler().ServeHTTP(recorder, httptest.NewRequest("GET", "/metrics", nil))
	problems, err := promlint.New(strings.NewReader(recorder.Body.String())).Lint()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]promlint.Problem(nil), problems); diff != "" {
		t.Error(diff)
	}
}

func TestFiguresOfSteps(t *testing.T) {
	const want = `
# HELP yohaku_items_total Items (pair, timestep, noise) in the committed steps.
# TYPE yohaku_items_total counter
yohaku_items_total{run_id="r1"} 16
# HELP yohaku_margin Mean margin of winner over loser in the last step (log odds).
# TYPE yohaku_margin gauge
yohaku_margin{run_id="r1"} 0.02
# HELP yohaku_recomputed_attempts_total Attempts at a step voided because an exponent did not fit.
# TYPE yohaku_recomputed_attempts_total counter
yohaku_recomputed_attempts_total{run_id="r1"} 1
# HELP yohaku_ring_bytes_total Bytes that rank 0 sent around the ring.
# TYPE yohaku_ring_bytes_total counter
yohaku_ring_bytes_total{run_id="r1"} 150
# HELP yohaku_skipped_steps_total Steps whose update was left out because a gradient was not finite.
# TYPE yohaku_skipped_steps_total counter
yohaku_skipped_steps_total{run_id="r1"} 1
# HELP yohaku_steps_total Training steps committed since this coordinator started.
# TYPE yohaku_steps_total counter
yohaku_steps_total{run_id="r1"} 2
# HELP yohaku_workers_lost_total Workers that were lost.
# TYPE yohaku_workers_lost_total counter
yohaku_workers_lost_total{run_id="r1"} 1
# HELP yohaku_world_size Ranks in the ring.
# TYPE yohaku_world_size gauge
yohaku_world_size{run_id="r1"} 1
`
	err := testutil.GatherAndCompare(played().registry, strings.NewReader(want), "yohaku_items_total", "yohaku_margin", "yohaku_recomputed_attempts_total",
		"yohaku_ring_bytes_total", "yohaku_skipped_steps_total", "yohaku_steps_total", "yohaku_workers_lost_total", "yohaku_world_size")
	if err != nil {
		t.Error(err)
	}
}
