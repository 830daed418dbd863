package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"yohaku/coordinator/api"
	"yohaku/internal/wire"
)

// cluster is a run to measure.
type cluster struct {
	coordinator, dir, id, model  string
	workers, steps, microBatches int
	items                        int       // In a micro-batch.
	quotas                       []float64 // By worker, of a processor; empty: no limits.
}

// run trains, and returns the steps that count.
func (c cluster) run(ctx context.Context) ([]wire.StepReport, error) {
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, c.coordinator, "up", "--model", c.model, "--data", "brand", "--resolution", "128", "--no-eval",
		"--local-workers", strconv.Itoa(c.workers), "--threads", "1", "--steps", strconv.Itoa(c.steps), "--checkpointing-steps", "0",
		"--gradient-accumulation-steps", strconv.Itoa(c.microBatches), "--train-batch-size", strconv.Itoa(c.items),
		"--out", c.dir, "--run-id", c.id, "--log-format", "json")
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start coordinator: %w; make build puts it into bin/", err)
	}
	going, end := context.WithCancel(ctx)
	limited := make(chan error, 1)
	go func() {
		err := c.limit(going)
		if err != nil {
			_ = cmd.Cancel() // It may have ended already.
		}
		limited <- err
	}()
	err := cmd.Wait()
	end()
	if err := errors.Join(err, <-limited); err != nil {
		return nil, fmt.Errorf("run %s: %w\n%s", c.id, err, log.String())
	}
	all, err := c.metrics()
	if err != nil {
		return nil, err
	}
	return all[len(all)/3:], nil
}

func (c cluster) metrics() ([]wire.StepReport, error) {
	data, err := os.ReadFile(filepath.Join(c.dir, c.id, "metrics.jsonl"))
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	var all []wire.StepReport
	d := json.NewDecoder(bytes.NewReader(data))
	for d.More() {
		var s wire.StepReport
		if err := d.Decode(&s); err != nil {
			return nil, fmt.Errorf("read metrics: %w", err)
		}
		all = append(all, s)
	}
	if len(all) != c.steps {
		return nil, fmt.Errorf("run %s has %d steps, want %d", c.id, len(all), c.steps)
	}
	return all, nil
}

// limit slows the workers down once they train.
func (c cluster) limit(ctx context.Context) error {
	if len(c.quotas) == 0 {
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
		var status api.Status
		client, err := api.Find(filepath.Join(c.dir, c.id))
		if err != nil || client.Do(ctx, "GET", "status", &status) != nil || len(status.Nodes) < c.workers || status.Step < 1 {
			continue
		}
		for i, n := range status.Nodes {
			if err := limit(n.PID, c.quotas[i]); err != nil {
				return err
			}
		}
		return nil
	}
}

// period is short beside a micro-batch, so that a limited worker is slow and not now and then stopped.
const period = 10 * time.Millisecond

// limit lets a process have a share of one processor, no more and, whatever else runs, no less, by
// a control group of its own. The group is left behind empty.
func limit(pid int, share float64) error {
	us := strconv.Itoa(int(period.Microseconds()))
	quota := strconv.Itoa(int(share * float64(period.Microseconds())))
	root, files := "/sys/fs/cgroup/cpu", [][2]string{{"cpu.shares", "262144"}, {"cpu.cfs_period_us", us}, {"cpu.cfs_quota_us", quota}}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		root, files = "/sys/fs/cgroup", [][2]string{{"cpu.weight", "10000"}, {"cpu.max", quota + " " + us}}
	}
	group := filepath.Join(root, fmt.Sprintf("yohaku-bench-%d", pid))
	if err := os.MkdirAll(group, 0o755); err != nil {
		return fmt.Errorf("create control group: %w; this needs Linux, root, and a writable %s", err, root)
	}
	for _, f := range append(files, [2]string{"cgroup.procs", strconv.Itoa(pid)}) {
		if err := os.WriteFile(filepath.Join(group, f[0]), []byte(f[1]), 0o644); err != nil {
			return fmt.Errorf("limit process %d: %w", pid, err)
		}
	}
	return nil
}
