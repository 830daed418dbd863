package evidence

import (
	"fmt"
	"math"

	"yohaku/internal/statistics"
	"yohaku/internal/wire"
)

// Picture is one picture with what a score job says of it.
type Picture struct {
	Seed uint64
	File string // PNG.
	wire.PictureScore
}

// Gallery is one model's pictures, [prompts][seeds].
type Gallery struct {
	Name     string
	Pictures [][]Picture
}

// Evaluation compares models on the same prompts and seeds. It is what `coordinator eval` leaves as report.json. The win
// rate is the tuned model's against the base, a tie one half, with Wilson's interval for n = prompts; other intervals are
// BCa bootstraps over prompts. A figure that could not be computed is null, with the reason in Notes.
type Evaluation struct {
	WinRate     *float64 `json:"win_rate"`
	WinRateLow  *float64 `json:"win_rate_low"`
	WinRateHigh *float64 `json:"win_rate_high"`
	Comparisons int      `json:"comparisons"`
	Ties        int      `json:"ties"`

	DiversityBase    *float64 `json:"diversity_base"`
	DiversityTuned   *float64 `json:"diversity_tuned"`
	ConsistencyBase  *float64 `json:"consistency_base"`
	ConsistencyTuned *float64 `json:"consistency_tuned"`

	// Anytime holds the win rate's confidence sequence after the last prompt: bounds that one may look at after each.
	Anytime *statistics.Interval `json:"win_rate_anytime"`
	// SeedAgreement is the share of pairs of seeds, within a prompt, on which the same model wins.
	SeedAgreement *float64 `json:"seed_agreement"`

	Judge    string    `json:"judge"`
	Features string    `json:"features"` // What pictures are compared by.
	Prompts  []string  `json:"prompts"`
	Seeds    int       `json:"seeds"`
	Seed     uint64    `json:"seed"`
	Samples  int       `json:"samples"` // Pictures, each made once.
	Models   []Figures `json:"models"`  // Base first, tuned second.
	Seconds  float64   `json:"seconds"`
	Notes    []string  `json:"notes"`
}

// Figures are one model's.
type Figures struct {
	Name        string               `json:"name"`
	Score       statistics.Interval  `json:"score"`       // Mean of the judge's.
	Diversity   *statistics.Interval `json:"diversity"`   // Mean distance of features between seeds of a prompt.
	Consistency *statistics.Interval `json:"consistency"` // Mean cosine of prompt and picture.
	Strength    *statistics.Interval `json:"strength"`    // Bradley–Terry, log, the mean of all models is 0.
	Saturation  statistics.Interval  `json:"saturation"`
	Clipping    statistics.Interval  `json:"clipping"`
	// Distance of the mean L, a, b, their deviations, and 100 × saturation and clipping from the base's.
	Distance statistics.Interval `json:"distance_from_base"`
}

// strengthPrior keeps strengths finite where a model wins all comparisons.
const strengthPrior = 0.5

// Evaluate computes all figures from the galleries, the base's first, then the tuned model's, and perhaps more. All have
// the same prompts and seeds. seed keys the bootstrap.
func Evaluate(prompts []string, galleries []Gallery, seed uint64) Evaluation {
	e := Evaluation{Prompts: prompts, Seed: seed, Notes: []string{}}
	if len(galleries) < 2 || len(prompts) == 0 {
		e.Notes = append(e.Notes, "no win rate: nothing to compare")
		return e
	}
	base, tuned := galleries[0].scores(), galleries[1].scores()
	rate, comparisons, ties := statistics.WinRate(base, tuned)
	e.WinRate, e.WinRateLow, e.WinRateHigh, e.Comparisons, e.Ties = &rate.Value, &rate.Low, &rate.High, comparisons, ties
	e.Seeds = len(base[0])
	e.Anytime, e.SeedAgreement = anytime(base, tuned), agreement(base, tuned)
	strengths := strengths(galleries, seed)
	for m, g := range galleries {
		f := g.figures(galleries[0], seed)
		f.Strength = strengths[m]
		e.Models = append(e.Models, f)
		e.Samples += len(g.Pictures) * e.Seeds
	}
	e.DiversityBase, e.DiversityTuned = value(e.Models[0].Diversity), value(e.Models[1].Diversity)
	e.ConsistencyBase, e.ConsistencyTuned = value(e.Models[0].Consistency), value(e.Models[1].Consistency)
	if e.Seeds < 2 {
		e.Notes = append(e.Notes, "no diversity and no agreement of seeds: there is one seed a prompt; give --seeds 2 or more")
	}
	if e.ConsistencyBase == nil {
		e.Notes = append(e.Notes, "no consistency: it needs a model that knows prompts and pictures; give its folder by --encoder DIR, or --judge clip:DIR or pickscore:DIR")
	}
	return e
}

func value(i *statistics.Interval) *float64 {
	if i == nil {
		return nil
	}
	return &i.Value
}

func (g Gallery) scores() [][]float64 {
	out := make([][]float64, len(g.Pictures))
	for p, pictures := range g.Pictures {
		for _, m := range pictures {
			out[p] = append(out[p], m.Score)
		}
	}
	return out
}

// anytime is the confidence sequence over the prompts' mean wins, in their order.
func anytime(base, tuned [][]float64) *statistics.Interval {
	s := statistics.NewSequence()
	for p := range base {
		s.Add(meanWin(tuned[p], base[p]))
	}
	i := s.Interval()
	return &i
}

// meanWin is the mean of the wins of a over b, seed by seed.
func meanWin(a, b []float64) float64 {
	sum := 0.0
	for s := range a {
		sum += statistics.Win(a[s], b[s])
	}
	return sum / float64(len(a))
}

func agreement(base, tuned [][]float64) *float64 {
	same, pairs := 0.0, 0.0
	for p := range base {
		for s := range base[p] {
			for r := range s {
				pairs++
				if statistics.Win(tuned[p][s], base[p][s]) == statistics.Win(tuned[p][r], base[p][r]) {
					same++
				}
			}
		}
	}
	if pairs == 0 {
		return nil
	}
	share := same / pairs
	return &share
}

// strengths are Bradley–Terry's, one comparison of each two models a prompt, with bootstrap intervals over prompts.
func strengths(galleries []Gallery, seed uint64) []*statistics.Interval {
	scores := make([][][]float64, len(galleries))
	for m, g := range galleries {
		scores[m] = g.scores()
	}
	estimate := func(units []int, m int) float64 {
		wins := make([][]float64, len(galleries))
		for i := range wins {
			wins[i] = make([]float64, len(galleries))
			for j := range wins {
				if i == j {
					continue
				}
				for _, p := range units {
					wins[i][j] += meanWin(scores[i][p], scores[j][p])
				}
			}
		}
		s, err := statistics.BradleyTerry(wins, strengthPrior)
		if err != nil {
			return math.NaN() // The prior connects all models: it does not happen.
		}
		return s[m].Value
	}
	out := make([]*statistics.Interval, len(galleries))
	for m := range galleries {
		i := statistics.Bootstrap(seed, len(scores[0]), func(units []int) float64 { return estimate(units, m) })
		out[m] = &i
	}
	return out
}

// figures are those of one model.
func (g Gallery) figures(base Gallery, seed uint64) Figures {
	over := func(of func(Picture) float64) statistics.Interval {
		return statistics.BootstrapMean(seed, g.means(of))
	}
	f := Figures{
		Name: g.Name, Score: over(func(p Picture) float64 { return p.Score }),
		Saturation: over(func(p Picture) float64 { return p.Look.Saturation }), Clipping: over(func(p Picture) float64 { return p.Look.Clipping }),
		Distance: g.distance(base, seed),
	}
	if len(g.Pictures[0]) > 1 {
		spread := make([]float64, len(g.Pictures))
		for p, pictures := range g.Pictures {
			spread[p] = diversity(pictures)
		}
		i := statistics.BootstrapMean(seed, spread)
		f.Diversity = &i
	}
	if g.Pictures[0][0].Consistency != nil {
		i := over(func(p Picture) float64 { return *p.Consistency })
		f.Consistency = &i
	}
	return f
}

// means are the means over seeds, by prompt.
func (g Gallery) means(of func(Picture) float64) []float64 {
	out := make([]float64, len(g.Pictures))
	for p, pictures := range g.Pictures {
		for _, m := range pictures {
			out[p] += of(m) / float64(len(pictures))
		}
	}
	return out
}

// diversity is the mean distance of the features of two pictures.
func diversity(pictures []Picture) float64 {
	sum, pairs := 0.0, 0.0
	for i, a := range pictures {
		for _, b := range pictures[:i] {
			squares := 0.0
			for k, v := range a.Features {
				d := float64(v) - float64(b.Features[k])
				squares += d * d
			}
			sum += math.Sqrt(squares)
			pairs++
		}
	}
	return sum / pairs
}

// distance is how far the mean statistics of the pictures lie from the base's.
func (g Gallery) distance(base Gallery, seed uint64) statistics.Interval {
	var here, there [][]float64
	for k := range lookSize {
		of := func(p Picture) float64 { return lookValue(p.Look, k) }
		here, there = append(here, g.means(of)), append(there, base.means(of))
	}
	return statistics.Bootstrap(seed, len(g.Pictures), func(units []int) float64 {
		squares := 0.0
		for k := range here {
			d := 0.0
			for _, p := range units {
				d += (here[k][p] - there[k][p]) / float64(len(units))
			}
			squares += d * d
		}
		return math.Sqrt(squares)
	})
}

const lookSize = 8

// lookValue is the k-th statistic of a picture.
func lookValue(l wire.Look, k int) float64 {
	switch {
	case k < 3:
		return l.Mean[k]
	case k < 6:
		return l.Deviation[k-3]
	case k == 6:
		return 100 * l.Saturation
	}
	return 100 * l.Clipping
}

// Headline says the result in a sentence.
func (e Evaluation) Headline() string {
	if e.WinRate == nil {
		return "No win rate."
	}
	return fmt.Sprintf("%s wins %.1f %% of %d comparisons against %s (95 %% interval %.1f to %.1f %%).",
		e.Models[1].Name, 100**e.WinRate, e.Comparisons, e.Models[0].Name, 100**e.WinRateLow, 100**e.WinRateHigh)
}
