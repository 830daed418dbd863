// Package latents keeps encoded pairs: the VAE moments of winner and loser and the text embedding
// of the prompt, so that training never runs the encoders.
//
// A shard is a safetensors file of n pairs with the float32 tensors
//
//	winner_moments, loser_moments                  [n, …]  mean ‖ logvar, as the encoder gives them
//	winner_moments_flipped, loser_moments_flipped  [n, …]  of the mirrored pictures, when there are flips
//	prompt_embeds                                  [n, …]
//	pooled_prompt_embeds, time_ids                 [n, …]  for models that take both, such as SDXL
//	empty_prompt_embeds, empty_pooled_prompt_embeds [1, …] of the empty prompt, when captions are dropped
//
// and the metadata format, key and pairs (a JSON list of pair identifiers). The shape of one pair's
// moments and embedding is the encoders' own and is kept as it is.
//
// A shard is named by what its content depends on, see Key. Invariants: equal keys mean equal
// bytes; a shard in a Store is whole; a Reader takes no more memory than one pair.
package latents

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"

	"yohaku/internal/safetensors"
)

// Format is the version of the shard format, in a shard's metadata and key.
const Format = "yohaku-latents-1"

// Key returns the name of the shard of these pairs (their content identifiers, in order): the
// SHA-256 over them, the digest of the encoders' weights and settings, the preprocessing
// (dataset.Transform's String, with ", flips" when mirrored pictures are encoded too) and the
// kernel set that gives the bits. Hexadecimal.
func Key(pairIDs []string, encoder, preprocessing, kernelSet string) string {
	h := sha256.New()
	for _, field := range append([]string{Format, encoder, preprocessing, kernelSet}, pairIDs...) {
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(len(field)))
		h.Write(n[:])
		h.Write([]byte(field))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Shard is the content of a shard in memory, to be written.
type Shard struct {
	Key          string
	PairIDs      []string
	MomentsShape []int // Of one picture.
	EmbedsShape  []int // Of one prompt.
	PooledShape  []int // Of one prompt; nil for models without.

	Winner, Loser               []float32 // [n, MomentsShape…]
	WinnerFlipped, LoserFlipped []float32 // The same, or both empty.
	Embeds                      []float32 // [n, EmbedsShape…]
	Pooled, TimeIDs             []float32 // [n, PooledShape…] and [n, 6], or both empty.
	EmptyEmbeds, EmptyPooled    []float32 // [1, EmbedsShape…] and [1, PooledShape…] of the empty prompt, or both empty.
}

// Names of the tensors.
const (
	winnerName        = "winner_moments"
	loserName         = "loser_moments"
	winnerFlippedName = "winner_moments_flipped"
	loserFlippedName  = "loser_moments_flipped"
	embedsName        = "prompt_embeds"
	pooledName        = "pooled_prompt_embeds"
	timeIDsName       = "time_ids"
	emptyEmbedsName   = "empty_prompt_embeds"
	emptyPooledName   = "empty_pooled_prompt_embeds"
)

// timeIDs is how many time ids a pair has.
const timeIDs = 6

// Bounds of a shard, checked before anything is allocated.
const (
	maxPairs    = 1 << 20
	maxElements = 1 << 28 // Of one pair's moments or embedding: 1 GiB.
)

// Write writes the shard; equal shards give equal bytes. It refuses shapes that do not fit and
// values that are not finite: they would make every later step fail.
func (s *Shard) Write(w io.Writer) error {
	if len(s.PairIDs) < 1 || len(s.PairIDs) > maxPairs {
		return fmt.Errorf("write latents: a shard holds from 1 to %d pairs, got %d", maxPairs, len(s.PairIDs))
	}
	tensors := []tensor{
		{winnerName, s.MomentsShape, s.Winner, s.PairIDs}, {loserName, s.MomentsShape, s.Loser, s.PairIDs}, {embedsName, s.EmbedsShape, s.Embeds, s.PairIDs},
	}
	if len(s.WinnerFlipped)+len(s.LoserFlipped) > 0 {
		tensors = append(tensors, tensor{winnerFlippedName, s.MomentsShape, s.WinnerFlipped, s.PairIDs},
			tensor{loserFlippedName, s.MomentsShape, s.LoserFlipped, s.PairIDs})
	}
	if len(s.Pooled)+len(s.TimeIDs) > 0 {
		tensors = append(tensors, tensor{pooledName, s.PooledShape, s.Pooled, s.PairIDs}, tensor{timeIDsName, []int{timeIDs}, s.TimeIDs, s.PairIDs})
	}
	empty := []string{"(the empty prompt)"}
	if len(s.EmptyEmbeds) > 0 {
		tensors = append(tensors, tensor{emptyEmbedsName, s.EmbedsShape, s.EmptyEmbeds, empty})
	}
	if len(s.EmptyPooled) > 0 {
		tensors = append(tensors, tensor{emptyPooledName, s.PooledShape, s.EmptyPooled, empty})
	}
	var entries []safetensors.Entry
	for _, t := range tensors {
		if err := t.check(); err != nil {
			return err
		}
		shape := append([]int{len(t.ids)}, t.shape...)
		entries = append(entries, safetensors.Entry{Name: t.name, DType: safetensors.F32, Shape: shape, Data: t.data})
	}
	ids, err := json.Marshal(s.PairIDs)
	if err != nil {
		return fmt.Errorf("write latents: %w", err)
	}
	return safetensors.Write(w, entries, map[string]string{"format": Format, "key": s.Key, "pairs": string(ids)})
}

// tensor is one tensor of a shard; shape is of one of the pairs that it is for.
type tensor struct {
	name  string
	shape []int
	data  []float32
	ids   []string
}

// check reports a length that does not fit the shape, or a value that is not finite.
func (t tensor) check() error {
	n, err := elements(t.shape)
	if err != nil {
		return fmt.Errorf("write latents: %s: %w", t.name, err)
	}
	if len(t.data) != n*len(t.ids) {
		return fmt.Errorf("write latents: %s has %d elements, want %d pairs of %v", t.name, len(t.data), len(t.ids), t.shape)
	}
	for i, v := range t.data {
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("write latents: %s of pair %s is %v at element %d: the encoder fails on this picture or prompt, "+
				"leave the pair out", t.name, t.ids[i/n], v, i%n)
		}
	}
	return nil
}

// elements returns the product of a shape of positive sizes, at most maxElements.
func elements(shape []int) (int, error) {
	n := 1
	for _, d := range shape {
		if d < 1 || d > maxElements/n {
			return 0, fmt.Errorf("the shape %v of one pair must be positive and at most %d elements", shape, maxElements)
		}
		n *= d
	}
	return n, nil
}

// sameShape says whether two shapes are equal.
func sameShape(a, b []int) bool { return slices.Equal(a, b) }
