package golden

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestGoldenCasesAreKnown fails for every selected case, or part of one, that no test names.
func TestGoldenCasesAreKnown(t *testing.T) {
	s, err := openSet()
	if err != nil {
		t.Fatal(err)
	}
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	k, err := knownCases(root)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	cases, selected := 0, 0
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(s.dir, e.Name(), "case.json")); err != nil {
			continue
		}
		cases++
		subs, err := parts(filepath.Join(s.dir, e.Name()))
		if err != nil {
			t.Error(err)
		}
		for _, sub := range subs {
			if !s.selects(e.Name(), sub) {
				continue
			}
			selected++
			if !k.has(e.Name(), sub) {
				t.Errorf("golden case %s is selected, but no test names it", join(e.Name(), sub))
			}
		}
	}
	switch {
	case cases == 0:
		t.Errorf("%s holds no golden case (a folder with case.json)", s.dir)
	case selected == 0:
		t.Errorf("YOHAKU_GOLDEN_CASES=%s selects none of the %d cases in %s", s.selected, cases, s.dir)
	}
}

func TestKnownCasesAreFoundInSource(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "a", "x_test.go"), `package a
func TestGolden(t *testing.T) {
	golden.Run(t, "01_whole", func(t *testing.T, c *golden.Case) {})
	golden.RunSubs(t, "02_parts", []string{"a", "b"}, nil)
	other.Run(t, "03_other", nil)
}`)
	write(t, filepath.Join(root, "a", "x.go"), `package a
func f() { golden.Run(t, "04_no_test", nil) }`)
	write(t, filepath.Join(root, "testdata", "y_test.go"), `not Go`)
	got, err := knownCases(root)
	if err != nil {
		t.Fatal(err)
	}
	want := known{"01_whole": {""}, "02_parts": {"a", "b"}}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("known cases (-got +want):\n%s", diff)
	}
	for name, want := range map[[2]string]bool{{"01_whole", "x"}: true, {"02_parts", "a"}: true, {"02_parts", "c"}: false, {"05", ""}: false} {
		if got := got.has(name[0], name[1]); got != want {
			t.Errorf("has(%q, %q) = %v, want %v", name[0], name[1], got, want)
		}
	}
}

func TestParts(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"06_schedulers":         {"DDIM", "DDPM", "DPMSolverMultistep", "EulerAncestralDiscrete", "EulerDiscrete", "PNDM"},
		"07a_train_sd":          {"dpo_epsilon", "mapo_epsilon", "mapo_v_prediction", "sft_epsilon"},
		"10_pair_preprocessing": {""},
	} {
		got, err := parts(filepath.Join(root, "testdata", "golden", name))
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("parts of %s (-got +want):\n%s", name, diff)
		}
	}
}

func TestMaxDifference(t *testing.T) {
	nan := float32(math.NaN())
	for _, tt := range []struct {
		got, want []float32
		worst     float64
		at        int
	}{
		{nil, nil, 0, -1},
		{[]float32{1, 2, 3}, []float32{1, 2.5, 3.25}, 0.5, 1},
		{[]float32{nan}, []float32{nan}, 0, 0},
		{[]float32{0, nan}, []float32{1, 0}, math.NaN(), 1},
	} {
		worst, at := MaxDifference(t, tt.got, tt.want)
		if at != tt.at || worst != tt.worst && !(math.IsNaN(worst) && math.IsNaN(tt.worst)) {
			t.Errorf("MaxDifference(%v, %v) = %v at %d, want %v at %d", tt.got, tt.want, worst, at, tt.worst, tt.at)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
