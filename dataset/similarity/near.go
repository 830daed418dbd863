package similarity

import (
	"math"
	"slices"

	"yohaku/internal/picture"
)

// featureSide is the side of the thumbnail in the built-in features.
const featureSide = 16

// Features are the built-in feature vector: the picture's 16×16 thumbnail in RGB, 768 numbers in [0, 1].
func Features(m *picture.Image) []float32 {
	out := make([]float32, 0, 3*featureSide*featureSide)
	means(m, featureSide, featureSide, func(_ int, r, g, b float64) {
		out = append(out, float32(r/255), float32(g/255), float32(b/255))
	})
	return out
}

// Distance is the root of the mean squared difference of two vectors of one length; +Inf for others.
func Distance(a, b []float32) float64 {
	if len(a) != len(b) || len(a) == 0 {
		return math.Inf(1)
	}
	sum := 0.0
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	return math.Sqrt(sum / float64(len(a)))
}

// Print is what a picture is recognised by.
type Print struct {
	PHash, DHash Hash
	Features     []float32
}

// Of takes a picture's print, with the built-in features.
func Of(m *picture.Image) Print { return Print{PHash(m), DHash(m), Features(m)} }

// Threshold says which pictures count as nearly the same: all must hold. Drawings of one product in other
// colours agree in both hashes, and differ in shape or shift.
type Threshold struct {
	PHash, DHash int     // Bits.
	Shape, Shift float64 // See Split.
}

// Default holds for pictures that were scaled, compressed or slightly brightened.
var Default = Threshold{PHash: 8, DHash: 10, Shape: 0.025, Shift: 0.06}

// Near tells whether two prints with built-in features are of nearly the same picture.
func (t Threshold) Near(a, b Print) bool {
	if a.PHash.Distance(b.PHash) > t.PHash || a.DHash.Distance(b.DHash) > t.DHash {
		return false
	}
	shape, shift := Split(a.Features, b.Features)
	return shape <= t.Shape && shift <= t.Shift
}

// Split parts the distance of two built-in feature vectors into what a change of the whole picture's colour explains
// (shift: the root of the mean squared difference of the three mean colours) and the rest (shape):
// Distance² = shape² + shift².
func Split(a, b []float32) (shape, shift float64) {
	d := Distance(a, b)
	var sum [3]float64
	for i := range min(len(a), len(b)) {
		sum[i%3] += float64(a[i]) - float64(b[i])
	}
	n := float64(len(a)) / 3
	square := 0.0
	for _, s := range sum {
		square += s / n * s / n / 3
	}
	return math.Sqrt(max(0, d*d-square)), math.Sqrt(square)
}

// Index finds near prints without comparing all: the 64 bits of pHash are cut into bands, one more than bits may
// differ, so that near hashes agree in one band at least.
type Index struct {
	threshold Threshold
	prints    []Print
	bands     []map[uint64][]int
}

// NewIndex prepares the search among prints.
func NewIndex(prints []Print, t Threshold) *Index {
	x := &Index{threshold: t, prints: prints, bands: make([]map[uint64][]int, min(64, max(1, t.PHash+1)))}
	for b := range x.bands {
		x.bands[b] = map[uint64][]int{}
		for i, p := range prints {
			key := x.band(b, p.PHash)
			x.bands[b][key] = append(x.bands[b][key], i)
		}
	}
	return x
}

func (x *Index) band(b int, h Hash) uint64 {
	from, to := b*64/len(x.bands), (b+1)*64/len(x.bands)
	return uint64(h) >> from & (1<<(to-from) - 1)
}

// Near are the places of all prints that are near p, in order.
func (x *Index) Near(p Print) []int {
	var found []int
	for b := range x.bands {
		for _, i := range x.bands[b][x.band(b, p.PHash)] {
			if x.threshold.Near(x.prints[i], p) {
				found = append(found, i)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}
