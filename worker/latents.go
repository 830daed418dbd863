package worker

import (
	"context"
	"fmt"

	"yohaku/dataset/latents"
	"yohaku/internal/wire"
)

// pairLatents are the encoded pairs of a run, read as they are needed.
type pairLatents struct {
	set           *latents.Set
	height, width int
	channels      int
	contextLength int
	empty         latents.Latents // Embeddings of the empty prompt, where captions are dropped.
	next          int
	ring          []latents.Latents // Of the pairs of a micro-batch, which live at the same time.
}

// openLatents fetches the shards and opens them as one set of the given number of pairs; at most
// live pairs are in use at a time. empty asks for the empty prompt too.
func (w *Worker) openLatents(ctx context.Context, shards []wire.Ref, pairs, live int, empty bool) (*pairLatents, error) {
	var readers []*latents.Reader
	for _, ref := range shards {
		file, err := w.files.get(ctx, ref)
		if err != nil {
			return nil, fmt.Errorf("fetch latents: %w", err)
		}
		r, err := latents.OpenShard(file)
		if err != nil {
			return nil, err
		}
		readers = append(readers, r)
	}
	set, err := latents.NewSet(readers...)
	if err != nil {
		return nil, err
	}
	moments, embeds := set.MomentsShape(), set.EmbedsShape()
	if set.Len() != pairs || len(moments) != 3 || len(embeds) != 2 {
		return nil, fmt.Errorf("latents: %d pairs with moments %v and embeddings %v, want %d pairs with [2C h w] and [L D]", set.Len(), moments, embeds, pairs)
	}
	p := &pairLatents{
		set: set, channels: moments[0] / 2, height: moments[1], width: moments[2], contextLength: embeds[0],
		ring: make([]latents.Latents, live),
	}
	if !empty {
		return p, nil
	}
	return p, set.Empty(&p.empty)
}

// latentLen is the number of elements of a latent.
func (p *pairLatents) latentLen() int { return p.channels * p.height * p.width }

// pair reads pair i. The result is overwritten after as many further calls as pairs may live.
func (p *pairLatents) pair(i int, flipped bool) (*latents.Latents, error) {
	dst := &p.ring[p.next%len(p.ring)]
	p.next++
	return dst, p.set.Pair(i, flipped, dst)
}

func (p *pairLatents) close() error { return p.set.Close() }
