package worker

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"yohaku/dataset"
	"yohaku/dataset/latents"
	"yohaku/internal/wire"
	"yohaku/model/encode"
)

// maxBatchBytes bounds a batch of pictures.
const maxBatchBytes = 2 << 30

// Pictures and prompts that are encoded at a time.
const (
	picturesAtATime = 2
	promptsAtATime  = 4
)

// encode turns a batch of pairs into a shard of latents and hands it over.
func (w *Worker) encode(ctx context.Context, j wire.EncodeJob) (wire.Done, error) {
	batch, err := w.fetchBatch(ctx, j.Batch)
	if err != nil {
		return wire.Done{}, err
	}
	if err := w.openEncoders(ctx, j); err != nil {
		return wire.Done{}, err
	}
	shard, err := w.encoders.shard(ctx, j, batch)
	if err != nil {
		return wire.Done{}, err
	}
	var data bytes.Buffer
	if err := shard.Write(&data); err != nil {
		return wire.Done{}, fmt.Errorf("write shard: %w", err)
	}
	ref, err := w.files.put(ctx, data.Bytes())
	return wire.Done{Shard: &ref}, err
}

func (w *Worker) fetchBatch(ctx context.Context, ref wire.Ref) (wire.Batch, error) {
	if ref.Size > maxBatchBytes {
		return nil, fmt.Errorf("batch of %d bytes, at most %d", ref.Size, maxBatchBytes)
	}
	file, err := w.files.get(ctx, ref)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read batch: %w", err)
	}
	return wire.DecodeBatch(data)
}

// encoders are the compiled encoders of the last encode job, for the next one.
type encoders struct {
	digest     string
	resolution int
	pictures   *encode.Pictures
	text       *encode.Text
	empty      *encode.Embedding // Of the empty prompt, once it was asked for.
}

func (w *Worker) openEncoders(ctx context.Context, j wire.EncodeJob) error {
	folder, digest, err := w.modelFolder(ctx, j.Model)
	if err != nil {
		return err
	}
	if w.encoders != nil && w.encoders.digest == digest && w.encoders.resolution == j.Resolution {
		return nil
	}
	e := &encoders{digest: digest, resolution: j.Resolution}
	autoencoder, err := folder.Sub("vae")
	if err != nil {
		return err
	}
	if e.pictures, err = encode.OpenPictures(autoencoder, w.backend, picturesAtATime, j.Resolution, j.Resolution); err != nil {
		return fmt.Errorf("open picture encoder: %w", err)
	}
	if e.text, err = encode.OpenText(folder, w.backend, promptsAtATime); err != nil {
		return fmt.Errorf("open text encoder: %w", err)
	}
	w.encoders = e
	return nil
}

// shard encodes the pairs of a batch.
func (e *encoders) shard(ctx context.Context, j wire.EncodeJob, batch wire.Batch) (*latents.Shard, error) {
	channels, height, width := e.pictures.LatentShape()
	s := &latents.Shard{Key: j.Key, MomentsShape: []int{2 * channels, height, width}, EmbedsShape: []int{e.text.Length(), e.text.Dim()}}
	prompts := make([]string, len(batch))
	for i, p := range batch {
		s.PairIDs = append(s.PairIDs, p.ID)
		prompts[i] = p.Prompt
	}
	if j.EmptyPrompt {
		empty, err := e.emptyPrompt()
		if err != nil {
			return nil, err
		}
		s.EmptyEmbeds, s.EmptyPooled = empty.Tokens, empty.Pooled
	}
	embeds, err := e.text.Encode(prompts)
	if err != nil {
		return nil, fmt.Errorf("encode prompts: %w", err)
	}
	for _, x := range embeds {
		s.Embeds = append(s.Embeds, x.Tokens...)
		s.Pooled = append(s.Pooled, x.Pooled...)
	}
	var times []float32
	if s.Winner, s.Loser, times, err = e.moments(ctx, j, batch, false); err != nil {
		return nil, err
	}
	if n := e.text.PooledDim(); n > 0 {
		s.PooledShape, s.TimeIDs = []int{n}, times
	}
	if j.RandomFlip {
		s.WinnerFlipped, s.LoserFlipped, _, err = e.moments(ctx, j, batch, true)
	}
	return s, err
}

// emptyPrompt encodes the empty prompt, once. It is "" in SDXL's encoders too, as diffusers' training scripts have it.
func (e *encoders) emptyPrompt() (*encode.Embedding, error) {
	if e.empty == nil {
		embeds, err := e.text.Encode([]string{""})
		if err != nil {
			return nil, fmt.Errorf("encode the empty prompt: %w", err)
		}
		e.empty = &embeds[0]
	}
	return e.empty, nil
}

// moments encodes the pictures of all pairs, and returns their time ids too.
func (e *encoders) moments(ctx context.Context, j wire.EncodeJob, batch wire.Batch, flip bool) (winner, loser, times []float32, err error) {
	transform := dataset.Transform{Resolution: j.Resolution, CenterCrop: j.CenterCrop, Seed: j.Seed}
	for _, p := range batch {
		if ctx.Err() != nil {
			return nil, nil, nil, context.Cause(ctx)
		}
		pixels, err := transform.Pair(&dataset.Pair{ID: p.ID, Prompt: p.Prompt, Winner: p.Winner, Loser: p.Loser, LoserFirst: p.LoserFirst}, flip)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("pair %s: %w", p.ID, err)
		}
		ids := pixels.TimeIDs()
		times = append(times, ids[:]...)
		both, err := e.pictures.Encode([][]float32{pixels.Winner, pixels.Loser})
		if err != nil {
			return nil, nil, nil, fmt.Errorf("encode pair %s: %w", p.ID, err)
		}
		winner, loser = append(winner, both[0]...), append(loser, both[1]...)
	}
	return winner, loser, times, nil
}
