// Package gate holds the figures of a run against thresholds that a team agreed on before: stages of KPIs, each with the file
// that its figure came from. A figure that is missing fails.
package gate

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"yohaku/internal/strictyaml"
)

// maxFileBytes bounds gates.yaml.
const maxFileBytes = 1 << 20

// File is gates.yaml: what a team agreed on before it saw the figures.
//
//	stage: pilot                 # the stage that is asked for; empty is the first
//	price_per_worker_hour: 2.5   # for the KPI cost, in the team's currency
//	stages:                      # in order; a stage asks for all of the stages before it, too
//	  - name: poc
//	    kpis:
//	      - {name: win_rate_low, at_least: 0.5}
type File struct {
	Stage              string  `yaml:"stage"`
	PricePerWorkerHour float64 `yaml:"price_per_worker_hour"`
	Stages             []Stage `yaml:"stages"`

	Path   string `yaml:"-"`
	SHA256 string `yaml:"-"` // Of the file's bytes.
}

// Stage is one step of a pilot.
type Stage struct {
	Name string `yaml:"name"`
	KPIs []KPI  `yaml:"kpis"`
}

// KPI is a figure with its bound: exactly one of the two is given.
type KPI struct {
	Name    string   `yaml:"name"`
	AtLeast *float64 `yaml:"at_least"`
	AtMost  *float64 `yaml:"at_most"`
}

// Read reads gates.yaml strictly. stage, if it is not empty, is asked for in place of the file's.
func Read(path, stage string) (File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return File{}, fmt.Errorf("--gate: %w; give the path of a gates.yaml", err)
	}
	if info.Size() > maxFileBytes {
		return File{}, fmt.Errorf("--gate: %s has %d bytes, at most %d are read; it holds thresholds only", path, info.Size(), maxFileBytes)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return File{}, fmt.Errorf("--gate: %w; give the path of a gates.yaml", err)
	}
	f, err := parse(data)
	if err != nil {
		return File{}, fmt.Errorf("--gate: %s: %w", path, err)
	}
	if stage != "" {
		f.Stage = stage
	}
	if f.Stage == "" {
		f.Stage = f.Stages[0].Name
	}
	if !slices.ContainsFunc(f.Stages, func(s Stage) bool { return s.Name == f.Stage }) {
		return File{}, fmt.Errorf("--gate: %s: stage %q is not one of %s; name one of them", path, f.Stage, strings.Join(f.stageNames(), ", "))
	}
	sum := sha256.Sum256(data)
	f.Path, f.SHA256 = path, hex.EncodeToString(sum[:])
	return f, nil
}

func (f File) stageNames() []string {
	var names []string
	for _, s := range f.Stages {
		names = append(names, s.Name)
	}
	return names
}

func parse(data []byte) (File, error) {
	var f File
	if err := strictyaml.Unmarshal(data, &f); err != nil {
		return f, fmt.Errorf("%w; its keys are stage, price_per_worker_hour and stages, a list of {name, kpis: [{name, at_least or at_most}]}", err)
	}
	return f, f.validate()
}

func (f File) validate() error {
	if len(f.Stages) == 0 {
		return errors.New("stages is empty, a gate must ask for something; add a stage with kpis")
	}
	if !(f.PricePerWorkerHour >= 0) || math.IsInf(f.PricePerWorkerHour, 0) {
		return fmt.Errorf("price_per_worker_hour must be at least 0, got %v; give the price of one worker's hour", f.PricePerWorkerHour)
	}
	seen := map[string]bool{}
	for i, s := range f.Stages {
		switch {
		case s.Name == "":
			return fmt.Errorf("stage %d has no name; give it one, such as poc, pilot or release", i+1)
		case seen[s.Name]:
			return fmt.Errorf("stage %q is there twice; give each its own name", s.Name)
		case len(s.KPIs) == 0:
			return fmt.Errorf("stage %q has no kpis, a stage must ask for something; add one of %s", s.Name, strings.Join(Names(), ", "))
		}
		seen[s.Name] = true
		for _, k := range s.KPIs {
			if err := k.validate(f); err != nil {
				return fmt.Errorf("stage %q: %w", s.Name, err)
			}
		}
	}
	return nil
}

func (k KPI) validate(f File) error {
	if !slices.Contains(Names(), k.Name) {
		return fmt.Errorf("kpi %q is not known; use one of %s", k.Name, strings.Join(Names(), ", "))
	}
	if (k.AtLeast == nil) == (k.AtMost == nil) {
		return fmt.Errorf("kpi %s must have one of at_least and at_most; give exactly one", k.Name)
	}
	if b := k.bound(); math.IsNaN(b) || math.IsInf(b, 0) {
		return fmt.Errorf("kpi %s has the bound %v, which nothing can be compared with; give a finite number", k.Name, b)
	}
	if k.Name == Cost && f.PricePerWorkerHour == 0 {
		return fmt.Errorf("kpi %s needs a price; give price_per_worker_hour above 0", k.Name)
	}
	return nil
}

func (k KPI) bound() float64 {
	if k.AtLeast != nil {
		return *k.AtLeast
	}
	return *k.AtMost
}

// rule is the bound in words.
func (k KPI) rule() string {
	if k.AtLeast != nil {
		return fmt.Sprintf("at least %g", *k.AtLeast)
	}
	return fmt.Sprintf("at most %g", *k.AtMost)
}

func (k KPI) holds(v float64) bool {
	if k.AtLeast != nil {
		return v >= *k.AtLeast
	}
	return v <= *k.AtMost
}
