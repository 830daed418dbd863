package latents

import (
	"errors"
	"fmt"
	"sort"
)

// Set is a data set in shards: pair i counts through them in order. It is safe for concurrent use.
type Set struct {
	shards []*Reader
	ends   []int // Pairs up to and with each shard.
}

// NewSet joins shards, which must agree in shapes and flips. The set owns them; when there is an
// error the caller still does.
func NewSet(shards ...*Reader) (*Set, error) {
	if len(shards) == 0 {
		return nil, errors.New("join latents: no shard is given")
	}
	s := &Set{}
	total := 0
	for _, r := range shards {
		first := shards[0]
		if !sameShape(r.moments, first.moments) || !sameShape(r.embeds, first.embeds) || !sameShape(r.pooled, first.pooled) || r.HasFlipped() != first.HasFlipped() {
			return nil, fmt.Errorf("join latents: %s has moments %v, embeddings %v, pooled %v, flips %v; %s has %v, %v, %v, %v: encode them again together",
				r.name, r.moments, r.embeds, r.pooled, r.HasFlipped(), first.name, first.moments, first.embeds, first.pooled, first.HasFlipped())
		}
		total += r.Len()
		s.shards, s.ends = append(s.shards, r), append(s.ends, total)
	}
	return s, nil
}

// Len returns the number of pairs.
func (s *Set) Len() int { return s.ends[len(s.ends)-1] }

// MomentsShape returns the shape of one picture's moments.
func (s *Set) MomentsShape() []int { return s.shards[0].MomentsShape() }

// EmbedsShape returns the shape of one prompt's embedding.
func (s *Set) EmbedsShape() []int { return s.shards[0].EmbedsShape() }

// PooledShape returns the shape of one prompt's pooled embedding, nil when there is none.
func (s *Set) PooledShape() []int { return s.shards[0].PooledShape() }

// HasFlipped says whether the moments of the mirrored pictures are there.
func (s *Set) HasFlipped() bool { return s.shards[0].HasFlipped() }

// Pair reads pair i into dst, as Reader.Pair.
func (s *Set) Pair(i int, flipped bool, dst *Latents) error {
	if i < 0 || i >= s.Len() {
		return fmt.Errorf("read latents: pair %d is not among the %d", i, s.Len())
	}
	k := sort.SearchInts(s.ends, i+1)
	r := s.shards[k]
	return r.Pair(i-(s.ends[k]-r.Len()), flipped, dst)
}

// Empty reads the embedding of the empty prompt, as Reader.Empty, from the first shard.
func (s *Set) Empty(dst *Latents) error { return s.shards[0].Empty(dst) }

// Close releases all shards.
func (s *Set) Close() error {
	var all []error
	for _, r := range s.shards {
		all = append(all, r.Close())
	}
	return errors.Join(all...)
}
