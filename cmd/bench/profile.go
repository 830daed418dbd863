package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"

	"yohaku/model/bench"
)

// profile writes the tables and processor profiles of the steps among works.
func profile(o options, works []bench.Work) error {
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

func profileStep(o options, w bench.Work) error {
	base := filepath.Join(o.profile, w.Work)
	code, err := bench.Profile(w.Request, o.threads, o.turns, func() (func() error, error) { return startPprof(base + ".pprof") })
	if err != nil {
		return err
	}
	f, err := os.Create(base + ".txt")
	if err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	err = errors.Join(bench.WriteProfile(f, w.ID()+", gradients only", code), f.Close())
	fmt.Printf("%s.txt, %s.pprof\n", base, base)
	return err
}

// startPprof returns what ends the profile.
func startPprof(path string) (func() error, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("write profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}
