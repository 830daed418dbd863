package audit

import (
	"cmp"
	"context"
	"fmt"
	"image"
	"slices"

	"yohaku/dataset"
	"yohaku/dataset/similarity"
	"yohaku/internal/picture"
)

// Options says what the data is held against.
type Options struct {
	HeldOut      []dataset.Pair
	Judge        func(image.Image) float64 // Higher is better; nil is none.
	JudgeName    string
	Margins      []float64 // Of the pairs that are not ties, in order; nil is none. See worker.Margins.
	MarginsOf    string    // Which model's.
	DropSuspects bool      // Leave rows of negative margin out of the cleaned list.
	Threshold    similarity.Threshold
}

// Result is the report with the rows to keep and to remove.
type Result struct {
	Report  Report
	Kept    []Decision
	Removed []Decision
}

// Run audits the pairs of a source, ties among them. It returns an error when a picture cannot be decoded, or the
// number of margins is not that of the preferences.
func Run(ctx context.Context, source string, pairs []dataset.Pair, o Options) (Result, error) {
	r := Report{Source: source, Judge: o.JudgeName, MarginsOf: o.MarginsOf, Annotators: []Annotator{}, Suspects: []Suspect{}, Duplicates: []Duplicate{}, Leaks: []Duplicate{}, Notes: []string{}}
	for _, p := range pairs {
		if p.Tie {
			r.Ties++
		} else {
			r.Pairs++
		}
	}
	if o.Margins != nil && len(o.Margins) != r.Pairs {
		return Result{}, fmt.Errorf("audit: %d margins for %d preferences", len(o.Margins), r.Pairs)
	}
	all := units(pairs)
	r.agreement(all)
	r.suspect(pairs, o.Margins)
	prints, err := r.look(ctx, pairs, o)
	if err != nil {
		return Result{}, err
	}
	held, err := printsOf(ctx, o.HeldOut, nil)
	if err != nil {
		return Result{}, err
	}
	r.Duplicates = append(r.Duplicates, near(pairs, prints, pairs, prints, o.Threshold, true)...)
	r.Leaks = append(r.Leaks, near(o.HeldOut, held, pairs, prints, o.Threshold, false)...)
	if o.HeldOut == nil {
		r.Notes = append(r.Notes, "leaks were not looked for: name the held-out data with --held-out")
	}
	return decide(r, pairs, all, o), nil
}

func place(pairs []dataset.Pair, i int) Place {
	return Place{File: pairs[i].File, Row: pairs[i].Row, ID: pairs[i].ID, at: i}
}

// suspect ranks the pairs of negative margin.
func (r *Report) suspect(pairs []dataset.Pair, margins []float64) {
	if margins == nil {
		r.Notes = append(r.Notes, "labels were not held against a trained model: name a run on this data with --model")
		return
	}
	k := 0
	for i, p := range pairs {
		if p.Tie {
			continue
		}
		if margins[k] < 0 {
			r.Suspects = append(r.Suspects, Suspect{place(pairs, i), p.Prompt, margins[k]})
		}
		k++
	}
	slices.SortStableFunc(r.Suspects, func(a, b Suspect) int { return cmp.Compare(a.Margin, b.Margin) })
	r.NegativeMargin = share(len(r.Suspects), r.Pairs)
}

// look takes the prints of all pictures, winner and loser in turn, and counts with whom the judge agrees.
func (r *Report) look(ctx context.Context, pairs []dataset.Pair, o Options) ([]similarity.Print, error) {
	agrees, judged := 0, 0
	prints, err := printsOf(ctx, pairs, func(p dataset.Pair, winner, loser *picture.Image) {
		if o.Judge == nil || p.Tie {
			return
		}
		w, l := o.Judge(winner.RGBA()), o.Judge(loser.RGBA())
		switch {
		case w == l:
			r.JudgeUnsure++
			return
		case w > l:
			agrees++
		}
		judged++
	})
	r.JudgeAgrees = share(agrees, judged)
	return prints, err
}

func printsOf(ctx context.Context, pairs []dataset.Pair, see func(p dataset.Pair, winner, loser *picture.Image)) ([]similarity.Print, error) {
	var prints []similarity.Print
	for _, p := range pairs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		winner, err := picture.Decode(p.Winner)
		if err != nil {
			return nil, fmt.Errorf("audit: %s row %d: winner: %w", p.File, p.Row, err)
		}
		loser, err := picture.Decode(p.Loser)
		if err != nil {
			return nil, fmt.Errorf("audit: %s row %d: loser: %w", p.File, p.Row, err)
		}
		prints = append(prints, similarity.Of(winner), similarity.Of(loser))
		if see != nil {
			see(p, winner, loser)
		}
	}
	return prints, nil
}

var sides = [2]string{"winner", "loser"}

// near finds the pictures of second that are nearly one of first, at most one for two rows. Within one set (own) each two
// rows are compared once. The same pictures judged again are no duplicates, see units.
func near(first []dataset.Pair, firstPrints []similarity.Print, second []dataset.Pair, secondPrints []similarity.Print, t similarity.Threshold, own bool) []Duplicate {
	index := similarity.NewIndex(firstPrints, t)
	var all []Duplicate
	seen := map[[2]int]bool{}
	for j, p := range secondPrints {
		b := j / 2
		for _, i := range index.Near(p) {
			a := i / 2
			if own && (a >= b || sameUnit(first[a], second[b])) || seen[[2]int{a, b}] {
				continue
			}
			seen[[2]int{a, b}] = true
			q := firstPrints[i]
			all = append(all, Duplicate{
				First: place(first, a), Second: place(second, b), Side: sides[j%2], firstSide: sides[i%2], PHashBits: p.PHash.Distance(q.PHash), DHashBits: p.DHash.Distance(q.DHash),
				Features: similarity.Distance(p.Features, q.Features), SamePrompt: first[a].Prompt == second[b].Prompt,
			})
		}
	}
	slices.SortStableFunc(all, func(x, y Duplicate) int { return cmp.Compare(x.Features, y.Features) })
	return all
}

func sameUnit(a, b dataset.Pair) bool {
	x, _ := unitOf(a)
	y, _ := unitOf(b)
	return x == y
}

// decide says which rows stay: not those that leak, that contradict another row, that repeat one, or, if asked for,
// whose label the model finds turned round. Near pictures alone are no reason: they are shown.
func decide(r Report, pairs []dataset.Pair, all [][]label, o Options) Result {
	reasons := make([]string, len(pairs))
	because := func(i int, reason string) {
		if reasons[i] == "" {
			reasons[i] = reason
		}
	}
	for _, d := range r.Leaks {
		because(d.Second.at, fmt.Sprintf("its %s is nearly a held-out picture: %s row %d", d.Side, d.First.File, d.First.Row))
	}
	for _, unit := range all {
		for k, l := range unit {
			if contradicted(unit) {
				because(l.at, "the same pictures are judged both ways")
			} else if k > 0 {
				because(l.at, fmt.Sprintf("repeats row %d", pairs[unit[0].at].Row))
			}
		}
	}
	if o.DropSuspects {
		for _, s := range r.Suspects {
			because(s.at, fmt.Sprintf("the model's margin is %.3g", s.Margin))
		}
	}
	out := Result{}
	for i, p := range pairs {
		d := Decision{place(pairs, i), p.Prompt, reasons[i]}
		if reasons[i] == "" {
			out.Kept = append(out.Kept, d)
		} else {
			out.Removed = append(out.Removed, d)
		}
	}
	r.Kept, r.Removed = len(out.Kept), len(out.Removed)
	out.Report = r
	return out
}
