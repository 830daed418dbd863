// Package card writes the model card of a checkpoint: README.md with the YAML front matter that model hubs read, and in
// words what the model was trained on, for what, how it did, and what is not known. It is made from the run folder alone, so it can be
// written again when more is measured.
//
// Source: the model cards of diffusers' training scripts.
package card

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"yohaku/coordinator/copycheck"
	"yohaku/coordinator/evidence"
	"yohaku/coordinator/runstore"
)

// Name is the file in the checkpoint folder.
const Name = "README.md"

// facts is what the card takes from the run folder.
type facts struct {
	manifest runstore.Manifest
	config   map[string]any
	report   evidence.Report
	copies   copycheck.Report
	ledger   string // SHA-256 of ledger.jsonl.
}

func read(run string) (facts, error) {
	var f facts
	for _, file := range []struct {
		name     string
		into     any
		optional bool
	}{{"manifest.json", &f.manifest, false}, {"report.json", &f.report, false}, {"copycheck.json", &f.copies, true}} {
		data, err := os.ReadFile(filepath.Join(run, file.name))
		if errors.Is(err, os.ErrNotExist) && file.optional {
			continue
		}
		if err != nil {
			return f, fmt.Errorf("model card: %w; the run must have ended with a report", err)
		}
		if err := json.Unmarshal(data, file.into); err != nil {
			return f, fmt.Errorf("model card: read %s: %w", file.name, err)
		}
	}
	if err := json.Unmarshal(f.manifest.Config, &f.config); err != nil {
		return f, fmt.Errorf("model card: read manifest.json: config: %w", err)
	}
	if f.copies.CheckpointSHA256 != f.report.CheckpointSHA256 {
		f.copies.CopyRate, f.copies.DiversityBase = nil, nil // Of another checkpoint.
	}
	ledger, err := runstore.HashFile(filepath.Join(run, "ledger.jsonl"))
	if err != nil {
		return f, fmt.Errorf("model card: %w", err)
	}
	f.ledger = ledger.SHA256
	return f, nil
}

// frontMatter is what hubs read.
type frontMatter struct {
	License     string   `yaml:"license"`
	LicenseName string   `yaml:"license_name,omitempty"`
	BaseModel   string   `yaml:"base_model"`
	LibraryName string   `yaml:"library_name"`
	PipelineTag string   `yaml:"pipeline_tag"`
	Tags        []string `yaml:"tags"`
	Datasets    []string `yaml:"datasets"`
}

// Make writes the card of the run in folder run, which must have ended with a report.
func Make(run string) ([]byte, error) {
	f, err := read(run)
	if err != nil {
		return nil, err
	}
	front, err := yaml.Marshal(f.front())
	if err != nil {
		return nil, fmt.Errorf("model card: %w", err)
	}
	return []byte("---\n" + string(front) + "---\n\n" + f.text()), nil
}

func (f facts) setting(key string) string {
	if v, ok := f.config[key]; ok && v != nil {
		return fmt.Sprint(v)
	}
	return ""
}

func (f facts) baseModel() string {
	if m := f.setting("model"); m != "" {
		return filepath.Base(m) // A path on the machine that trained says nothing elsewhere.
	}
	return "yohaku built-in base"
}

func (f facts) dataName() string { return filepath.Base(f.manifest.DataName) }

// front has the licence only where all pairs name one and the same; whose it is to license a model is not for a program
// to say.
func (f facts) front() frontMatter {
	m := frontMatter{
		License: "other", BaseModel: f.baseModel(), LibraryName: "diffusers", PipelineTag: "text-to-image",
		Tags: []string{"text-to-image", "diffusers", "yohaku", f.objective()}, Datasets: []string{f.dataName()},
	}
	if f.setting("lora_rank") != "0" && f.setting("lora_rank") != "" {
		m.Tags = append(m.Tags, "lora")
	}
	if len(f.manifest.Licenses) == 1 {
		for name, pairs := range f.manifest.Licenses {
			if pairs == f.manifest.Pairs {
				m.LicenseName = name
			}
		}
	}
	return m
}

func (f facts) objective() string {
	switch form := f.setting("form"); form {
	case "dpo", "sft":
		return form
	}
	return "mapo"
}

func (f facts) text() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	m, r := f.manifest, f.report
	p("# %s, tuned on preferences\n", f.baseModel())
	p("Trained with Yohaku %s in run `%s`.\n", m.Version, m.RunID)
	p("## Data\n\n- %s: %d pairs; %d ties and %d unusable rows were left out\n- digest of the pairs: `%s`", f.dataName(), m.Pairs, m.Ties, m.RejectedRows, m.DataDigest)
	p("- licences: %s\n- sources: %s\n", counted(m.Licenses, m.Pairs), counted(m.Origins, m.Pairs))
	p("## Objective\n\n- %s (form `%s`), beta_mapo %s, beta_dpo %s, learning rate %s, LoRA rank %s, seed %s\n- %d steps, %d items, final loss %.4g\n",
		strings.ToUpper(f.objective()), f.setting("form"), f.setting("beta_mapo"), f.setting("beta_dpo"), f.setting("learning_rate"), f.setting("lora_rank"), f.setting("seed"), r.Steps, r.Items, r.Loss)
	p("## Figures\n\n| figure | value |\n|---|---|\n| win rate against the base | %s |\n| copies | %s |\n| diversity over seeds, tuned and base | %s |\n", f.winRate(), f.copyRate(), f.diversity())
	p("## Limits\n\n- The judge is a program (%s): its win rate says how near pictures come to what it measures, not whether people like them.", orNone(r.Judge))
	p("- What the base model cannot draw, this one cannot either; its biases remain. It was tuned on %d pairs and may have lost variety.", m.Pairs)
	for _, note := range r.Notes {
		p("- %s", note)
	}
	if f.copies.CopyRate == nil {
		p("- Nobody has looked for copies of training pictures or registered works.")
	} else if f.copies.Registered == 0 {
		p("- Pictures were held against the training pictures only, not against registered works.")
	}
	p("\n## Provenance\n\n- checkpoint_sha256 `%s`\n- base model `%s`\n- SHA-256 of ledger.jsonl `%s`; `coordinator verify` checks it and computes steps again\n- kernel set %s", r.CheckpointSHA256, m.ModelDigest, f.ledger, r.KernelSet)
	return b.String()
}

func orNone(s string) string {
	if s == "" {
		return "none was asked"
	}
	return s
}

// counted lists values by how many pairs name them; the rest do not say.
func counted(by map[string]int, pairs int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(by)) {
		parts = append(parts, fmt.Sprintf("%s (%d)", strings.Join(strings.Fields(name), " "), by[name]))
		pairs -= by[name]
	}
	if pairs > 0 {
		parts = append(parts, fmt.Sprintf("not stated (%d)", pairs))
	}
	return strings.Join(parts, ", ")
}

func (f facts) winRate() string {
	r := f.report
	if r.WinRate == nil || r.WinRateLow == nil || r.WinRateHigh == nil {
		return "not measured"
	}
	return fmt.Sprintf("%.3f (95 %% interval %.3f to %.3f, %d comparisons, judge %s)", *r.WinRate, *r.WinRateLow, *r.WinRateHigh, r.Comparisons, r.Judge)
}

func (f facts) copyRate() string {
	c := f.copies
	if c.CopyRate == nil {
		return "not measured"
	}
	return fmt.Sprintf("%d of %d pictures, against %d training pictures and %d registered works", c.Copies, c.Pictures, c.Training, c.Registered)
}

func (f facts) diversity() string {
	if c := f.copies; c.DiversityBase != nil && c.DiversityTuned != nil {
		return fmt.Sprintf("%.4f and %.4f", *c.DiversityTuned, *c.DiversityBase)
	}
	return "not measured"
}
