package brand

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"math"
	"math/rand/v2"

	"yohaku/dataset"
)

// The brand's colours, as words of Colours and Backgrounds. palette.Brand holds the same two.
const (
	brandColour     = "teal"
	brandBackground = "orange"
)

// DefaultPairs and DefaultFlipRatio are the demo's set: 240 pairs, one label in ten wrong on purpose.
const (
	DefaultPairs     = 240
	DefaultFlipRatio = 0.1
)

// Pairs returns n preference pairs. Each has a prompt of TrainPrompts, a winner that wears the brand's
// colours and a loser that is the same drawing in another colour on another background, both PNG.
// In round(n·flipRatio) of them, chosen by seed, the two have changed places: wrong labels, as people give
// them. Pair i depends on (seed, i) only, except for the choice of wrong labels. It panics when n is
// below 0 or flipRatio is outside [0, 1].
func Pairs(n int, seed uint64, flipRatio float64) dataset.Source {
	if n < 0 || !(flipRatio >= 0 && flipRatio <= 1) {
		panic(fmt.Sprintf("brand: Pairs(%d, %d, %g): n must not be negative, and flipRatio in [0, 1]", n, seed, flipRatio))
	}
	s := source{n: n, seed: seed, flipped: make(map[int]bool)}
	order := rand.New(rand.NewPCG(seed, math.MaxUint64)).Perm(n)
	for _, i := range order[:int(math.Round(float64(n)*flipRatio))] {
		s.flipped[i] = true
	}
	return s
}

type source struct {
	n       int
	seed    uint64
	flipped map[int]bool
}

func (s source) Name() string { return fmt.Sprintf("brand:%d", s.seed) }

// Each draws the pairs as they are asked for.
func (s source) Each(ctx context.Context, yield func(dataset.Record) error) error {
	for i := range s.n {
		if err := ctx.Err(); err != nil {
			return err
		}
		pair, err := s.pair(i)
		if err != nil {
			return fmt.Errorf("draw pair %d of %s: %w", i, s.Name(), err)
		}
		if err := yield(dataset.Record{Pair: pair}); err != nil {
			return err
		}
	}
	return nil
}

// pair deals the prompts in turn, in an order of the seed's, so that all are used equally often.
func (s source) pair(i int) (*dataset.Pair, error) {
	round := len(trainProducts)
	order := rand.New(rand.NewPCG(s.seed, uint64(i/round)<<32|1)).Perm(round)
	which := order[i%round]
	r := rand.New(rand.NewPCG(s.seed, uint64(i)<<1))
	winning := randomScene(r, trainProducts[which], brandColour, brandBackground)
	losing := winning
	losing.Colour = pickOther(r, Colours, brandColour)
	losing.Background = pickOther(r, Backgrounds, brandBackground)
	winner, err := encode(Draw(winning))
	if err != nil {
		return nil, err
	}
	loser, err := encode(Draw(losing))
	if err != nil {
		return nil, err
	}
	p := &dataset.Pair{File: s.Name(), Row: i, Prompt: trainPrompts[which], Winner: winner, Loser: loser}
	if s.flipped[i] {
		p.Swap()
	}
	p.LoserFirst = r.IntN(2) == 1
	return p, nil
}

func pickOther(r *rand.Rand, words []string, not string) string {
	for {
		if w := pick(r, words); w != not {
			return w
		}
	}
}

func encode(img image.Image) ([]byte, error) {
	var b bytes.Buffer
	err := png.Encode(&b, img)
	return b.Bytes(), err
}
