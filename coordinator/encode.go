package coordinator

import (
	"context"
	"errors"
	"fmt"
	"os"

	"yohaku/coordinator/api"
	"yohaku/dataset"
	"yohaku/dataset/latents"
	"yohaku/internal/bus/blob"
	"yohaku/internal/wire"
)

// pairsPerBatch is the number of pairs in an encode job.
const pairsPerBatch = 16

// encode has the workers turn pairs into latents, batch by batch. Shards that the run folder
// holds already are reused.
func (c *Coordinator) encode(ctx context.Context) error {
	store, err := latents.Open(c.run.Path("latents"))
	if err != nil {
		return err
	}
	c.show(func(s *api.Status) { s.State = "encoding" })
	var jobs []wire.Job
	var keys []string
	pairs := c.o.Data.Pairs
	for lo := 0; lo < len(pairs); lo += pairsPerBatch {
		batch := pairs[lo:min(lo+pairsPerBatch, len(pairs))]
		key := c.shardKey(batch)
		keys = append(keys, key)
		if store.Has(key) {
			continue
		}
		job, err := c.encodeJob(key, batch)
		if err != nil {
			return err
		}
		jobs = append(jobs, job)
	}
	c.progress.phase("encoding pairs", len(jobs))
	done := 0
	if err := c.spread(ctx, jobs, func(i int, d wire.Done) error {
		done++
		c.progress.at(done)
		return c.keepShard(store, jobs[i].Encode.Key, d.Shard)
	}); err != nil {
		return err
	}
	return c.offerShards(store, keys)
}

func (c *Coordinator) transform() dataset.Transform {
	return dataset.Transform{Resolution: c.o.Resolution, CenterCrop: c.o.Config.CenterCrop, Seed: c.o.Config.Seed}
}

// shardKey names the shard of a batch by all that its content depends on.
func (c *Coordinator) shardKey(batch []dataset.Pair) string {
	ids := make([]string, len(batch))
	for i, p := range batch {
		ids[i] = p.ID
	}
	preprocessing := c.transform().String()
	if c.o.Config.RandomFlip {
		preprocessing += ", flips"
	}
	if c.o.Config.ProportionEmptyPrompts > 0 {
		preprocessing += ", empty prompt"
	}
	return latents.Key(ids, c.model.encoder, preprocessing, c.run.Manifest.KernelSet)
}

// encodeJob writes a batch of pairs as a blob and describes the job.
func (c *Coordinator) encodeJob(key string, pairs []dataset.Pair) (wire.Job, error) {
	batch := make(wire.Batch, len(pairs))
	for i, p := range pairs {
		batch[i] = wire.BatchPair{ID: p.ID, Prompt: p.Prompt, Winner: p.Winner, Loser: p.Loser, LoserFirst: p.LoserFirst}
	}
	data, err := batch.Encode()
	if err != nil {
		return wire.Job{}, fmt.Errorf("write batch: %w", err)
	}
	ref, err := c.blobs.Put(data)
	if err != nil {
		return wire.Job{}, fmt.Errorf("keep batch: %w", err)
	}
	return wire.Job{Kind: wire.JobEncode, Encode: &wire.EncodeJob{
		Model: c.model.wire(), Batch: wire.Ref(ref), Key: key, Resolution: c.o.Resolution, CenterCrop: c.o.Config.CenterCrop,
		RandomFlip: c.o.Config.RandomFlip, EmptyPrompt: c.o.Config.ProportionEmptyPrompts > 0, Seed: c.o.Config.Seed,
	}}, nil
}

// keepShard moves a shard that was handed over into the run's store.
func (c *Coordinator) keepShard(store *latents.Store, key string, ref *wire.Ref) error {
	if ref == nil {
		return errors.New("encode job ended without a shard")
	}
	file, err := c.blobs.Path(blob.Ref(*ref))
	if err != nil {
		return fmt.Errorf("find shard: %w", err)
	}
	path, err := store.Path(key)
	if err != nil {
		return err
	}
	if err := os.Rename(file, path); err != nil {
		return fmt.Errorf("keep shard: %w", err)
	}
	shard, err := store.Get(key) // Checks that it is the shard of this key.
	if err != nil {
		return errors.Join(err, store.Remove(key))
	}
	return shard.Close()
}

// offerShards names the shards for the workers, in the order of the pairs, and writes the order
// down for those who compute a step again.
func (c *Coordinator) offerShards(store *latents.Store, keys []string) error {
	if err := store.SetOrder(keys); err != nil {
		return fmt.Errorf("keep the order of shards: %w", err)
	}
	for _, key := range keys {
		path, err := store.Path(key)
		if err != nil {
			return err
		}
		ref, err := c.blobs.Register(path)
		if err != nil {
			return fmt.Errorf("offer shard: %w", err)
		}
		c.shards = append(c.shards, wire.Ref(ref))
	}
	return nil
}
