package coordinator

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"yohaku/coordinator/runstore"
	"yohaku/internal/bus/blob"
	"yohaku/internal/logkey"
	"yohaku/internal/wire"
)

// trainerFile holds the optimizer's state in a checkpoint folder.
const trainerFile = "trainer_state.safetensors"

// unetPrefixes begin the paths of the files of the UNet, and of its moving average, in a checkpoint folder.
var unetPrefixes = []string{"unet/", "unet_ema/"}

// adapterFile holds a trained adapter in a checkpoint folder, as diffusers names it.
const adapterFile = "pytorch_lora_weights.safetensors"

// keepCheckpoint makes a checkpoint folder of what rank 0 handed over: the base's files with the
// new UNet, or a trained adapter alone, and the trainer's state.
func (c *Coordinator) keepCheckpoint(s wire.TrainState) error {
	if last := c.training.state; last != nil && s.Step <= last.Step {
		return nil // A repeat.
	}
	if s.Step > c.training.step {
		c.log.Warn().Int(logkey.Step, s.Step).Int("recorded", c.training.step).Msg("checkpoint not kept: it is of steps that the run went back on")
		return c.removeHanded(s)
	}
	start := time.Now()
	var files []runstore.File
	if c.o.Config.LoRARank == 0 {
		files = slices.DeleteFunc(slices.Clone(c.model.all), func(f runstore.File) bool { return hasPrefix(f.Path, unetPrefixes) })
	}
	handed := handedFiles(s)
	for _, h := range handed {
		source, err := c.blobs.Path(blob.Ref(h.Ref))
		if err != nil {
			return fmt.Errorf("checkpoint of step %d: %s: %w", s.Step, h.Path, err)
		}
		files = append(files, runstore.File{Path: h.Path, Source: source, SHA256: h.Ref.SHA256, Own: filepath.Dir(source) == c.run.Path("blobs")})
	}
	if err := c.run.SyncLogs(); err != nil {
		return fmt.Errorf("sync logs: %w", err)
	}
	if err := c.run.SaveCheckpoint(s.Step, s.SHA256, files); err != nil {
		return fmt.Errorf("save checkpoint: %w; free some space and --resume the run", err)
	}
	if err := c.adopt(s); err != nil {
		return err
	}
	c.log.Info().Int(logkey.Step, s.Step).Str(logkey.CheckpointSHA256, s.SHA256).Dur(logkey.DurationMS, time.Since(start)).Msg("checkpoint saved")
	c.offsite.changed()
	return c.run.Prune(c.o.Config.CheckpointsTotalLimit)
}

// handedFiles are what rank 0 handed over.
func handedFiles(s wire.TrainState) []wire.ModelFile {
	return append(slices.Clone(s.Weights), wire.ModelFile{Path: trainerFile, Ref: s.Trainer})
}

// removeHanded removes the copies that were handed over.
func (c *Coordinator) removeHanded(s wire.TrainState) error {
	for _, h := range handedFiles(s) {
		file, err := c.blobs.Path(blob.Ref(h.Ref))
		if err != nil || filepath.Dir(file) != c.run.Path("blobs") {
			continue // Of the base model, which stays.
		}
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) { // Two files of one content are one here.
			return fmt.Errorf("remove handed-over file: %w", err)
		}
	}
	return nil
}

// adopt makes the newest checkpoint the one that generations start from, in place of what was handed over.
func (c *Coordinator) adopt(s wire.TrainState) error {
	if err := c.removeHanded(s); err != nil {
		return err
	}
	all, err := c.run.Checkpoints()
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errors.New("the checkpoint just saved is not in the run folder; was it removed by hand?")
	}
	c.training.state, err = c.offerCheckpoint(all[len(all)-1])
	return err
}

// offerCheckpoint names a checkpoint's files for the workers.
func (c *Coordinator) offerCheckpoint(k runstore.Checkpoint) (*wire.TrainState, error) {
	digest, err := k.Digest()
	if err != nil {
		return nil, fmt.Errorf("read checkpoint digest: %w", err)
	}
	state := &wire.TrainState{Step: k.Step, SHA256: digest}
	for name := range k.Sums {
		weights := hasPrefix(name, unetPrefixes) || name == adapterFile
		if !weights && name != trainerFile {
			continue
		}
		ref, err := c.blobs.Register(filepath.Join(k.Dir, filepath.FromSlash(name)))
		if err != nil {
			return nil, fmt.Errorf("checkpoint: %w", err)
		}
		if weights {
			state.Weights = append(state.Weights, wire.ModelFile{Path: name, Ref: wire.Ref(ref)})
		} else {
			state.Trainer = wire.Ref(ref)
		}
	}
	slices.SortFunc(state.Weights, func(a, b wire.ModelFile) int { return strings.Compare(a.Path, b.Path) })
	return state, nil
}
