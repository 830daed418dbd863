package verify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"yohaku/coordinator"
	"yohaku/dataset/latents"
	"yohaku/internal/wire"
)

// Origin is what a step is computed again from.
type Origin struct {
	Step   int      // Steps that State holds: the nearest checkpoint's, 0 for the base model.
	Base   string   // The base model's pipeline folder, or State where nothing of the base is needed.
	State  string   // The checkpoint's folder; "" for the base model.
	Shards []string // Files of latents, in the order of the pairs.
}

// Origin finds the nearest state before step n. The base model is where the run left it, or in
// modelDir when that is not empty; its digest must be the manifest's.
func (r *Run) Origin(ctx context.Context, n int, modelDir string) (Origin, error) {
	if n < 1 || n > r.Steps() {
		return Origin{}, fmt.Errorf("--step must be from 1 to %d, the last step of the ledger, got %d", r.Steps(), n)
	}
	var o Origin
	for _, c := range r.Checkpoints {
		if c.Step < n {
			o.Step, o.State, o.Base = c.Step, c.Dir, c.Dir
		}
	}
	var err error
	if o.Step == 0 || r.Config.NeedsBase() {
		if o.Base, err = r.baseModel(ctx, modelDir); err != nil {
			return Origin{}, err
		}
	}
	o.Shards, err = r.shards()
	return o, err
}

// baseModel finds the model that the run started from.
func (r *Run) baseModel(ctx context.Context, dir string) (string, error) {
	if dir == "" {
		dir = r.Config.Model
	}
	if dir == "" {
		dir = filepath.Join(r.Dir, "model") // The built-in one was unpacked there.
	}
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("--model: the base model of the run: %w; name the folder where it is now", err)
	}
	digest, err := coordinator.ModelDigest(ctx, dir)
	if err != nil {
		return "", err
	}
	if want := r.Manifest.ModelDigest; digest != want {
		return "", fmt.Errorf("--model: %s has digest %.12s…, the run was started on %.12s…; name the folder that holds that model", dir, digest, want)
	}
	return dir, nil
}

// shards are the files of the run's latents.
func (r *Run) shards() ([]string, error) {
	dir := filepath.Join(r.Dir, "latents")
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("latents of the run: %w; `coordinator up --resume %s` encodes them again", err, r.Manifest.RunID)
	}
	store, err := latents.Open(dir)
	if err != nil {
		return nil, err
	}
	keys, err := store.Order()
	if errors.Is(err, latents.ErrNotFound) {
		return r.onlyShard(dir, err)
	}
	if err != nil {
		return nil, err
	}
	files := make([]string, len(keys))
	for i, key := range keys {
		shard, err := store.Get(key) // Checks that it is there and holds that key.
		if err != nil {
			return nil, fmt.Errorf("shard %d of %d: %w; `coordinator up --resume %s` encodes it again", i+1, len(keys), err, r.Manifest.RunID)
		}
		if err := shard.Close(); err != nil {
			return nil, fmt.Errorf("close shard: %w", err)
		}
		if files[i], err = store.Path(key); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// onlyShard serves runs of versions that did not write the order down: with one shard there is
// but one order.
func (r *Run) onlyShard(dir string, missing error) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.safetensors"))
	if err != nil || len(files) != 1 {
		return nil, fmt.Errorf("order of the %d shards: %w; `coordinator up --resume %s` writes it down", len(files), errors.Join(missing, err), r.Manifest.RunID)
	}
	return files, nil
}

// MismatchError says that a step computed again is not the ledger's.
type MismatchError struct {
	Step      int
	Key       string // What differs.
	Here, Run any
	Hint      string
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("step %d computed again has %s %v, %s line %d has %v: %s", e.Step, e.Key, e.Here, ledgerFile, e.Step, e.Run, e.Hint)
}

// Compare holds a step that was computed again against the ledger; origin is what the computation
// started from. It returns a *MismatchError when they differ.
func (r *Run) Compare(got wire.StepReport, origin Origin) error {
	want := r.ledger.steps[got.Step]
	hint := "the ledger, the state at step " + fmt.Sprint(origin.Step) + " or the latents were changed, or one of the machines computes wrongly"
	if rate := r.rates[got.Step]; rate != got.LearningRate {
		hint = fmt.Sprintf("the learning rate was %g, by the manifest it is %g; was the run resumed with other --steps?", rate, got.LearningRate)
	}
	for _, f := range []struct {
		key       string
		got, want any
	}{{"skipped", got.Skipped, want.Skipped}, {"sums_sha256", got.SumsSHA256, want.SumsSHA256}, {"params_sha256", got.ParamsSHA256, want.ParamsSHA256}} {
		if f.got != f.want {
			return &MismatchError{Step: got.Step, Key: f.key, Here: f.got, Run: f.want, Hint: hint}
		}
	}
	return nil
}
