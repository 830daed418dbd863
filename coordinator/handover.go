package coordinator

import (
	"os"
	"path/filepath"
	"strconv"
	"time"

	"yohaku/coordinator/rendezvous"
	"yohaku/internal/bus/blob"
	"yohaku/internal/logkey"
	"yohaku/internal/wire"
)

// handedOver is what a rank handed over for others to begin with: its state of step, the complete
// sums that led to it, or both. It is kept until a step after that is committed.
type handedOver struct {
	jobID string // Of the donation under way, or the last.
	asked time.Time
	step  int
	state *wire.TrainState
	sums  *wire.Ref
}

func prepareID(node string) string { return "prepare-" + node }

// prepare has a worker get ready to be a rank, while the others go on.
func (c *Coordinator) prepare(node string) {
	job := c.trainJob(rendezvous.Form{}, 0)
	job.ID, job.Kind = prepareID(node), wire.JobPrepare
	if ring := c.training.nodes[c.training.generation]; len(ring) > 0 {
		c.training.followed++
		job.Train.Follow = ring[c.training.followed%len(ring)]
	}
	c.tell(node, wire.Order{Job: &job})
	c.setState(node, "preparing")
}

// askDonor asks a rank for what others lack.
func (c *Coordinator) askDonor(d rendezvous.Donate) {
	h := &c.training.handed
	if h.step != d.Step {
		c.dropHanded()
	}
	c.nextJob++
	h.jobID, h.step, h.asked = "donate-"+strconv.Itoa(c.nextJob), d.Step, time.Now()
	job := wire.Job{ID: h.jobID, Kind: wire.JobDonate, Donate: &wire.DonateJob{Step: d.Step, State: d.State, Sums: d.Sums}}
	c.tell(d.Node, wire.Order{Job: &job})
}

// donated notes what was handed over.
func (c *Coordinator) donated(node string, d wire.Done) []rendezvous.Event {
	h := &c.training.handed
	if d.State != nil {
		h.state = d.State
	}
	if d.Sums != nil {
		h.sums = d.Sums
	}
	c.log.Info().Str(logkey.Node, node).Int(logkey.Step, h.step).Bool("state", d.State != nil).Bool("sums", d.Sums != nil).
		Dur(logkey.DurationMS, time.Since(h.asked)).Msg("state handed over while the ring stood still")
	h.jobID = "" // It may be said twice.
	donated := rendezvous.Donated{Node: node, Err: doneError(d)}
	if n, known := c.nodes[node]; known && d.Holding != nil {
		n.holding = *d.Holding
		donated.Holding = new(c.sound(n))
	}
	return []rendezvous.Event{donated}
}

// dropHanded removes what was handed over, once nobody needs it.
func (c *Coordinator) dropHanded() {
	h := &c.training.handed
	var refs []wire.Ref
	if h.state != nil {
		refs = append(refs, h.state.Trainer)
		for _, f := range h.state.Weights {
			refs = append(refs, f.Ref)
		}
	}
	if h.sums != nil {
		refs = append(refs, *h.sums)
	}
	h.state, h.sums = nil, nil
	for _, ref := range refs {
		file, err := c.blobs.Path(blob.Ref(ref))
		if err != nil || filepath.Dir(file) != c.run.Path("blobs") {
			continue // Of the base model or a checkpoint, which stay.
		}
		if err := os.Remove(file); err != nil {
			c.log.Warn().Err(err).Msg("handed-over state not removed")
		}
	}
}
