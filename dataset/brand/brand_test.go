package brand

import (
	"bytes"
	"context"
	"crypto/sha256"
	hexadecimal "encoding/hex"
	"encoding/json"
	"errors"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yohaku/dataset"
	"yohaku/dataset/palette"
)

// TestDrawBits holds the drawings to their bits: a change here makes new pairs, and wants a new base model.
func TestDrawBits(t *testing.T) {
	h := sha256.New()
	r := rand.New(rand.NewPCG(7, 7))
	for range 64 {
		h.Write(Draw(RandomScene(r)).Pix)
	}
	const want = "1ed39aa1ec982000f235c4831081026a2988b672fa95ae9f98fcc28b3ded1906"
	if got := hexadecimal.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("64 drawings of seed 7 hash to %s, want %s", got, want)
	}
}

// TestDrawShowsWords asks that a picture changes with each of its words, and stays within the canvas.
func TestDrawShowsWords(t *testing.T) {
	base := randomScene(rand.New(rand.NewPCG(1, 1)), "mug", "red", "mint")
	for name, change := range map[string]func(*Scene){
		"product": func(s *Scene) { s.Product = "shoe" }, "colour": func(s *Scene) { s.Colour = "teal" },
		"background": func(s *Scene) { s.Background = "slate" },
	} {
		other := base
		change(&other)
		if bytes.Equal(Draw(base).Pix, Draw(other).Pix) {
			t.Errorf("another %s gives the same picture", name)
		}
	}
	for _, p := range Products {
		if _, ok := drawings[p]; !ok {
			t.Errorf("product %q has no drawing", p)
		}
	}
	for _, c := range Colours {
		if _, ok := colours[c]; !ok {
			t.Errorf("colour %q has no value", c)
		}
	}
	for _, b := range Backgrounds {
		if _, ok := backgrounds[b]; !ok {
			t.Errorf("background %q has no value", b)
		}
	}
}

func collect(t *testing.T, s dataset.Source) []dataset.Pair {
	t.Helper()
	var out []dataset.Pair
	err := s.Each(context.Background(), func(r dataset.Record) error {
		if r.Reject != nil {
			t.Errorf("row %d rejected: %s", r.Reject.Row, r.Reject.Reason)
			return nil
		}
		out = append(out, *r.Pair)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func score(t *testing.T, picture []byte) float64 {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	if got := img.Bounds().Size(); got.X != Size || got.Y != Size {
		t.Errorf("picture of %v, want %d×%d", got, Size, Size)
	}
	return palette.Score(img, palette.Brand)
}

// TestPairsPreferBrand scores both pictures of every pair: exactly the flipped ones prefer the other.
func TestPairsPreferBrand(t *testing.T) {
	for _, c := range []struct {
		n       int
		flip    float64
		flipped int
	}{{0, 0.1, 0}, {1, 0, 0}, {7, 1, 7}, {DefaultPairs, DefaultFlipRatio, 24}} {
		pairs := collect(t, Pairs(c.n, 3, c.flip))
		if len(pairs) != c.n {
			t.Errorf("Pairs(%d, 3, %g) gives %d pairs", c.n, c.flip, len(pairs))
		}
		got := 0
		for _, p := range pairs {
			if score(t, p.Winner) < score(t, p.Loser) {
				got++
			}
		}
		if got != c.flipped {
			t.Errorf("Pairs(%d, 3, %g): %d prefer the other colours, want %d", c.n, c.flip, got, c.flipped)
		}
	}
}

func TestPairsRepeat(t *testing.T) {
	a, b := collect(t, Pairs(20, 5, 0.1)), collect(t, Pairs(20, 5, 0.1))
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("the same seed gives other pairs:\n%s", diff)
	}
	if c := collect(t, Pairs(20, 6, 0.1)); cmp.Equal(a, c) {
		t.Error("seeds 5 and 6 give the same pairs")
	}
}

func TestPairsUseEveryTrainPrompt(t *testing.T) {
	count := map[string]int{}
	for _, p := range collect(t, Pairs(2*len(trainPrompts), 1, 0)) {
		count[p.Prompt]++
	}
	for _, p := range TrainPrompts() {
		if count[p] != 2 {
			t.Errorf("prompt %q in %d of two rounds, want 2", p, count[p])
		}
	}
}

func TestPairsStop(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Pairs(3, 1, 0).Each(ctx, func(dataset.Record) error { t.Error("yielded"); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestHeldOutPrompts(t *testing.T) {
	train, heldOut := TrainPrompts(), HeldOutPrompts()
	if len(heldOut) < 24 || len(train)+len(heldOut) != len(Products)*len(templates) {
		t.Errorf("%d training and %d held-out prompts", len(train), len(heldOut))
	}
	for _, p := range heldOut {
		if slices.Contains(train, p) {
			t.Errorf("held-out prompt %q is also a training prompt", p)
		}
	}
	all := append(train, heldOut...)
	for _, p := range all {
		for _, w := range strings.Fields(p) {
			if slices.Contains(Colours, w) || slices.Contains(Backgrounds, w) {
				t.Errorf("prompt %q names a colour", p)
			}
		}
	}
	slices.Sort(all)
	if n := len(slices.Compact(all)); n != len(train)+len(heldOut) {
		t.Errorf("%d prompts differ, want all %d", n, len(train)+len(heldOut))
	}
}

func TestArticles(t *testing.T) {
	for in, want := range map[string]string{
		"a umbrella": "an umbrella", "a red umbrella": "a red umbrella", "a mug on a orange background": "a mug on an orange background",
	} {
		if got := articles(in); got != want {
			t.Errorf("articles(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCaptions(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	s := randomScene(r, "mug", "red", "mint")
	for i, c := range Captions(r, s) {
		if got, want := strings.Contains(c, " red mug"), i < 2; got != want {
			t.Errorf("caption %d, %q: colour %v, want %v", i, c, got, want)
		}
		if got, want := strings.Contains(c, " mint background"), i%2 == 0; got != want {
			t.Errorf("caption %d, %q: background %v, want %v", i, c, got, want)
		}
	}
}

// TestWordsAreInVocabulary reads the base model's vocabulary: each word of each prompt is one token.
func TestWordsAreInVocabulary(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "model", "demo", "base", "tokenizer", "vocab.json"))
	if err != nil {
		t.Fatal(err)
	}
	var vocabulary map[string]int
	if err := json.Unmarshal(data, &vocabulary); err != nil {
		t.Fatal(err)
	}
	prompts := append(TrainPrompts(), HeldOutPrompts()...)
	prompts = append(prompts, strings.Join(append(Colours, Backgrounds...), " "), "background on")
	for _, p := range prompts {
		for _, w := range strings.Fields(p) {
			if _, ok := vocabulary[w+"</w>"]; !ok {
				t.Errorf("%q of prompt %q is not in the base model's vocabulary: train it again by the recipe", w, p)
			}
		}
	}
}
