// Package scale is the cost model of docs/scale.md: what a step, a loss and a join cost with 2 to 10,000
// workers. Its constants were measured; its test writes the tables and holds the model against
// simulated clusters with churn.
package scale

import (
	"math"
	"time"
)

// Constants of this code, measured where the page says.
type Constants struct {
	Hop         time.Duration // A small message to the next rank and its processing.
	ByteSeconds float64       // CPU of one rank for a byte that goes around, s.
	WordBytes   float64       // What a rank tells all others in a step, without its micro-batches.
	IndexBytes  float64       // A micro-batch's index in it, or in a line of the ledger.
	NodeBytes   float64       // A node in an order, or in a line of the ledger.
	RefBytes    float64       // A blob's name in an order.
	LineBytes   float64       // A line of the ledger without nodes and micro-batches.

	RouteGrace    time.Duration // A route that is gone so long is a loss.
	ProbeInterval time.Duration // Of the gossip; half of it is the timeout.
	SuspicionMult float64
	OrderSeconds  float64 // The coordinator's CPU for an order or a report, s.
	ProbeBytes    float64 // A probe and its answer.
	MemberBytes   float64 // A node in a push-pull of the gossip.
	PushPull      time.Duration
}

// Measured are the constants of this code on the machine that docs/scale.md names.
var Measured = Constants{
	Hop: 150 * time.Microsecond, ByteSeconds: 1.7e-9, WordBytes: 160, IndexBytes: 4, NodeBytes: 60, RefBytes: 100, LineBytes: 330,
	RouteGrace: 400 * time.Millisecond, ProbeInterval: 500 * time.Millisecond, SuspicionMult: 2, OrderSeconds: 200e-6,
	ProbeBytes: 200, MemberBytes: 250, PushPull: 10 * time.Second,
}

// Job is what is trained, on what.
type Job struct {
	MicroBatch    time.Duration // Forward and backward of one.
	MicroBatches  int           // M, of a step.
	Update        time.Duration
	GradientBytes float64
	StateBytes    float64 // Parameters and optimizer state, which a joiner gets.
	Link          float64 // Of each worker, bit/s, both ways at once.
	Latency       time.Duration
	Shards        int // Of latents.
}

// hop is a small message's time to the next rank.
func (c Constants) hop(j Job) float64 { return c.Hop.Seconds() + j.Latency.Seconds() }

// perByte is the time of a byte of bulk through one rank.
func (c Constants) perByte(j Job) float64 { return 8/j.Link + c.ByteSeconds }

// Ring is the time of an all-reduce of bytes over n ranks, in seconds:
//
//	2·(n−1)·hop + 2·(n−1)/n·bytes·(8/link + cpu)
func (c Constants) Ring(j Job, n int, bytes float64) float64 {
	if n < 2 {
		return 0
	}
	return 2*float64(n-1)*c.hop(j) + 2*float64(n-1)/float64(n)*bytes*c.perByte(j)
}

// Gather is the time in which each of n ranks tells all others bytes: (n−1)·(hop + bytes·perByte).
func (c Constants) Gather(j Job, n int, bytes float64) float64 {
	return float64(n-1) * (c.hop(j) + bytes*c.perByte(j))
}

// Step is what one step takes, in seconds.
type Step struct {
	Compute float64
	Words   float64 // Who has which micro-batches, before the sums; then that all have the sums.
	Ring    float64 // All of the reduction.
	Exposed float64 // Of it, after the backward pass of the last micro-batch.
	Total   float64
}

// buckets is how many parts the gradients are reduced in, at least: the last one cannot be hidden.
const buckets = 32

// share is what the rank with most to do has: ⌈M/n⌉.
func (j Job) share(n int) int { return (j.MicroBatches + n - 1) / n }

// step adds up. Of the reduction, what fits behind the backward pass (two thirds of a micro-batch) is hidden.
func (j Job) step(n int, words, ring float64) Step {
	s := Step{Compute: float64(j.share(n))*j.MicroBatch.Seconds() + j.Update.Seconds(), Words: words, Ring: ring}
	if n > 1 {
		s.Exposed = max(ring-j.MicroBatch.Seconds()*2/3, ring/buckets)
	}
	s.Total = s.Compute + s.Words + s.Exposed
	return s
}

// Flat is a step of n workers in one ring, as this code does it.
func (c Constants) Flat(j Job, n int) Step {
	if n < 2 {
		return j.step(1, 0, 0)
	}
	word := c.WordBytes + c.IndexBytes*float64(j.share(n))
	return j.step(n, c.Gather(j, n, word)+c.Gather(j, n, c.WordBytes), c.Ring(j, n, j.GradientBytes))
}

// Sites is a step of n workers in rings inside sites and one ring of sites: reduce-scatter in the
// site, all-reduce of each rank's part with those of its place in the other sites, all-gather in the
// site; words the same way. It returns the best number of sites.
func (c Constants) Sites(j Job, n int) (Step, int) {
	var best Step
	var sites int
	for s := 1; s <= n; s++ {
		r := int(math.Ceil(float64(n) / float64(s)))
		if s > 1 && int(math.Ceil(float64(n)/float64(s-1))) == r {
			continue // No smaller sites than one less.
		}
		word := c.WordBytes + c.IndexBytes*float64(j.share(n))
		words := c.Gather(j, r, word) + c.Gather(j, s, word*float64(r)) + c.Gather(j, r, c.WordBytes) + c.Gather(j, s, c.WordBytes)
		step := j.step(n, words, c.Ring(j, r, j.GradientBytes)+c.Ring(j, s, j.GradientBytes/float64(r)))
		if sites == 0 || step.Total < best.Total {
			best, sites = step, s
		}
	}
	return best, sites
}

// Loss is what a lost rank costs the others, in seconds.
type Loss struct {
	Killed float64 // Until a process that ended is missed. Meanwhile the others compute.
	Frozen float64 // Until one that hangs, or is cut off, is.
	InHand float64 // The others finish the micro-batch in hand, and wait for the last.
	Form   float64 // All ranks are called back, report and get their orders.
	Again  float64 // What the lost one had, computed by the others.
}

// Stands is how long the step is delayed by a killed rank, when the loss is noticed while the others compute.
func (l Loss) Stands() float64 { return l.InHand + l.Form + l.Again }

// Lost is a loss in a cluster of n.
func (c Constants) Lost(j Job, n int) Loss {
	probe := c.ProbeInterval.Seconds()
	suspicion := c.SuspicionMult * max(1, math.Log10(float64(n))) * probe
	mb := j.MicroBatch.Seconds()
	return Loss{
		InHand: mb / 2,
		Killed: c.RouteGrace.Seconds() + c.hop(j),
		Frozen: probe + probe/2 + suspicion,
		Form:   3*float64(n)*c.OrderSeconds + 6*c.hop(j) + c.OrderBytes(j, n)*float64(n)*8/j.Link,
		Again:  math.Ceil(float64(j.share(n))/float64(max(1, n-1))) * mb,
	}
}

// Join is how long the ring stands still while one worker gets the state: to the coordinator, and from there.
func (c Constants) Join(j Job, n int) float64 {
	return 2*j.StateBytes*8/j.Link + c.Lost(j, n).Form
}

// OrderBytes is the order to one rank: all nodes, all micro-batches twice, all shards.
func (c Constants) OrderBytes(j Job, n int) float64 {
	return c.NodeBytes*float64(n) + 2*c.IndexBytes*float64(j.MicroBatches) + c.RefBytes*float64(j.Shards)
}

// LedgerBytes is a line of the ledger, which is about the report of the step too.
func (c Constants) LedgerBytes(j Job, n int) float64 {
	return c.LineBytes + c.NodeBytes*float64(n) + c.IndexBytes*float64(j.MicroBatches)
}

// GossipBytes is what a node sends in a second while nothing happens.
func (c Constants) GossipBytes(n int) float64 {
	return c.ProbeBytes/c.ProbeInterval.Seconds() + 2*c.MemberBytes*float64(n)/c.PushPull.Seconds()
}

// Churn is the share of time that is left for steps, when a worker is lost every so often, and another one
// joins for it.
func (c Constants) Churn(j Job, n int, between time.Duration) float64 {
	l := c.Lost(j, n)
	return max(0, 1-(l.Stands()+c.Join(j, n))/between.Seconds())
}
