// Package copycheck holds the pictures that a tuned model made against those it was trained on and against registered
// works, and measures how much its pictures of one prompt differ. What counts as a copy is decided by a threshold that the references
// themselves give: where altered copies of them, and their nearest others, can be told apart with the precision asked for.
package copycheck

import (
	"bytes"
	"cmp"
	"fmt"
	"image/jpeg"
	"math"
	"slices"

	"yohaku/dataset/similarity"
	"yohaku/internal/picture"
)

// MinPrecision is asked of the threshold, where one picture in ten (copyPrior) is a copy: among as many copies as others a
// judge looks better than it is among pictures that are seldom copies.
const (
	MinPrecision = 0.95
	copyPrior    = 0.1
	enoughRecall = 0.95 // The threshold is not raised further once it finds so many of the altered copies.
)

// maxPHash is the distance of hashes above which two pictures are never near: a third of what unrelated ones differ in.
const maxPHash = 12

// maxCalibration bounds the references that the threshold is taken from.
const maxCalibration = 1000

// Picture is one picture with where it comes from.
type Picture struct {
	Name  string // A path, or a row of the data.
	Kind  string // generated, training or registered.
	Print similarity.Print
	Image *picture.Image
}

// NewPicture decodes a picture and takes its print.
func NewPicture(name, kind string, data []byte) (Picture, error) {
	m, err := picture.Decode(data)
	if err != nil {
		return Picture{}, fmt.Errorf("copycheck: %s: %w", name, err)
	}
	return Picture{name, kind, similarity.Of(m), m}, nil
}

// Near is a generated picture beside the reference that is nearest to it.
type Near struct {
	Picture   string  `json:"picture"`
	Reference string  `json:"reference"`
	Kind      string  `json:"kind"`
	PHashBits int     `json:"phash_bits"`
	Distance  float64 `json:"distance"`
	Copy      bool    `json:"copy"`
	at, to    int
}

// Point is one point of the precision curve.
type Point struct {
	Threshold float64 `json:"threshold"`
	Precision float64 `json:"precision"`
	Recall    float64 `json:"recall"`
}

// Report is copycheck.json. A rate without references, or a diversity without two seeds, is null.
type Report struct {
	CheckpointSHA256 string   `json:"checkpoint_sha256"`
	Pictures         int      `json:"pictures"`
	Training         int      `json:"training_pictures"`
	Registered       int      `json:"registered_works"`
	Copies           int      `json:"copies"`
	CopyRate         *float64 `json:"copy_rate"`
	Threshold        float64  `json:"threshold"`
	Precision        float64  `json:"threshold_precision"`
	Recall           float64  `json:"threshold_recall"`
	Curve            []Point  `json:"precision_curve"`
	DiversityBase    *float64 `json:"diversity_base"`
	DiversityTuned   *float64 `json:"diversity_tuned"`
	Nearest          []Near   `json:"nearest"` // Nearest first.
	Notes            []string `json:"notes"`
}

// shiftWeight is how much a change of the whole picture's colour counts beside a change of its shape: a copy is often
// brighter or warmer, and seldom of another shape.
const shiftWeight = 0.25

// distance is what the judge goes by: that of features, where the hashes are near enough to be of one picture.
func distance(a, b similarity.Print) float64 {
	if a.PHash.Distance(b.PHash) > maxPHash {
		return math.Inf(1)
	}
	shape, shift := similarity.Split(a.Features, b.Features)
	return shape + shiftWeight*shift
}

func nearest(references []Picture, p similarity.Print, except int) (at int, d float64) {
	at, d = -1, math.Inf(1)
	for i := range references {
		if got := distance(references[i].Print, p); i != except && got < d {
			at, d = i, got
		}
	}
	return at, d
}

// Check holds generated pictures against the references.
func Check(generated, references []Picture) (Report, error) {
	r := Report{Pictures: len(generated), Nearest: []Near{}, Curve: []Point{}, Notes: []string{}}
	for _, p := range references {
		if p.Kind == "registered" {
			r.Registered++
		} else {
			r.Training++
		}
	}
	if r.Pictures == 0 || len(references) == 0 {
		r.Notes = append(r.Notes, "no copy rate: there must be generated pictures, and training pictures or registered works to hold them against")
		return r, nil
	}
	if err := r.calibrate(references); err != nil {
		return r, err
	}
	for i, g := range generated {
		at, d := nearest(references, g.Print, -1)
		if at < 0 {
			continue // No hash is near.
		}
		n := Near{g.Name, references[at].Name, references[at].Kind, g.Print.PHash.Distance(references[at].Print.PHash), d, d <= r.Threshold, i, at}
		if n.Copy {
			r.Copies++
		}
		r.Nearest = append(r.Nearest, n)
	}
	slices.SortStableFunc(r.Nearest, func(a, b Near) int { return cmp.Compare(a.Distance, b.Distance) })
	rate := float64(r.Copies) / float64(r.Pictures)
	r.CopyRate = &rate
	return r, nil
}

// calibrate takes the threshold from the references: altered ones are copies, and the nearest other of each is none. Of all
// thresholds whose precision is MinPrecision at least, it takes the least that finds enoughRecall of the copies, or else the greatest. Equal pictures among the references are no
// others.
func (r *Report) calibrate(references []Picture) error {
	var copies, others []float64
	stride := (len(references) + maxCalibration - 1) / maxCalibration
	for i := 0; i < len(references); i += stride {
		altered, err := alter(references[i].Image)
		if err != nil {
			return err
		}
		for _, m := range altered {
			copies = append(copies, distance(similarity.Of(m), references[i].Print))
		}
		if _, d := nearest(references, references[i].Print, i); d > 0 {
			others = append(others, d, d, d) // As many as there are altered ones of it.
		}
	}
	slices.Sort(copies)
	slices.Sort(others)
	for k, t := range copies {
		if math.IsInf(t, 1) {
			break
		}
		wrong, _ := slices.BinarySearch(others, math.Nextafter(t, 1))
		found, wrongly := copyPrior*float64(k+1)/float64(len(copies)), (1-copyPrior)*float64(wrong)/float64(max(1, len(others)))
		p := Point{t, found / (found + wrongly), float64(k+1) / float64(len(copies))}
		if k%max(1, len(copies)/50) == 0 || k == len(copies)-1 {
			r.Curve = append(r.Curve, p)
		}
		if p.Precision >= MinPrecision && r.Recall < enoughRecall {
			r.Threshold, r.Precision, r.Recall = p.Threshold, p.Precision, p.Recall
		}
	}
	return nil
}

// alter makes copies as they are made: compressed, half the size, and brighter.
func alter(m *picture.Image) ([]*picture.Image, error) {
	brighter := picture.NewImage(m.Width, m.Height)
	for i, v := range m.Pix {
		brighter.Pix[i] = uint8(min(255, int(v)+8))
	}
	compressed, err := recompress(m)
	return []*picture.Image{compressed, picture.ResizeBicubic(m, max(1, m.Width/2), max(1, m.Height/2)), brighter}, err
}

func recompress(m *picture.Image) (*picture.Image, error) {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m.RGBA(), &jpeg.Options{Quality: 60}); err != nil {
		return nil, fmt.Errorf("copycheck: %w", err)
	}
	return picture.Decode(b.Bytes())
}

// Diversity is the mean, over prompts, of the mean distance of features between the pictures of a prompt, [prompts][seeds]; nil
// when no prompt has two.
func Diversity(prompts [][]Picture) *float64 {
	sum, n := 0.0, 0
	for _, seeds := range prompts {
		of, pairs := 0.0, 0
		for i := range seeds {
			for j := range i {
				of += similarity.Distance(seeds[i].Print.Features, seeds[j].Print.Features)
				pairs++
			}
		}
		if pairs > 0 {
			sum += of / float64(pairs)
			n++
		}
	}
	if n == 0 {
		return nil
	}
	mean := sum / float64(n)
	return &mean
}
