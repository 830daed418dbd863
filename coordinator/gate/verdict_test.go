package gate

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const stages = `
price_per_worker_hour: 2
stages:
  - name: poc
    kpis: [{name: win_rate_low, at_least: 0.5}, {name: hours, at_most: 1}]
  - name: pilot
    kpis: [{name: diversity_ratio, at_least: 0.8}, {name: copy_rate, at_most: 0}]
  - name: release
    kpis: [{name: adoption_rate, at_least: 0.6}, {name: edits_per_picture, at_most: 1}, {name: cost, at_most: 5}]
`

const (
	goodReport = `{"checkpoint_sha256":"abc","win_rate_low":0.6,"comparisons":48,"judge":"palette","seconds":1800,"world_sizes":[2,3]}`
	goodCopies = `{"checkpoint_sha256":"abc","copy_rate":0,"pictures":48,"diversity_base":0.5,"diversity_tuned":0.45}`
	goodUsage  = `{"pictures":100,"adopted":70,"edits":35,"source":"studio, week 3"}`
)

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestJudge(t *testing.T) {
	all := map[string]string{reportFile: goodReport, copyFile: goodCopies, usageFile: goodUsage, "gates.yaml": stages}
	for _, test := range []struct {
		name, stage, file, text string
		failed                  int
		want                    string
	}{
		{name: "first stage by default", failed: 0, want: "stage poc: passed, all 2 figures"},
		{name: "all", stage: "release", failed: 0, want: "3 workers × 2 an hour"},
		{name: "a bound that is not held", file: reportFile, text: strings.Replace(goodReport, "0.6", "0.49", 1), failed: 1, want: "FAIL  poc      win_rate_low       0.49"},
		{name: "a stage asks for those before", stage: "pilot", file: reportFile, text: strings.Replace(goodReport, "0.6", "0.49", 1), failed: 1, want: "1 of 4"},
		{name: "no evaluation", file: reportFile, text: `{"checkpoint_sha256":"abc","win_rate_low":null,"seconds":1}`, failed: 1, want: "without --no-eval"},
		{name: "no copy check", stage: "pilot", file: copyFile, text: `{"checkpoint_sha256":"abc"}`, failed: 2, want: "run coordinator copycheck RUN"},
		{name: "a copy check of another checkpoint", stage: "pilot", file: copyFile, text: strings.Replace(goodCopies, "abc", "abd", 1), failed: 2, want: "is of checkpoint abd"},
		{name: "collapsed", stage: "pilot", file: copyFile, text: strings.Replace(goodCopies, "0.45", "0", 1), failed: 1, want: "FAIL  pilot    diversity_ratio    0 "},
		{name: "nobody counted", stage: "release", file: usageFile, text: `{}`, failed: 2, want: "write usage.json"},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := map[string]string{}
			for k, v := range all {
				files[k] = v
			}
			if test.file != "" {
				files[test.file] = test.text
			}
			dir := folder(t, files)
			f, err := Read(filepath.Join(dir, "gates.yaml"), test.stage)
			if err != nil {
				t.Fatal(err)
			}
			v, err := Judge(dir, f)
			if err != nil {
				t.Fatal(err)
			}
			if got := v.Failed(); got != test.failed || v.Pass != (test.failed == 0) || !strings.Contains(v.String(), test.want) {
				t.Errorf("%d failed, want %d and %q in\n%s", got, test.failed, test.want, v)
			}
		})
	}
}

func TestARunThatHasNotEndedIsNotJudged(t *testing.T) {
	dir := folder(t, map[string]string{"gates.yaml": stages})
	f, err := Read(filepath.Join(dir, "gates.yaml"), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Judge(dir, f); !errors.Is(err, ErrNoReport) {
		t.Errorf("got %v, want ErrNoReport", err)
	}
}

func TestGatesAreReadStrictly(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"stages: []", "stages is empty"},
		{"stage: x\nstags: []", `line 2: unknown field "stags"`},
		{"stages: [{name: poc}]", `stage "poc" has no kpis`},
		{"stages: [{name: poc, kpis: [{name: beauty, at_least: 1}]}]", `kpi "beauty" is not known; use one of win_rate_low`},
		{"stages: [{name: poc, kpis: [{name: hours}]}]", "kpi hours must have one of at_least and at_most"},
		{"stages: [{name: poc, kpis: [{name: hours, at_least: 1, at_most: 2}]}]", "give exactly one"},
		{"stages: [{name: poc, kpis: [{name: hours, at_most: .nan}]}]", "finite number"},
		{"stages: [{name: poc, kpis: [{name: cost, at_most: 2}]}]", "price_per_worker_hour above 0"},
		{"stage: pilot\nstages: [{name: poc, kpis: [{name: hours, at_most: 2}]}]", `stage "pilot" is not one of poc`},
	} {
		dir := folder(t, map[string]string{"gates.yaml": test.text})
		if _, err := Read(filepath.Join(dir, "gates.yaml"), ""); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q gives %v, want %q in it", test.text, err, test.want)
		}
	}
}
