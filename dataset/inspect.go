package dataset

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Summary describes a source: what `coordinator data inspect` shows.
type Summary struct {
	Name    string        `json:"name"`
	Rows    int           `json:"rows"`
	Pairs   int           `json:"pairs"`
	Ties    int           `json:"ties"` // Not among the pairs.
	Reject  []Reject      `json:"rejects"`
	Reasons []ReasonCount `json:"reject_reasons"`

	Pictures  int           `json:"pictures"` // Of pairs and ties.
	Bytes     int64         `json:"bytes"`
	Formats   []Count       `json:"formats"`
	Sizes     []Count       `json:"sizes"`      // "width×height", most frequent first.
	ShortSide []Count       `json:"short_side"` // In powers of two, smallest first.
	Mixed     int           `json:"mixed_size"` // Rows whose two pictures differ in size.
	Captions  CaptionLength `json:"captions"`

	DuplicatePairs  int `json:"duplicate_pairs"`  // Rows that repeat an earlier one.
	SamePictures    int `json:"same_pictures"`    // Rows whose winner and loser are the same bytes.
	Contradictions  int `json:"contradictions"`   // Rows that reverse an earlier preference.
	DistinctPrompts int `json:"distinct_prompts"` // Among pairs and ties.
}

// Count is how often a value occurs.
type Count struct {
	Value string `json:"value"`
	Count int    `json:"count"`
}

// CaptionLength describes the captions' lengths in characters.
type CaptionLength struct {
	Least  int     `json:"least"`
	Median int     `json:"median"`
	Mean   float64 `json:"mean"`
	Most   int     `json:"most"`
}

// Inspect reads a whole source and decodes every picture, without keeping them.
func Inspect(ctx context.Context, src Source) (Summary, error) {
	in := inspector{
		summary: Summary{Name: src.Name()},
		formats: map[string]int{}, sizes: map[string]int{}, shortSides: map[int]int{},
		prompts: map[string]bool{}, pairs: map[[sha256.Size]byte]bool{},
	}
	if err := examineAll(ctx, src, false, in.add); err != nil {
		return Summary{}, err
	}
	return in.finish(), nil
}

// inspector gathers a Summary, row by row.
type inspector struct {
	summary        Summary
	formats, sizes map[string]int
	shortSides     map[int]int
	prompts        map[string]bool
	pairs          map[[sha256.Size]byte]bool // Digests of (prompt, winner, loser), whichever is image 0.
	lengths        []int
}

func (in *inspector) add(e examined) error {
	s := &in.summary
	s.Rows++
	if e.reject != nil {
		s.Reject = append(s.Reject, *e.reject)
		return nil
	}
	if e.pair.Tie {
		s.Ties++
	} else {
		s.Pairs++
		in.addPreference(*e.pair)
	}
	for _, p := range []pictureInfo{e.winner, e.loser} {
		s.Pictures++
		in.formats[string(p.format)]++
		in.sizes[fmt.Sprintf("%d×%d", p.width, p.height)]++
		in.shortSides[powerBelow(min(p.width, p.height))]++
	}
	s.Bytes += int64(len(e.pair.Winner) + len(e.pair.Loser))
	if e.winner.width != e.loser.width || e.winner.height != e.loser.height {
		s.Mixed++
	}
	in.lengths = append(in.lengths, utf8.RuneCountInString(e.pair.Prompt))
	in.prompts[e.pair.Prompt] = true
	return nil
}

// addPreference looks for repetitions, contradictions and pairs without a difference.
func (in *inspector) addPreference(p Pair) {
	if string(p.Winner) == string(p.Loser) {
		in.summary.SamePictures++
	}
	p.LoserFirst = false
	d := p.Digest()
	reversed := p
	reversed.Winner, reversed.Loser = p.Loser, p.Winner
	switch {
	case in.pairs[d]:
		in.summary.DuplicatePairs++
	case in.pairs[reversed.Digest()]:
		in.summary.Contradictions++
	}
	in.pairs[d] = true
}

func (in *inspector) finish() Summary {
	s := in.summary
	s.Reasons = countReasons(s.Reject)
	s.Formats = counts(in.formats)
	s.Sizes = counts(in.sizes)
	for _, low := range slices.Sorted(maps.Keys(in.shortSides)) {
		s.ShortSide = append(s.ShortSide, Count{fmt.Sprintf("%d–%d", low, 2*low-1), in.shortSides[low]})
	}
	s.DistinctPrompts = len(in.prompts)
	if n := len(in.lengths); n > 0 {
		slices.Sort(in.lengths)
		sum := 0
		for _, l := range in.lengths {
			sum += l
		}
		s.Captions = CaptionLength{in.lengths[0], in.lengths[n/2], float64(sum) / float64(n), in.lengths[n-1]}
	}
	return s
}

// counts returns the counts of m, most frequent first, then by value.
func counts(m map[string]int) []Count {
	var all []Count
	for v, n := range m {
		all = append(all, Count{v, n})
	}
	slices.SortFunc(all, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Value, b.Value))
	})
	return all
}

// powerBelow returns the greatest power of two that is not above n ≥ 1.
func powerBelow(n int) int {
	p := 1
	for 2*p <= n {
		p *= 2
	}
	return p
}

// mostLines bounds the lists of the text.
const mostLines = 10

// String renders the summary for a terminal.
func (s Summary) String() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-18s "+format+"\n", append([]any{name}, args...)...)
	}
	line("source", "%s", s.Name)
	line("rows", "%d", s.Rows)
	line("pairs", "%d", s.Pairs)
	line("ties", "%d", s.Ties)
	line("bad rows", "%d%s", len(s.Reject), percent(len(s.Reject), s.Rows))
	for _, r := range firstOf(s.Reasons, mostLines) {
		line("", "%d × %s", r.Rows, r.Reason)
	}
	for _, r := range firstOf(s.Reject, mostLines) {
		line("", "%s row %d: %s", r.File, r.Row, r.Reason)
	}
	if s.Pictures == 0 {
		return b.String()
	}
	line("pictures", "%d, %.1f MiB, %s", s.Pictures, float64(s.Bytes)/(1<<20), joinCounts(s.Formats))
	line("sizes", "%s", joinCounts(firstOf(s.Sizes, mostLines)))
	if more := len(s.Sizes) - mostLines; more > 0 {
		line("", "and %d more", more)
	}
	most := 0
	for _, c := range s.ShortSide {
		most = max(most, c.Count)
	}
	for i, c := range s.ShortSide {
		name := ""
		if i == 0 {
			name = "short side, pixels"
		}
		line(name, "%11s %6d %s", c.Value, c.Count, strings.Repeat("#", (40*c.Count+most-1)/most))
	}
	line("rows of two sizes", "%d", s.Mixed)
	line("captions", "%d distinct; %d to %d characters, median %d, mean %.1f", s.DistinctPrompts,
		s.Captions.Least, s.Captions.Most, s.Captions.Median, s.Captions.Mean)
	line("repeated pairs", "%d", s.DuplicatePairs)
	line("contradictions", "%d", s.Contradictions)
	line("equal pictures", "%d", s.SamePictures)
	return b.String()
}

func percent(n, of int) string {
	if n == 0 || of == 0 {
		return ""
	}
	return fmt.Sprintf(" (%.1f %%)", 100*float64(n)/float64(of))
}

func firstOf[T any](all []T, n int) []T { return all[:min(n, len(all))] }

func joinCounts(all []Count) string {
	var parts []string
	for _, c := range all {
		parts = append(parts, fmt.Sprintf("%s (%d)", c.Value, c.Count))
	}
	return strings.Join(parts, ", ")
}
