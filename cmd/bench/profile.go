package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"yohaku/model/backend/cpu"
	"yohaku/model/bench"
	"yohaku/model/profile"
)

// profileSteps writes the tables and processor profiles of the steps among works.
func profileSteps(o options, works []bench.Work) error {
	if err := os.MkdirAll(o.profile, 0o755); err != nil {
		return fmt.Errorf("make folder for profiles: %w", err)
	}
	steps := 0
	for _, w := range works {
		if !w.Step {
			continue
		}
		steps++
		if err := profileStep(o, w); err != nil {
			return fmt.Errorf("profile %s: %w", w.ID(), err)
		}
	}
	if steps == 0 {
		return fmt.Errorf("-profile is for steps, and -bench %q matches none", o.pattern)
	}
	return nil
}

// profileStep takes a step to warm up, and as many as there are turns.
func profileStep(o options, w bench.Work) error {
	c, err := bench.StepConfig(w.Request)
	if err != nil {
		return err
	}
	c.Profile = true
	be := cpu.New(o.threads)
	defer be.Close()
	run, _, err := newStep(be, c)
	if err != nil {
		return err
	}
	if err := run.once(); err != nil {
		return err
	}
	run.net.ResetProfile()
	base := filepath.Join(o.profile, w.Work)
	stop, err := profile.Processor(base + ".pprof")
	if err != nil {
		return err
	}
	for range o.turns {
		if err := run.once(); err != nil {
			return errors.Join(err, stop())
		}
	}
	err = errors.Join(stop(), profile.Files(base, w.ID()+", gradients", run.net.Profile()))
	fmt.Printf("%s.txt, %s.trace.json, %s.pprof\n", base, base, base)
	return err
}
