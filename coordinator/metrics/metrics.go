// Package metrics is what Prometheus reads of a run at /metrics. Names and units follow its
// conventions (https://prometheus.io/docs/practices/naming/): base units, counters end in _total.
package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"yohaku/coordinator/api"
	"yohaku/internal/wire"
)

// Metrics are the figures of one run. The zero value is not usable: call New.
type Metrics struct {
	registry *prometheus.Registry

	steps, items, skipped, recomputed, ringBytes, lost, joined, generations prometheus.Counter
	duration, ring, exposed                                                 prometheus.Histogram

	step, total, world, generation, throughput      prometheus.Gauge
	loss, winner, loser, margin, gradNorm, learning prometheus.Gauge
}

// New makes the figures of the run of this id and version, all zero.
func New(runID, version string, steps int) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})) // Of the coordinator.
	labels := prometheus.Labels{"run_id": runID}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "yohaku", Name: name, Help: help, ConstLabels: labels})
		m.registry.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "yohaku", Name: name, Help: help, ConstLabels: labels})
		m.registry.MustRegister(g)
		return g
	}
	seconds := func(name, help string) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "yohaku", Name: name, Help: help, ConstLabels: labels,
			Buckets: prometheus.ExponentialBuckets(0.01, 2, 16), // 10 ms to 5.5 min.
		})
		m.registry.MustRegister(h)
		return h
	}
	m.steps = counter("steps_total", "Training steps committed since this coordinator started.")
	m.items = counter("items_total", "Items (pair, timestep, noise) in the committed steps.")
	m.skipped = counter("skipped_steps_total", "Steps whose update was left out because a gradient was not finite.")
	m.recomputed = counter("recomputed_attempts_total", "Attempts at a step voided because an exponent did not fit.")
	m.ringBytes = counter("ring_bytes_total", "Bytes that rank 0 sent around the ring.")
	m.lost = counter("workers_lost_total", "Workers that were lost.")
	m.joined = counter("workers_joined_total", "Workers that said hello.")
	m.generations = counter("generations_total", "Rings that were formed.")
	m.duration = seconds("step_duration_seconds", "Time of a committed step.")
	m.ring = seconds("ring_duration_seconds", "Time from a step's first bucket on its way to the complete sums.")
	m.exposed = seconds("ring_exposed_seconds", "The part of the ring's time after the end of the last backward pass.")
	m.step = gauge("step", "The last committed step.")
	m.total = gauge("planned_steps", "Steps of the whole run.")
	m.world = gauge("world_size", "Ranks in the ring.")
	m.generation = gauge("generation", "Number of the ring's generation.")
	m.throughput = gauge("items_per_second", "Items a second, of the whole ring.")
	m.loss = gauge("loss", "Loss of the last step.")
	m.winner = gauge("winner_mse", "Mean squared error of the winners' noise prediction in the last step.")
	m.loser = gauge("loser_mse", "Mean squared error of the losers' noise prediction in the last step.")
	m.margin = gauge("margin", "Mean margin of winner over loser in the last step (log odds).")
	m.gradNorm = gauge("gradient_norm", "Global norm of the gradient in the last step, before clipping.")
	m.learning = gauge("learning_rate", "Learning rate of the last step.")
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "yohaku", Name: "build_info", Help: "1; the version stands in its label.",
		ConstLabels: prometheus.Labels{"run_id": runID, "version": version},
	})
	m.registry.MustRegister(build)
	build.Set(1)
	m.total.Set(float64(steps))
	return m
}

// Step counts a committed step.
func (m *Metrics) Step(s wire.StepReport) {
	m.steps.Inc()
	m.items.Add(float64(s.Items))
	m.recomputed.Add(float64(s.Recomputed))
	m.ringBytes.Add(float64(s.RingBytes))
	if s.Skipped {
		m.skipped.Inc()
	}
	m.duration.Observe(s.DurationMS / 1000)
	m.ring.Observe(s.RingMS / 1000)
	m.exposed.Observe(s.RingExposedMS / 1000)
	for gauge, value := range map[prometheus.Gauge]float64{
		m.step: float64(s.Step), m.world: float64(len(s.Nodes)), m.generation: float64(s.Generation), m.throughput: s.ItemsPerSecond,
		m.loss: s.Loss, m.winner: s.WinnerMSE, m.loser: s.LoserMSE, m.margin: s.LogOdds, m.gradNorm: s.GradNorm, m.learning: s.LearningRate,
	} {
		gauge.Set(value)
	}
}

// Event counts something that happened to the cluster.
func (m *Metrics) Event(e api.Event) {
	switch e.Kind {
	case api.WorkerReady:
		m.joined.Inc()
	case api.WorkerGone:
		m.lost.Inc()
	case api.GenerationFormed:
		m.generations.Inc()
		m.generation.Set(float64(e.Generation))
		m.world.Set(float64(len(e.Nodes)))
	case api.GenerationEnds, api.GoesOn:
	}
}

// Handler answers GET /metrics in Prometheus' text format or OpenMetrics, as the client asks.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, EnableOpenMetrics: true})
}
