package coordinator

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"yohaku/coordinator/checkpointstore/storetest"
	"yohaku/coordinator/config"
	"yohaku/coordinator/runstore"
)

// TestCheckpointsComeBackFromTheStore: a run whose checkpoints are gone goes on from the stored one, and not from one whose
// steps its ledger lacks.
func TestCheckpointsComeBackFromTheStore(t *testing.T) {
	bucket := storetest.New()
	server := httptest.NewServer(bucket)
	defer server.Close()
	t.Setenv("AWS_ACCESS_KEY_ID", "someone")
	t.Setenv("AWS_SECRET_ACCESS_KEY", storetest.Secret)
	run, err := runstore.Create(t.TempDir(), runstore.Manifest{RunID: "r1"})
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	var log strings.Builder
	c := &Coordinator{run: run, log: zerolog.New(&log), o: Options{Config: config.Config{
		CheckpointStore: "s3://pictures/runs?insecure=true&region=r&endpoint=" + strings.TrimPrefix(server.URL, "http://"), CheckpointsTotalLimit: 1,
	}}}
	source := filepath.Join(t.TempDir(), "w")
	if err := os.WriteFile(source, []byte("weights"), 0o600); err != nil {
		t.Fatal(err)
	}
	ref, err := runstore.HashFile(source)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.openOffsite(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, step := range []int{10, 20} {
		if err := run.SaveCheckpoint(step, "d", []runstore.File{{Path: "unet/w", Source: source, SHA256: ref.SHA256}}); err != nil {
			t.Fatal(err)
		}
		c.offsite.changed()
		if err := c.storeLast(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	c.offsite.close()
	if err := os.RemoveAll(run.Path("checkpoints")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(run.Path("checkpoints"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, recorded := range []int{19, 20} {
		c.training.step = recorded
		if err := c.openOffsite(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.offsite.close()
		all, err := run.Checkpoints()
		if err != nil {
			t.Fatal(err)
		}
		if want := recorded - 19; len(all) != want {
			t.Fatalf("with a ledger of %d steps %d checkpoints came back, want %d", recorded, len(all), want)
		}
		for _, k := range all {
			if err := k.Verify(); err != nil || k.Step != 20 {
				t.Errorf("step %d: %v", k.Step, err)
			}
		}
	}
	if strings.Contains(log.String(), storetest.Secret) {
		t.Error("the log holds the secret")
	}
}
