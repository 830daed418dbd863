package coordinator

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"yohaku/coordinator/config"
	"yohaku/coordinator/runstore"
)

// options are those of a run in a fresh folder that announces nothing.
func options(t *testing.T) Options {
	t.Helper()
	c := config.Defaults()
	c.Out, c.RunID = t.TempDir(), "r"
	return Options{
		Config: c, Log: zerolog.Nop(), UnpackModel: func(dir string) error { return os.Mkdir(dir, 0o755) }, Announce: func(string, string, *runstore.Run) {},
		LocalStarted: func(*os.Process) {}, WorkerLog: os.Stderr,
	}
}

// TestAFailureBeforeTrainingLeavesNoFolder: neither a program that is not there, nor one that ends.
func TestAFailureBeforeTrainingLeavesNoFolder(t *testing.T) {
	for name, tc := range map[string]struct {
		command []string
		want    string
	}{
		"not there": {[]string{filepath.Join(t.TempDir(), "gone")}, "start local worker"},
		"ends":      {[]string{"false"}, "ended before training: exit status 1; its log above says why"},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			o.WorkerCommand = tc.command
			_, err := Run(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want an error with %q", err, tc.want)
			}
			if _, err := os.Stat(filepath.Join(o.Config.Out, "r")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the run folder is still there: %v", err)
			}
		})
	}
}

// TestAStopBeforeTrainingKeepsTheFolder, so that the run can be resumed.
func TestAStopBeforeTrainingKeepsTheFolder(t *testing.T) {
	o := options(t)
	o.Config.LocalWorkers, o.WorkerCommand = 0, []string{"unused"}
	stop := make(chan struct{})
	close(stop)
	o.Stop = stop
	if _, err := Run(t.Context(), o); !errors.Is(err, ErrStopped) {
		t.Errorf("%v, want ErrStopped", err)
	}
	if _, err := runstore.ReadManifest(filepath.Join(o.Config.Out, "r")); err != nil {
		t.Error(err)
	}
}

func TestASecondRunOfTheSameIDLeavesTheFirstAlone(t *testing.T) {
	o := options(t)
	run, err := runstore.Create(o.Config.Out, runstore.Manifest{RunID: "r"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = run.Close() }() // It is the test's own.
	if _, err := Run(t.Context(), o); !errors.Is(err, runstore.ErrExists) {
		t.Errorf("%v, want ErrExists", err)
	}
	o.ResumeDir = run.Dir
	if _, err := Run(t.Context(), o); !errors.Is(err, runstore.ErrLocked) {
		t.Errorf("resume of a run that is going on: %v, want ErrLocked", err)
	}
	if _, err := os.Stat(run.Path("manifest.json")); err != nil {
		t.Error(err)
	}
}

func TestLastWords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "workers.log")
	if err := os.WriteFile(path, []byte("a line\nerror: no memory\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := (&localWorkers{log: path}).lastWords(); got != "its log ends with: error: no memory" {
		t.Errorf("got %q", got)
	}
}
