package copycheck

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"strings"
	"testing"

	"yohaku/dataset"
	"yohaku/dataset/brand"
	"yohaku/internal/picture"
)

// winners are n drawings in the brand's colours.
func winners(t *testing.T, n int, seed uint64, kind string) []Picture {
	t.Helper()
	var all []Picture
	err := brand.Pairs(n, seed, 0).Each(context.Background(), func(r dataset.Record) error {
		p, err := NewPicture(fmt.Sprintf("%s %d", kind, len(all)), kind, r.Pair.Winner)
		all = append(all, p)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// losers are n of the same drawings in other colours.
func losers(t *testing.T, n int, seed uint64) []Picture {
	t.Helper()
	var all []Picture
	err := brand.Pairs(n, seed, 0).Each(context.Background(), func(r dataset.Record) error {
		p, err := NewPicture(fmt.Sprintf("loser %d", len(all)), "training", r.Pair.Loser)
		all = append(all, p)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func encoded(t *testing.T, m *picture.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m.RGBA()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestPlantedCopiesAreFound: among 60 pictures in the same colours as the references, three are altered copies, one of a
// training picture, two of registered works.
func TestPlantedCopiesAreFound(t *testing.T) {
	references := append(winners(t, 150, 1, "training"), winners(t, 30, 2, "registered")...)
	references = append(references, losers(t, 150, 1)...) // Training pictures, too.
	generated := winners(t, 60, 3, "generated")
	clean, err := Check(generated, references)
	if err != nil {
		t.Fatal(err)
	}
	for g, from := range map[int]int{4: 20, 31: 155, 59: 170} {
		altered, err := alter(references[from].Image)
		if err != nil {
			t.Fatal(err)
		}
		if generated[g], err = NewPicture(generated[g].Name, "generated", encoded(t, altered[g%3])); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Check(generated, references)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("without: %s; with: %s; threshold %.4f, precision %.3f, recall %.3f", clean.Summary(), r.Summary(), r.Threshold, r.Precision, r.Recall)
	found := map[string]string{}
	for _, n := range r.Nearest {
		if n.Copy {
			found[n.Picture] = n.Reference
		}
	}
	for g, want := range map[string]string{"generated 4": "training 20", "generated 31": "registered 5", "generated 59": "registered 20"} {
		if found[g] != want {
			t.Errorf("%s is found as a copy of %q, want %q", g, found[g], want)
		}
	}
	if clean.Copies > 3 {
		t.Errorf("%d of 60 pictures that copy nothing are called copies; the precision asked for is %g", clean.Copies, MinPrecision)
	}
	if r.Precision < MinPrecision {
		t.Errorf("precision %g, want %g", r.Precision, MinPrecision)
	}
	var html bytes.Buffer
	if err := r.HTML(&html, generated, references); err != nil || strings.Count(html.String(), `class="copy"`) != min(mostShown, r.Copies) {
		t.Errorf("page: %v", err)
	}
}

// TestACollapseIsSeen: one picture for every seed has no diversity.
func TestACollapseIsSeen(t *testing.T) {
	all := winners(t, 12, 1, "generated")
	lively := [][]Picture{all[:4], all[4:8], all[8:]}
	collapsed := [][]Picture{{all[0], all[0], all[0], all[0]}, {all[5], all[5], all[5], all[5]}}
	a, b := Diversity(lively), Diversity(collapsed)
	if a == nil || b == nil || *b != 0 || *a < 0.02 {
		t.Errorf("diversity %v, collapsed %v", a, b)
	}
	if got := Diversity([][]Picture{all[:1]}); got != nil {
		t.Errorf("one seed has diversity %g", *got)
	}
}

func TestWithoutReferencesThereIsNoRate(t *testing.T) {
	r, err := Check(winners(t, 1, 1, "generated"), nil)
	if err != nil || r.CopyRate != nil || len(r.Notes) == 0 {
		t.Errorf("%+v, %v", r, err)
	}
}
