package worker

import (
	"context"
	"fmt"
	"slices"

	"yohaku/allreduce/natsring"
	"yohaku/internal/wire"
	"yohaku/worker/replica"
)

// gradient is the digest of a micro-batch's float gradient, as a rank computed it.
type gradient struct {
	MicroBatch int    `json:"micro_batch"`
	Digest     string `json:"digest"`
}

// sample names the micro-batches of a step that are audited.
func (r *rank) sample(step int) []int { return audited(r.job.Hyper, step) }

func audited(h wire.Hyper, step int) []int {
	return replica.Sample(h.Seed, step, h.GradientAccumulationSteps, h.AuditRatio)
}

// own are the digests of the audited micro-batches in the partial sums.
func (r *rank) own() []gradient {
	var own []gradient
	for _, s := range r.res.stats {
		if s.Gradient != "" {
			own = append(own, gradient{s.MicroBatch, s.Gradient})
		}
	}
	return own
}

// audit computes again what falls to this rank. No micro-batch is under way.
func (r *rank) audit(step int) ([]gradient, error) {
	sample := r.sample(step)
	var mine []int
	for i, auditor := range replica.Auditors(sample, r.words.shares) {
		if auditor == r.job.Rank {
			mine = append(mine, sample[i])
		}
	}
	return r.again(step, mine)
}

func (r *rank) again(step int, microBatches []int) ([]gradient, error) {
	var all []gradient
	for _, mb := range microBatches {
		digest, err := r.res.trainer.Audit(step, mb)
		if err != nil {
			return nil, err
		}
		all = append(all, gradient{mb, digest})
	}
	return all, nil
}

// judgeAudits compares each audited gradient with the one in the sums. Where they differ, all ranks
// compute it once more, and the majority of all that was computed is right: the error is a
// *differError, before the sums are applied.
func (r *rank) judgeAudits(ctx context.Context, op natsring.Operation, all []figures) error {
	votes := map[int][]replica.Vote{}
	for rank, f := range all {
		for _, g := range append(f.Own, f.Audits...) {
			votes[g.MicroBatch] = append(votes[g.MicroBatch], replica.Vote{Rank: rank, Digest: g.Digest})
		}
	}
	var differ []int
	for _, mb := range r.sample(op.Step) {
		if slices.ContainsFunc(votes[mb], func(v replica.Vote) bool { return v.Digest != votes[mb][0].Digest }) {
			differ = append(differ, mb)
		}
	}
	if len(differ) == 0 {
		return nil
	}
	mine, err := r.again(op.Step, differ)
	if err != nil {
		return err
	}
	second, err := gather(ctx, r.ring, op, "audit", mine)
	if err != nil {
		return fmt.Errorf("exchange audits: %w", err)
	}
	for rank, gradients := range second {
		for _, g := range gradients {
			votes[g.MicroBatch] = append(votes[g.MicroBatch], replica.Vote{Rank: rank, Digest: g.Digest})
		}
	}
	return r.gradientDiffers(op.Step, differ[0], votes[differ[0]])
}

// gradientDiffers is the error by a verdict on one gradient.
func (r *rank) gradientDiffers(step, mb int, votes []replica.Vote) error {
	want, wrong, undecided := replica.JudgeVotes(votes)
	suspects := func(ranks []int) (all []wire.Suspect) {
		for _, rank := range ranks {
			i := slices.IndexFunc(votes, func(v replica.Vote) bool { return v.Rank == rank && v.Digest != want })
			all = append(all, wire.Suspect{Node: r.job.Nodes[rank], Rank: rank, Digest: votes[i].Digest, Parts: "gradient"})
		}
		return all
	}
	return &differError{world: len(r.job.Nodes), Difference: wire.Difference{
		Steps: step, Gradient: fmt.Sprintf("micro-batch %d%s", mb, r.res.model.describe(step, mb)),
		Want: want, Wrong: suspects(wrong), Undecided: suspects(undecided),
	}}
}
