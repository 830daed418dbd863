package coordinator

import (
	"context"
	"errors"
	"fmt"

	"yohaku/coordinator/card"
	"yohaku/coordinator/evidence"
	"yohaku/coordinator/gate"
	"yohaku/coordinator/runstore"
	"yohaku/internal/atomicfile"
	"yohaku/internal/logkey"
)

// withholdFinal makes final wait for the gate, if there is one. A run that was resumed may have one.
func (c *Coordinator) withholdFinal(context.Context) error {
	c.run.Gated = c.o.Config.Gate != ""
	if !c.run.Gated {
		return nil
	}
	return c.run.RemoveFinal()
}

// describe writes the model card of a checkpoint.
func (c *Coordinator) describe(k runstore.Checkpoint) error {
	text, err := card.Make(c.run.Dir)
	if err != nil {
		return err
	}
	return k.Add(card.Name, text)
}

// passGate judges the run that has just been reported.
func (c *Coordinator) passGate(r *evidence.Report) error {
	if !c.run.Gated {
		return nil
	}
	f, err := gate.Read(c.o.Config.Gate, c.o.Config.GateStage)
	if err != nil {
		return err
	}
	v, err := Release(c.run, f)
	if err != nil {
		return err
	}
	c.log.Info().Bool("pass", v.Pass).Int("failed", v.Failed()).Str("stage", v.Stage).Str(logkey.CheckpointSHA256, v.CheckpointSHA256).Msg("gate")
	r.Released = &v.Pass
	if v.Pass {
		r.Checkpoint = c.run.Path("final")
	}
	return c.run.WriteJSON("report.json", *r)
}

// Release judges an ended run by the gates of f and writes the verdict to gate.json. A checkpoint that
// passes is marked released, and final leads to it; otherwise there is neither mark nor final.
func Release(run *runstore.Run, f gate.File) (gate.Verdict, error) {
	v, err := gate.Judge(run.Dir, f)
	if err != nil {
		return v, err
	}
	if _, err := run.ByDigest(v.CheckpointSHA256); errors.Is(err, runstore.ErrNoCheckpoint) {
		return v, fmt.Errorf("gate: report.json is of a checkpoint that is gone: %w", err)
	}
	verdict := v.JSON()
	if err := atomicfile.Write(run.Path("gate.json"), verdict); err != nil {
		return v, err
	}
	if !v.Pass {
		return v, run.Withhold(v.CheckpointSHA256)
	}
	return v, run.Release(v.CheckpointSHA256, verdict)
}
