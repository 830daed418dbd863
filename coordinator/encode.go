package coordinator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"yohaku/coordinator/api"
	"yohaku/dataset"
	"yohaku/internal/bus/blob"
	"yohaku/internal/wire"
)

// pairsPerBatch is the number of pairs in an encode job.
const pairsPerBatch = 16

// shardIndex is latents.json: the shards encoded so far, by content key.
const shardIndex = "latents.json"

// encode has the workers turn pairs into latents, batch by batch. Shards that the run folder
// holds already are reused.
func (c *Coordinator) encode(ctx context.Context) error {
	index, err := c.readShardIndex()
	if err != nil {
		return err
	}
	c.show(func(s *api.Status) { s.State = "encoding" })
	var jobs []wire.Job
	var at []int
	pairs := c.o.Data.Pairs
	for lo := 0; lo < len(pairs); lo += pairsPerBatch {
		job, err := c.encodeJob(pairs[lo:min(lo+pairsPerBatch, len(pairs))])
		if err != nil {
			return err
		}
		c.shards = append(c.shards, index[job.Key])
		if c.held(index[job.Key]) {
			continue
		}
		at = append(at, len(c.shards)-1)
		jobs = append(jobs, wire.Job{Kind: wire.JobEncode, Encode: &job})
	}
	done := 0
	c.progress.phase("encoding pairs", len(jobs))
	return c.spread(ctx, jobs, func(i int, d wire.Done) error {
		if d.Shard == nil {
			return errors.New("encode job ended without a shard")
		}
		done++
		c.progress.at(done)
		c.shards[at[i]] = *d.Shard
		index[jobs[i].Encode.Key] = *d.Shard
		return c.run.WriteJSON(shardIndex, index)
	})
}

// held tells whether a shard is in the run folder.
func (c *Coordinator) held(ref wire.Ref) bool {
	_, err := c.blobs.Path(blob.Ref(ref))
	return ref.SHA256 != "" && err == nil
}

func (c *Coordinator) readShardIndex() (map[string]wire.Ref, error) {
	index := map[string]wire.Ref{}
	data, err := os.ReadFile(c.run.Path(shardIndex))
	if errors.Is(err, fs.ErrNotExist) {
		return index, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &index)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w; remove the file to encode again", c.run.Path(shardIndex), err)
	}
	return index, nil
}

// encodeJob writes a batch of pairs as a blob and describes the job. The key of its shard covers
// all that its content depends on.
func (c *Coordinator) encodeJob(pairs []dataset.Pair) (wire.EncodeJob, error) {
	batch := make(wire.Batch, len(pairs))
	for i, p := range pairs {
		batch[i] = wire.BatchPair{ID: p.ID, Prompt: p.Prompt, Winner: p.Winner, Loser: p.Loser, LoserFirst: p.LoserFirst}
	}
	data, err := batch.Encode()
	if err != nil {
		return wire.EncodeJob{}, fmt.Errorf("write batch: %w", err)
	}
	ref, err := c.blobs.Put(data)
	if err != nil {
		return wire.EncodeJob{}, fmt.Errorf("keep batch: %w", err)
	}
	job := wire.EncodeJob{
		Model: c.model.wire(), Batch: wire.Ref(ref), Resolution: c.o.Resolution, CenterCrop: c.o.Config.CenterCrop,
		RandomFlip: c.o.Config.RandomFlip, Seed: c.o.Config.Seed,
	}
	key := job
	key.Model = wire.Model{}
	keySum := sha256.Sum256(append(wire.Encode(key), c.model.encoder+c.run.Manifest.KernelSet...))
	job.Key = hex.EncodeToString(keySum[:])
	return job, nil
}
