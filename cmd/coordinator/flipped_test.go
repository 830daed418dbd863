package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"yohaku/coordinator/config"
	"yohaku/dataset"
	"yohaku/dataset/audit"
	"yohaku/dataset/brand"
)

// TestTheModelFindsFlippedLabels: of the brand set one label in ten is turned round. A model trained on all of them for a
// minute tells which, by its margins alone.
func TestTheModelFindsFlippedLabels(t *testing.T) {
	c := newCluster(t)
	c.coordinator("up", "--run-id", "flips", "--data", config.Brand, "--steps", "60", "--no-eval", "--log-format", "json")
	c.coordinator("data", "audit", config.Brand, "--runs", c.out, "--model", "flips", "--timesteps", "1")
	var r audit.Report
	data, err := os.ReadFile(filepath.Join(c.out, "audit.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	flipped := flippedRows(t)
	found, first := 0, 0
	for i, s := range r.Suspects {
		if flipped[s.Row] {
			found++
			if i < len(flipped) {
				first++
			}
		}
	}
	t.Logf("of %d flipped labels %d are among the %d suspects, %d among the first %d", len(flipped), found, len(r.Suspects), first, len(flipped))
	if found < 22 || first < 20 || len(r.Suspects) > 40 {
		t.Errorf("want at least 22 of 24 among at most 40 suspects, and 20 among the first 24")
	}
}

// flippedRows are the rows of the brand set whose label is turned round.
func flippedRows(t *testing.T) map[int]bool {
	t.Helper()
	read := func(flips float64) (all []dataset.Pair) {
		err := brand.Pairs(brand.DefaultPairs, 0, flips).Each(context.Background(), func(r dataset.Record) error {
			all = append(all, *r.Pair)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	rows := map[int]bool{}
	right := read(0)
	for i, p := range read(brand.DefaultFlipRatio) {
		if !bytes.Equal(p.Winner, right[i].Winner) {
			rows[p.Row] = true
		}
	}
	return rows
}
