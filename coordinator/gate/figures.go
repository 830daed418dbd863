package gate

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
)

// The KPIs.
const (
	WinRateLow      = "win_rate_low"
	DiversityRatio  = "diversity_ratio"
	CopyRate        = "copy_rate"
	AdoptionRate    = "adoption_rate"
	EditsPerPicture = "edits_per_picture"
	Cost            = "cost"
	Hours           = "hours"
)

// Names are the KPIs that a gate can ask for.
func Names() []string {
	return []string{WinRateLow, DiversityRatio, CopyRate, AdoptionRate, EditsPerPicture, Cost, Hours}
}

// The files of a run folder that figures are read from.
const (
	reportFile = "report.json"
	copyFile   = "copycheck.json"
	usageFile  = "usage.json"
)

// Figure is a measured KPI with where it came from. Without a value, From says how to get it.
type Figure struct {
	Value *float64
	From  string
}

// evidenceFiles is what a run folder has of the files above.
type evidenceFiles struct {
	report struct {
		CheckpointSHA256 string   `json:"checkpoint_sha256"`
		WinRateLow       *float64 `json:"win_rate_low"`
		Comparisons      int      `json:"comparisons"`
		Judge            string   `json:"judge"`
		DiversityBase    *float64 `json:"diversity_base"`
		DiversityTuned   *float64 `json:"diversity_tuned"`
		Seconds          float64  `json:"seconds"`
		WorldSizes       []int    `json:"world_sizes"`
	}
	copies struct {
		CheckpointSHA256 string   `json:"checkpoint_sha256"`
		CopyRate         *float64 `json:"copy_rate"`
		Pictures         int      `json:"pictures"`
		DiversityBase    *float64 `json:"diversity_base"`
		DiversityTuned   *float64 `json:"diversity_tuned"`
	}
	usage struct {
		Pictures int    `json:"pictures"` // That people were given.
		Adopted  int    `json:"adopted"`  // Of them, used.
		Edits    int    `json:"edits"`    // Made on the adopted ones.
		Source   string `json:"source"`   // Who counted, where and when.
	}
	hasCopies, hasUsage bool
}

// ErrNoReport reports that the run has not ended with a report. The caller waits for it, or resumes it.
var ErrNoReport = errors.New("the run has no report.json yet")

func readEvidence(run string) (evidenceFiles, error) {
	var e evidenceFiles
	found, err := readJSON(run, reportFile, &e.report)
	if err != nil {
		return e, err
	}
	if !found {
		return e, fmt.Errorf("%s: %w, a gate judges a run that has ended; wait for it, or continue it with coordinator up --resume", run, ErrNoReport)
	}
	if e.hasCopies, err = readJSON(run, copyFile, &e.copies); err != nil {
		return e, err
	}
	e.hasUsage, err = readJSON(run, usageFile, &e.usage)
	return e, err
}

func readJSON(run, name string, into any) (bool, error) {
	path := filepath.Join(run, name)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read evidence: %w", err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return false, fmt.Errorf("read evidence: %s: %w; make the file again", path, err)
	}
	return true, nil
}

// figure is the KPI of that name, as far as there is evidence for it.
func (e evidenceFiles) figure(name string, f File) Figure {
	switch name {
	case WinRateLow:
		return e.winRate()
	case DiversityRatio:
		return e.diversity()
	case CopyRate:
		return e.copyRate()
	case AdoptionRate:
		return e.adoption()
	case EditsPerPicture:
		return e.edits()
	case Cost:
		return e.cost(f.PricePerWorkerHour)
	case Hours:
		return measured(e.report.Seconds/3600, "%s: seconds %.0f, from the start of the run to its report", reportFile, e.report.Seconds)
	}
	panic("unreachable: unknown KPI " + name)
}

func measured(v float64, from string, args ...any) Figure {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return missing("not a number: %s", fmt.Sprintf(from, args...))
	}
	return Figure{&v, fmt.Sprintf(from, args...)}
}

func missing(how string, args ...any) Figure { return Figure{From: fmt.Sprintf(how, args...)} }

func (e evidenceFiles) winRate() Figure {
	if e.report.WinRateLow == nil {
		return missing("%s has no win rate: run coordinator up --resume without --no-eval", reportFile)
	}
	return measured(*e.report.WinRateLow, "%s: lower bound of the 95 %% interval, %d comparisons, judge %s", reportFile, e.report.Comparisons, e.report.Judge)
}

func (e evidenceFiles) diversity() Figure {
	base, tuned, from := e.report.DiversityBase, e.report.DiversityTuned, reportFile
	if base == nil || tuned == nil {
		base, tuned, from = e.copies.DiversityBase, e.copies.DiversityTuned, copyFile
		if e.stale() {
			return e.staleCopies()
		}
	}
	if base == nil || tuned == nil {
		return missing("no diversity was measured: run coordinator copycheck RUN on a run with --eval-seeds 2 or more")
	}
	if *base <= 0 {
		return missing("%s: the base's diversity is %g, so there is no ratio: sample more prompts and seeds", from, *base)
	}
	return measured(*tuned / *base, "%s: diversity over seeds %.4g tuned, %.4g base", from, *tuned, *base)
}

// stale tells whether the copy check is of another checkpoint than the report's.
func (e evidenceFiles) stale() bool {
	return e.hasCopies && e.copies.CheckpointSHA256 != e.report.CheckpointSHA256
}

func (e evidenceFiles) staleCopies() Figure {
	return missing("%s is of checkpoint %.12s…, the run's is %.12s…: run coordinator copycheck RUN again", copyFile, e.copies.CheckpointSHA256, e.report.CheckpointSHA256)
}

func (e evidenceFiles) copyRate() Figure {
	if e.stale() {
		return e.staleCopies()
	}
	if e.copies.CopyRate == nil {
		return missing("no copy check was made: run coordinator copycheck RUN --registered DIR")
	}
	return measured(*e.copies.CopyRate, "%s: share of %d generated pictures", copyFile, e.copies.Pictures)
}

func (e evidenceFiles) adoption() Figure {
	u := e.usage
	if !e.hasUsage || u.Pictures <= 0 || u.Adopted < 0 || u.Adopted > u.Pictures {
		return missing(`nobody counted: write %s in the run folder: {"pictures": 200, "adopted": 140, "edits": 90, "source": "who counted, when"}`, usageFile)
	}
	return measured(float64(u.Adopted)/float64(u.Pictures), "%s: %d of %d pictures were used (%s)", usageFile, u.Adopted, u.Pictures, u.Source)
}

func (e evidenceFiles) edits() Figure {
	u := e.usage
	if !e.hasUsage || u.Adopted <= 0 || u.Edits < 0 {
		return missing(`nobody counted: write %s in the run folder, with "adopted" above 0 and "edits"`, usageFile)
	}
	return measured(float64(u.Edits)/float64(u.Adopted), "%s: %d edits on %d adopted pictures (%s)", usageFile, u.Edits, u.Adopted, u.Source)
}

// cost is an upper bound: as if the largest number of workers had been there all the time.
func (e evidenceFiles) cost(price float64) Figure {
	workers := 1
	for _, n := range e.report.WorldSizes {
		workers = max(workers, n)
	}
	return measured(e.report.Seconds/3600*float64(workers)*price, "%s: %.0f s × at most %d workers × %g an hour", reportFile, e.report.Seconds, workers, price)
}
