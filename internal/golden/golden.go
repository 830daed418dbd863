// Package golden runs tests against golden cases: folders of inputs and outputs that another
// implementation computed, with tolerances in their case.json.
//
// A test calls Run (a case is one subtest) or RunSubs (each named part of a case is one) from a
// function whose name starts with TestGolden:
//
//	func TestGoldenUNet(t *testing.T) {
//		golden.Run(t, "01_unet_sd", func(t *testing.T, c *golden.Case) {
//			c.Near(t, "sample", got, want)
//		})
//	}
//
// The environment picks the set, YOHAKU_GOLDEN=DIR (relative to the module's root; by default the
// subset in testdata/golden), and the cases, YOHAKU_GOLDEN_CASES=REGEXP on "case" or "case/sub". A
// selected case that no test names, and a selection of nothing, fails TestGoldenCasesAreKnown in
// this package, so that no case is passed over.
package golden

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"yohaku/internal/safetensors"
)

// Case is one golden case, or one named part of it.
type Case struct {
	Dir  string // The case's folder.
	Name string // "case" or "case/sub".
	Sub  string // The part, "" for the whole case.

	info caseFile
}

// caseFile is the part of case.json that every case has.
type caseFile struct {
	Args      json.RawMessage            `json:"args"`
	Tolerance map[string]json.RawMessage `json:"tolerance"`
}

// Run calls f in a subtest when the case is selected and in the set. Pass the name as a literal:
// TestGoldenCasesAreKnown looks for it in the source.
func Run(t *testing.T, name string, f func(t *testing.T, c *Case)) {
	t.Helper()
	run(t, name, []string{""}, f)
}

// RunSubs calls f in a subtest for each selected part of a case. Pass the name and the parts as
// literals: TestGoldenCasesAreKnown looks for them in the source.
func RunSubs(t *testing.T, name string, subs []string, f func(t *testing.T, c *Case)) {
	t.Helper()
	run(t, name, subs, f)
}

func run(t *testing.T, name string, subs []string, f func(t *testing.T, c *Case)) {
	t.Helper()
	set, err := openSet()
	if err != nil {
		t.Fatal(err)
	}
	selected := slices.DeleteFunc(slices.Clone(subs), func(sub string) bool { return !set.selects(name, sub) })
	if len(selected) == 0 {
		t.Logf("%s is not selected by YOHAKU_GOLDEN_CASES", name)
		return
	}
	c, err := set.open(name)
	if errors.Is(err, fs.ErrNotExist) && set.foreign {
		t.Skipf("%s is not in the set %s", name, set.dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range selected {
		part := *c
		part.Sub, part.Name = sub, join(name, sub)
		t.Run(part.Name, func(t *testing.T) { f(t, &part) })
	}
}

// set is a folder of cases with a selection.
type set struct {
	dir      string
	foreign  bool // Named by YOHAKU_GOLDEN: it may lack cases.
	selected *regexp.Regexp
}

// openSet reads the environment.
func openSet() (*set, error) {
	pattern, err := regexp.Compile(os.Getenv("YOHAKU_GOLDEN_CASES"))
	if err != nil {
		return nil, fmt.Errorf("compile YOHAKU_GOLDEN_CASES: %w", err)
	}
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	dir := os.Getenv("YOHAKU_GOLDEN")
	if dir == "" {
		return &set{dir: filepath.Join(root, "testdata", "golden"), selected: pattern}, nil
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(root, dir) // Go runs a test in its package's folder, not where the user is.
	}
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("open the set of YOHAKU_GOLDEN: %w", err)
	}
	return &set{dir: dir, foreign: true, selected: pattern}, nil
}

// selects says whether "name" or "name/sub" is wanted.
func (s *set) selects(name, sub string) bool { return s.selected.MatchString(join(name, sub)) }

// open reads the case.json of one case.
func (s *set) open(name string) (*Case, error) {
	c := &Case{Dir: filepath.Join(s.dir, name), Name: name}
	data, err := os.ReadFile(c.Path("case.json"))
	if err != nil {
		return nil, fmt.Errorf("open golden case: %w", err)
	}
	if err := json.Unmarshal(data, &c.info); err != nil {
		return nil, fmt.Errorf("parse %s: %w", c.Path("case.json"), err)
	}
	return c, nil
}

func join(name, sub string) string {
	if sub == "" {
		return name
	}
	return name + "/" + sub
}

// moduleRoot returns the nearest folder above the working directory that holds go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find the module: no go.mod above the working directory")
		}
		dir = parent
	}
}

// Sibling opens another case of the same set, whose inputs this one takes. It fails the test when it is not there.
func (c *Case) Sibling(t testing.TB, name string) *Case {
	t.Helper()
	s, err := (&set{dir: filepath.Dir(c.Dir)}).open(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Path returns a path in the case's folder.
func (c *Case) Path(elem ...string) string {
	return filepath.Join(append([]string{c.Dir}, elem...)...)
}

// Args decodes the "args" of case.json into v.
func (c *Case) Args(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(c.info.Args, v); err != nil {
		t.Fatalf("%s: decode args of case.json: %v", c.Name, err)
	}
}

// Inputs opens inputs.safetensors.
func (c *Case) Inputs(t testing.TB) *safetensors.File {
	t.Helper()
	return c.Tensors(t, "inputs.safetensors")
}

// Outputs opens outputs.safetensors.
func (c *Case) Outputs(t testing.TB) *safetensors.File {
	t.Helper()
	return c.Tensors(t, "outputs.safetensors")
}
