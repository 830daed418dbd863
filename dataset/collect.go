package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"yohaku/internal/picture"
	"yohaku/internal/rng"
)

// Options says what Collect keeps of a source.
type Options struct {
	RemoveTies       bool    // Drop rows without a preference; otherwise image 0 counts as the winner.
	LabelNoiseProb   float64 // Probability of swapping winner and loser, keyed by Seed and the row.
	Seed             uint64
	MaxRejectedRatio float64 // Of all rows read; 0 allows none.
	MaxTrainSamples  int     // Stop after this many pairs; 0 takes all.
	MaxBytes         int64   // Of encoded pictures kept in memory; 0 means DefaultMaxBytes.
}

// DefaultMaxBytes bounds the pictures that a Set holds: about 10,000 pairs of 1024 × 1024 JPEGs.
const DefaultMaxBytes = 8 << 30

// check reports options that make no sense; the errors name the configuration keys.
func (o Options) check() error {
	if !(o.LabelNoiseProb >= 0 && o.LabelNoiseProb <= 1) {
		return fmt.Errorf("label_noise_prob must be from 0 to 1, got %v", o.LabelNoiseProb)
	}
	if !(o.MaxRejectedRatio >= 0 && o.MaxRejectedRatio <= 1) {
		return fmt.Errorf("max_rejected_ratio must be from 0 to 1, got %v", o.MaxRejectedRatio)
	}
	if o.MaxTrainSamples < 0 {
		return fmt.Errorf("max_train_samples must not be negative, got %d", o.MaxTrainSamples)
	}
	return nil
}

// Set is what a run trains on.
type Set struct {
	Name    string
	Pairs   []Pair
	Rejects []Reject
	Ties    int // Rows dropped because nobody was preferred.
	Swapped int // Pairs whose label was swapped by LabelNoiseProb.
	Read    int // Rows read: pairs, ties and rejects.
	// Digest is the SHA-256 over the digests of the pairs in order, hexadecimal. It names the
	// content that is trained on, whatever file it comes from.
	Digest string
}

// RejectedRatioError says that too many rows are bad. The Set that comes with it has the rejects;
// the caller stops before it writes anything.
type RejectedRatioError struct {
	Name           string
	Rejected, Read int
	Max            float64
	First          Reject
	Reasons        []ReasonCount // Most frequent first.
}

// Error implements error.
func (e *RejectedRatioError) Error() string {
	return fmt.Sprintf("%s: %d of %d rows (%.1f %%) are bad, more than max_rejected_ratio %v allows; most often (%d rows): %s; "+
		"the first is row %d of %s: list them with 'coordinator data inspect' and mend them, or raise --max-rejected-ratio",
		e.Name, e.Rejected, e.Read, 100*float64(e.Rejected)/float64(e.Read), e.Max,
		e.Reasons[0].Rows, e.Reasons[0].Reason, e.First.Row, e.First.File)
}

// ErrNoPairs says that a source has nothing to train on: no rows, or ties only.
var ErrNoPairs = errors.New("no pairs to train on")

// Collect reads a whole source. It decodes every picture; a row with a bad picture or caption is
// set aside as a Reject and reading goes on. The result depends on the data and the options only.
//
// Errors: one of the source or of ctx; options out of range; more than MaxBytes of pictures;
// *RejectedRatioError and ErrNoPairs, with which the Set is complete all the same.
func Collect(ctx context.Context, src Source, o Options) (Set, error) {
	if err := o.check(); err != nil {
		return Set{}, err
	}
	c := collector{options: o, set: Set{Name: src.Name()}}
	if c.options.MaxBytes == 0 {
		c.options.MaxBytes = DefaultMaxBytes
	}
	if err := examineAll(ctx, src, o.RemoveTies, c.add); err != nil && !errors.Is(err, errEnough) {
		return Set{}, err
	}
	c.set.Digest = digestOf(c.set.Pairs)
	return c.set, c.judge()
}

// errEnough ends the reading at MaxTrainSamples.
var errEnough = errors.New("enough pairs")

// collector gathers a Set, row by row.
type collector struct {
	options Options
	set     Set
	bytes   int64
}

// add takes the next examined row.
func (c *collector) add(e examined) error {
	row := uint64(c.set.Read)
	c.set.Read++
	switch {
	case e.reject != nil:
		c.set.Rejects = append(c.set.Rejects, *e.reject)
		return nil
	case e.pair.Tie && c.options.RemoveTies:
		c.set.Ties++
		return nil
	}
	p := *e.pair
	if c.options.LabelNoiseProb > 0 {
		s := rng.New(rng.Key{Seed: c.options.Seed, Domain: rng.LabelNoise, Item: row})
		if s.Float64() < c.options.LabelNoiseProb {
			p.Swap()
			c.set.Swapped++
		}
	}
	p.ID = p.contentID()
	if c.bytes += int64(len(p.Winner) + len(p.Loser)); c.bytes > c.options.MaxBytes {
		return fmt.Errorf("%s holds more than %d MiB of pictures, which is the limit for one run: "+
			"take a part of it with max_train_samples (%d pairs fit)", c.set.Name, c.options.MaxBytes>>20, len(c.set.Pairs))
	}
	c.set.Pairs = append(c.set.Pairs, p)
	if len(c.set.Pairs) == c.options.MaxTrainSamples {
		return errEnough
	}
	return nil
}

// judge applies the rules over the whole set.
func (c *collector) judge() error {
	s := c.set
	if rejected := len(s.Rejects); float64(rejected) > c.options.MaxRejectedRatio*float64(s.Read) {
		return &RejectedRatioError{Name: s.Name, Rejected: rejected, Read: s.Read,
			Max: c.options.MaxRejectedRatio, First: s.Rejects[0], Reasons: countReasons(s.Rejects)}
	}
	switch {
	case len(s.Pairs) > 0:
		return nil
	case s.Read == 0:
		return fmt.Errorf("%s has no rows: %w; look at it with `coordinator data inspect`", s.Name, ErrNoPairs)
	case s.Ties == s.Read:
		return fmt.Errorf("all %d rows of %s are ties: %w; set remove_ties to false to keep them", s.Read, s.Name, ErrNoPairs)
	}
	return fmt.Errorf("none of the %d rows of %s is a usable pair (%d bad, %d ties): %w",
		s.Read, s.Name, len(s.Rejects), s.Ties, ErrNoPairs)
}

// digestOf returns the digest of pairs in order.
func digestOf(pairs []Pair) string {
	h := sha256.New()
	for i := range pairs {
		d := pairs[i].Digest()
		h.Write(d[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// ReasonCount is how many rows were rejected for a reason.
type ReasonCount struct {
	Reason string `json:"reason"`
	Rows   int    `json:"rows"`
}

// countReasons counts the rejects by reason, most frequent first, ties in the order of first sight.
func countReasons(rejects []Reject) []ReasonCount {
	at := map[string]int{}
	var counts []ReasonCount
	for _, r := range rejects {
		i, ok := at[r.Reason]
		if !ok {
			i = len(counts)
			at[r.Reason] = i
			counts = append(counts, ReasonCount{Reason: r.Reason})
		}
		counts[i].Rows++
	}
	slices.SortStableFunc(counts, func(a, b ReasonCount) int { return b.Rows - a.Rows })
	return counts
}

// examined is a row that was checked: a pair whose pictures decode, with their sizes, or a reject.
// The pictures of a tie that is to be dropped are not decoded.
type examined struct {
	pair          *Pair
	reject        *Reject
	winner, loser pictureInfo
}

// pictureInfo is what is worth knowing of a picture without its pixels.
type pictureInfo struct {
	format        picture.Format
	width, height int
}

// examineAhead bounds how many rows are held while their pictures are decoded in parallel.
const examineAhead = 32

// examineAll calls yield for every row of src, in order, decoding on all processors.
func examineAll(ctx context.Context, src Source, skipTies bool, yield func(examined) error) error {
	batch := make([]Record, 0, examineAhead)
	flush := func() error {
		err := examineBatch(ctx, batch, skipTies, yield)
		batch = batch[:0]
		return err
	}
	err := src.Each(ctx, func(r Record) error {
		if batch = append(batch, r); len(batch) < examineAhead {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

func examineBatch(ctx context.Context, batch []Record, skipTies bool, yield func(examined) error) error {
	results := make([]examined, len(batch))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, r := range batch {
		g.Go(func() error {
			results[i] = examine(r, skipTies)
			return nil
		})
	}
	_ = g.Wait() // The functions return no error.
	if err := context.Cause(ctx); err != nil {
		return err
	}
	for _, e := range results {
		if err := yield(e); err != nil {
			return err
		}
	}
	return nil
}

// examine checks one row.
func examine(r Record, skipTies bool) examined {
	if r.Reject != nil {
		return examined{reject: r.Reject}
	}
	p := r.Pair
	e := examined{pair: p}
	if p.Tie && skipTies {
		return e
	}
	err := checkCaption(p.Prompt)
	if err == nil {
		e.winner, err = examinePicture("winner", p.Winner)
	}
	if err == nil {
		e.loser, err = examinePicture("loser", p.Loser)
	}
	if err != nil {
		return examined{reject: &Reject{File: p.File, Row: p.Row, Reason: err.Error()}}
	}
	return e
}

func checkCaption(caption string) error {
	if strings.TrimSpace(caption) == "" {
		return errors.New("the caption is empty")
	}
	if !utf8.ValidString(caption) {
		return errors.New("the caption is not UTF-8")
	}
	return nil
}

// examinePicture decodes one picture fully.
func examinePicture(role string, data []byte) (pictureInfo, error) {
	m, err := picture.Decode(data)
	if err != nil {
		return pictureInfo{}, fmt.Errorf("%s: %w", role, err)
	}
	format, err := picture.SniffFormat(data)
	return pictureInfo{format, m.Width, m.Height}, err
}
