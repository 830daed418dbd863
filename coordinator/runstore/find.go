package runstore

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Find resolves RUN as commands take it: a run folder, a run id under out, or "latest".
func Find(out, run string) (string, error) {
	if run == "" || run == "latest" {
		return newest(out)
	}
	for _, dir := range []string{filepath.Join(out, run), run} {
		if _, err := os.Stat(filepath.Join(dir, manifestName)); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("run %q is neither a run folder nor a run id under %s; list %s for the ids", run, out, out)
}

// newest is the run folder under out whose manifest changed last.
func newest(out string) (string, error) {
	manifests, err := filepath.Glob(filepath.Join(out, "*", manifestName))
	if err != nil {
		return "", fmt.Errorf("list runs: %w", err)
	}
	found := newestOf(manifests)
	if found == "" {
		return "", fmt.Errorf("no run under %s; start one with `coordinator up`, or name its folder with --out", out)
	}
	return found, nil
}

// newestOf is the folder of the manifest that changed last, or "".
func newestOf(manifests []string) string {
	var found string
	var at time.Time
	for _, m := range manifests {
		info, err := os.Stat(m)
		if err == nil && (found == "" || info.ModTime().After(at)) {
			found, at = filepath.Dir(m), info.ModTime()
		}
	}
	return found
}
