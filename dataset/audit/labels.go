package audit

import (
	"bytes"
	"maps"
	"math"
	"slices"

	"yohaku/dataset"
	"yohaku/internal/statistics"
)

// The values of a judgement, whichever picture the row has first.
const (
	firstWon  = 0
	secondWon = 1
	neither   = 2
)

// label is one judgement of a unit: a prompt with two pictures in a fixed order.
type label struct {
	annotator string
	value     float64
	at        int // Among the pairs.
}

// unitOf names the pair's unit, and gives the pair's judgement of it.
func unitOf(p dataset.Pair) (key string, value float64) {
	first, second := p.Winner, p.Loser
	value = firstWon
	if bytes.Compare(first, second) > 0 {
		first, second, value = second, first, secondWon
	}
	if p.Tie {
		value = neither
	}
	unit := dataset.Pair{Prompt: p.Prompt, Winner: first, Loser: second}
	digest := unit.Digest()
	return string(digest[:]), value
}

// units gathers the judgements of each unit, in the order of the data.
func units(pairs []dataset.Pair) [][]label {
	at := map[string]int{}
	var all [][]label
	for i, p := range pairs {
		key, value := unitOf(p)
		k, known := at[key]
		if !known {
			k = len(all)
			at[key] = k
			all = append(all, nil)
		}
		all[k] = append(all[k], label{p.Annotator, value, i})
	}
	return all
}

// agreement fills alpha and the annotators.
func (r *Report) agreement(all [][]label) {
	var values [][]float64
	byName := map[string]*Annotator{}
	agreed, judged := map[string]int{}, map[string]int{}
	for _, unit := range all {
		var given []float64
		for i, l := range unit {
			given = append(given, l.value)
			if l.annotator == "" {
				continue
			}
			count(byName, l)
			if most, ok := majority(unit, i); ok {
				judged[l.annotator]++
				if most == l.value {
					agreed[l.annotator]++
				}
			}
		}
		values = append(values, given)
		if len(unit) > 1 {
			r.SharedUnits++
		}
		if contradicted(unit) {
			r.Contradicted++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		byName[name].Agrees = share(agreed[name], judged[name])
		r.Annotators = append(r.Annotators, *byName[name])
	}
	if alpha := statistics.Krippendorff(values, statistics.Nominal); !math.IsNaN(alpha) {
		r.Alpha = &alpha
	} else {
		r.Notes = append(r.Notes, "no agreement between annotators: no two rows judge the same pictures, or all say the same; have some pairs judged twice, and name who judged under \"annotator\"")
	}
}

func count(byName map[string]*Annotator, l label) {
	a := byName[l.annotator]
	if a == nil {
		a = &Annotator{Name: l.annotator}
		byName[l.annotator] = a
	}
	a.Labels++
	if l.value == neither {
		a.Ties++
	}
}

// majority is what most others than the one at i say of a unit; false without a majority.
func majority(unit []label, i int) (float64, bool) {
	var votes [3]int
	for j, l := range unit {
		if j != i {
			votes[int(l.value)]++
		}
	}
	best := 0
	for v := range votes {
		if votes[v] > votes[best] {
			best = v
		}
	}
	for v := range votes {
		if v != best && votes[v] == votes[best] {
			return 0, false
		}
	}
	return float64(best), true
}

// contradicted tells whether both pictures of a unit were said to be the better one.
func contradicted(unit []label) bool {
	has := func(v float64) bool { return slices.ContainsFunc(unit, func(l label) bool { return l.value == v }) }
	return has(firstWon) && has(secondWon)
}
