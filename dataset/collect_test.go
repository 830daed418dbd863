package dataset

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"strings"
	"testing"
	"yohaku/internal/picture"

	"github.com/google/go-cmp/cmp"
)

// rows is a source of the given records.
type rows []Record

func (r rows) Name() string { return "rows" }

func (r rows) Each(ctx context.Context, yield func(Record) error) error {
	for _, rec := range r {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := yield(rec); err != nil {
			return err
		}
	}
	return nil
}

// encode returns m as a PNG.
func encode(t testing.TB, m *picture.Image) []byte {
	t.Helper()
	rgba := image.NewNRGBA(image.Rect(0, 0, m.Width, m.Height))
	for i := range m.Width * m.Height {
		copy(rgba.Pix[4*i:], m.Pix[3*i:3*i+3])
		rgba.Pix[4*i+3] = 255
	}
	var b bytes.Buffer
	if err := png.Encode(&b, rgba); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// goodRows returns n rows with distinct pictures.
func goodRows(t testing.TB, n int) rows {
	t.Helper()
	var r rows
	for i := range n {
		w, l := encode(t, noise(uint64(2*i), 8, 8)), encode(t, noise(uint64(2*i+1), 8, 8))
		r = append(r, Record{Pair: &Pair{File: "f", Row: i, Prompt: fmt.Sprint("prompt ", i), Winner: w, Loser: l}})
	}
	return r
}

func TestCollectSetsBadRowsAside(t *testing.T) {
	r := goodRows(t, 20)
	r[3].Pair.Prompt = " \t"
	r[4].Pair.Loser = r[4].Pair.Loser[:60] // Truncated.
	r[5] = Record{Reject: &Reject{File: "f", Row: 5, Reason: "label_0 is NaN"}}
	r[6].Pair.Tie = true
	r[7].Pair.Winner = nil
	r[8].Pair.Prompt = "\xff"
	r[9].Pair.Winner = []byte("GIF89a……")
	set, err := Collect(t.Context(), r, Options{RemoveTies: true, MaxRejectedRatio: 0.3})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := [4]int{len(set.Pairs), len(set.Rejects), set.Ties, set.Read}, [4]int{13, 6, 1, 20}; got != want {
		t.Errorf("pairs, rejects, ties, rows = %v, want %v", got, want)
	}
	reasons := []string{"the caption is empty", "loser: decode PNG", "label_0 is NaN", "winner: the picture is empty", "caption is not UTF-8", "winner: the picture is a GIF file"}
	for i, want := range reasons {
		got := set.Rejects[i]
		if got.File != "f" || got.Row != []int{3, 4, 5, 7, 8, 9}[i] || !strings.Contains(got.Reason, want) {
			t.Errorf("reject %d = %+v, want row %d with %q", i, got, []int{3, 4, 5, 7, 8, 9}[i], want)
		}
	}
	line, err := json.Marshal(set.Rejects[2])
	if want := `{"file":"f","row":5,"reason":"label_0 is NaN"}`; err != nil || string(line) != want {
		t.Errorf("a line of rejected.jsonl is %s (%v), want %s", line, err, want)
	}
}

func TestCollectRatio(t *testing.T) {
	r := goodRows(t, 10)
	r[0].Pair.Prompt = ""
	r[1] = Record{Reject: &Reject{File: "f", Row: 1, Reason: "x"}}
	for _, tt := range []struct {
		max  float64
		fail bool
	}{{0.2, false}, {0.19, true}, {0, true}, {1, false}} {
		set, err := Collect(t.Context(), r, Options{MaxRejectedRatio: tt.max})
		var ratio *RejectedRatioError
		if errors.As(err, &ratio) != tt.fail {
			t.Errorf("max_rejected_ratio %v: error %v, want one: %v", tt.max, err, tt.fail)
		}
		if len(set.Rejects) != 2 {
			t.Errorf("max_rejected_ratio %v: %d rejects with the error, want 2", tt.max, len(set.Rejects))
		}
	}
	_, err := Collect(t.Context(), r, Options{MaxRejectedRatio: 0.1})
	if want := "rows: 2 of 10 rows (20.0 %) are bad, more than max_rejected_ratio 0.1 allows"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want one with %q", err, want)
	}
}

func TestCollectNoPairs(t *testing.T) {
	ties := goodRows(t, 3)
	for i := range ties {
		ties[i].Pair.Tie = true
	}
	bad := rows{{Reject: &Reject{}}}
	for name, tt := range map[string]struct {
		src  rows
		want string
	}{
		"no rows": {nil, "rows has no rows"},
		"ties":    {ties, "all 3 rows of rows are ties: no pairs to train on; set remove_ties to false"},
		"bad":     {bad, "none of the 1 rows of rows is a usable pair (1 bad, 0 ties)"},
	} {
		set, err := Collect(t.Context(), tt.src, Options{RemoveTies: true, MaxRejectedRatio: 1})
		if !errors.Is(err, ErrNoPairs) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want ErrNoPairs with %q", name, err, tt.want)
		}
		if set.Read != len(tt.src) {
			t.Errorf("%s: %d rows read, want %d", name, set.Read, len(tt.src))
		}
	}
}

func TestCollectKeepsTies(t *testing.T) {
	r := goodRows(t, 2)
	r[1].Pair.Tie = true
	set, err := Collect(t.Context(), r, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Pairs) != 2 || set.Ties != 0 || !bytes.Equal(set.Pairs[1].Winner, r[1].Pair.Winner) {
		t.Errorf("a kept tie: %d pairs, %d ties, want 2 and 0 with image 0 as the winner", len(set.Pairs), set.Ties)
	}
}

func TestLabelNoise(t *testing.T) {
	r := goodRows(t, 60)
	options := Options{LabelNoiseProb: 0.5, Seed: 4}
	a, err := Collect(t.Context(), r, options)
	if err != nil {
		t.Fatal(err)
	}
	swapped := 0
	for i, p := range a.Pairs {
		switch {
		case bytes.Equal(p.Winner, r[i].Pair.Loser) && bytes.Equal(p.Loser, r[i].Pair.Winner) && p.LoserFirst:
			swapped++
		case bytes.Equal(p.Winner, r[i].Pair.Winner) && !p.LoserFirst:
		default:
			t.Fatalf("seed 4: pair %d is neither kept nor swapped", i)
		}
	}
	if swapped != a.Swapped || swapped < 15 || swapped > 45 {
		t.Errorf("seed 4: %d of 60 swapped, %d counted, want about 30", swapped, a.Swapped)
	}
	b, _ := Collect(t.Context(), r, options)
	if a.Digest != b.Digest {
		t.Errorf("seed 4: two readings have digests %s and %s", a.Digest, b.Digest)
	}
	// A bad row must not move the draws of the others.
	r[0].Pair.Prompt = ""
	options.MaxRejectedRatio = 1
	c, _ := Collect(t.Context(), r, options)
	if diff := cmp.Diff(ids(c.Pairs), ids(a.Pairs[1:])); diff != "" {
		t.Errorf("seed 4: a bad row changed the other pairs (-got +want):\n%s", diff)
	}
	for _, p := range []float64{0, 1} {
		s, _ := Collect(t.Context(), goodRows(t, 5), Options{LabelNoiseProb: p})
		if want := int(5 * p); s.Swapped != want {
			t.Errorf("label_noise_prob %v swapped %d of 5", p, s.Swapped)
		}
	}
}

func ids(pairs []Pair) []string {
	var all []string
	for _, p := range pairs {
		all = append(all, p.ID)
	}
	return all
}

// TestDigest: the digest sees content and order, and not where a pair comes from.
func TestDigest(t *testing.T) {
	base := goodRows(t, 3)
	digest := func(r rows) string {
		s, err := Collect(t.Context(), r, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s.Digest
	}
	want := digest(base)
	same := goodRows(t, 3)
	same[1].Pair.File, same[1].Pair.Row = "elsewhere", 99
	if got := digest(same); got != want {
		t.Errorf("another file name gives digest %s, want %s", got, want)
	}
	for name, change := range map[string]func(rows){
		"order":       func(r rows) { r[0], r[1] = r[1], r[0] },
		"prompt":      func(r rows) { r[0].Pair.Prompt += "!" },
		"winner":      func(r rows) { r[0].Pair.Winner = r[1].Pair.Winner },
		"swap":        func(r rows) { r[0].Pair.Swap() },
		"loser first": func(r rows) { r[0].Pair.LoserFirst = true },
	} {
		r := goodRows(t, 3)
		change(r)
		if digest(r) == want {
			t.Errorf("changing the %s leaves the digest", name)
		}
	}
}

func TestCollectLimits(t *testing.T) {
	r := goodRows(t, 70)
	s, err := Collect(t.Context(), r, Options{MaxTrainSamples: 40})
	if err != nil || len(s.Pairs) != 40 || s.Read != 40 {
		t.Errorf("max_train_samples 40: %d pairs of %d rows, error %v", len(s.Pairs), s.Read, err)
	}
	if _, err := Collect(t.Context(), r, Options{MaxBytes: 1000}); err == nil || !strings.Contains(err.Error(), "max_train_samples") {
		t.Errorf("1000 bytes: error %v, want one that names max_train_samples", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Collect(ctx, r, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error %v, want %v", err, context.Canceled)
	}
}

func TestOptionsRefuse(t *testing.T) {
	for want, o := range map[string]Options{
		"label_noise_prob must be from 0 to 1, got 1.5":   {LabelNoiseProb: 1.5},
		"max_rejected_ratio must be from 0 to 1, got -1":  {MaxRejectedRatio: -1},
		"max_train_samples must not be negative, got -3":  {MaxTrainSamples: -3},
		"label_noise_prob must be from 0 to 1, got NaN":   {LabelNoiseProb: nan()},
		"max_rejected_ratio must be from 0 to 1, got NaN": {MaxRejectedRatio: nan()},
	} {
		if _, err := Collect(t.Context(), rows{}, o); err == nil || err.Error() != want {
			t.Errorf("Collect with %+v: error %v, want %q", o, err, want)
		}
	}
}

func nan() float64 { zero := 0.0; return zero / zero }

func TestInspect(t *testing.T) {
	r := goodRows(t, 5)
	r[1] = Record{Reject: &Reject{File: "f", Row: 1, Reason: "label_0 is NaN"}}
	r[2].Pair.Tie = true
	again, reversed, equal := *r[0].Pair, *r[0].Pair, *r[3].Pair
	reversed.Swap()
	equal.Loser = equal.Winner
	wide := *r[4].Pair
	wide.Winner = encode(t, noise(99, 20, 10))
	r = append(r, Record{Pair: &again}, Record{Pair: &reversed}, Record{Pair: &equal}, Record{Pair: &wide})
	s, err := Inspect(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	got := []int{s.Rows, s.Pairs, s.Ties, len(s.Reject), s.Pictures, s.Mixed, s.DuplicatePairs, s.Contradictions, s.SamePictures, s.DistinctPrompts}
	want := []int{9, 7, 1, 1, 16, 1, 1, 1, 1, 4}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("summary (-got +want):\n%s\n%s", diff, s)
	}
	for _, want := range []string{"bad rows           1 (11.1 %)", "1 × label_0 is NaN", "f row 1: label_0 is NaN",
		"PNG (16)", "8×8 (15), 20×10 (1)", "4 distinct; 8 to 8 characters", "8–15     16 ####"} {
		if !strings.Contains(s.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, s)
		}
	}
}
