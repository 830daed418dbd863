package audit

import (
	"bytes"
	"context"
	"image"
	"image/jpeg"
	"image/png"
	"math"
	"strings"
	"testing"

	"yohaku/dataset"
	"yohaku/dataset/brand"
	"yohaku/dataset/palette"
	"yohaku/dataset/similarity"
)

func brandPairs(t *testing.T, n int, seed uint64, flips float64) []dataset.Pair {
	t.Helper()
	set, err := dataset.Collect(context.Background(), brand.Pairs(n, seed, flips), dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return set.Pairs
}

func run(t *testing.T, pairs []dataset.Pair, o Options) Result {
	t.Helper()
	o.Threshold = similarity.Default
	r, err := Run(context.Background(), "test", pairs, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestALeakIsFound: three held-out pictures are in the training data, compressed again.
func TestALeakIsFound(t *testing.T) {
	pairs, held := brandPairs(t, 60, 1, 0), brandPairs(t, 30, 2, 0)
	before := run(t, pairs, Options{HeldOut: held})
	planted := map[int]bool{5: true, 17: true, 42: true}
	for i := range planted {
		pairs[i].Winner = recompressed(t, held[i%30].Winner)
	}
	after := run(t, pairs, Options{HeldOut: held})
	found := map[int]bool{}
	for _, d := range after.Report.Leaks {
		found[d.Second.at] = true
	}
	for i := range planted {
		if !found[i] {
			t.Errorf("the leak in row %d is not found", i)
		}
	}
	t.Logf("leaks: %d without the planted ones, %d with them", len(before.Report.Leaks), len(after.Report.Leaks))
	if len(before.Report.Leaks) > 2 {
		t.Errorf("%d leaks between two sets that share nothing", len(before.Report.Leaks))
	}
	for _, d := range after.Kept {
		if planted[d.at] {
			t.Errorf("row %d leaks and is in the cleaned list", d.at)
		}
	}
}

func recompressed(t *testing.T, data []byte) []byte {
	t.Helper()
	m, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 70}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestWhoJudgesBadlyIsSeen: of three who judge the same 40 pairs one errs in half of them.
func TestWhoJudgesBadlyIsSeen(t *testing.T) {
	var pairs []dataset.Pair
	for i, p := range brandPairs(t, 40, 1, 0) {
		for _, who := range []string{"ada", "ben", "careless"} {
			q := p
			q.Annotator = who
			if who == "careless" && i%2 == 0 {
				q.Swap()
			}
			pairs = append(pairs, q)
		}
	}
	r := run(t, pairs, Options{Judge: func(m image.Image) float64 { return palette.Score(m, palette.Brand) }, JudgeName: "palette"}).Report
	if r.SharedUnits != 40 || r.Contradicted != 20 || len(r.Annotators) != 3 {
		t.Fatalf("%d units, %d contradicted, %d annotators", r.SharedUnits, r.Contradicted, len(r.Annotators))
	}
	for i, want := range []float64{1, 1, 0.5} { // Where careless errs the two others disagree with nobody else's majority.
		if got := r.Annotators[i].Agrees; got == nil || got.Value != want {
			t.Errorf("%s agrees with %+v, want %g", r.Annotators[i].Name, got, want)
		}
	}
	if got := r.JudgeAgrees.Value; math.Abs(got-100.0/120) > 0.02 {
		t.Errorf("the judge agrees with %g of the labels, want %g", got, 100.0/120)
	}
	if r.Alpha == nil || *r.Alpha > 0.9 || *r.Alpha < 0.1 {
		t.Errorf("alpha %v, want well below 1", r.Alpha)
	}
}

// TestFlippedLabelsRank: suspects come by their margin, and leave the cleaned list only when asked.
func TestFlippedLabelsRank(t *testing.T) {
	pairs := brandPairs(t, 6, 1, 0)
	pairs[1].Tie = true
	margins := []float64{0.1, -0.2, 0.3, -0.5, 0.2} // Of rows 0, 2, 3, 4, 5.
	o := Options{Margins: margins, MarginsOf: "a run"}
	r := run(t, pairs, o)
	if s := r.Report.Suspects; len(s) != 2 || s[0].at != 4 || s[1].at != 2 || len(r.Removed) != 0 {
		t.Errorf("suspects %+v, %d removed", s, len(r.Removed))
	}
	o.DropSuspects = true
	if r = run(t, pairs, o); len(r.Removed) != 2 || !strings.Contains(r.Removed[1].Reason, "-0.5") {
		t.Errorf("removed %+v", r.Removed)
	}
	if _, err := Run(context.Background(), "", pairs, Options{Margins: margins[1:]}); err == nil {
		t.Error("4 margins for 5 preferences pass")
	}
}
