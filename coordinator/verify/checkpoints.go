package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"yohaku/coordinator/runstore"
)

// sumsFile lists a checkpoint's files.
const sumsFile = "SHA256SUMS"

// readCheckpoints checks every checkpoint of the run in dir: its files are those of SHA256SUMS,
// and the ledger has its step.
func readCheckpoints(dir string, steps int) ([]runstore.Checkpoint, []Problem, error) {
	all, err := (&runstore.Run{Dir: dir}).Checkpoints()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil // Not one yet.
	}
	p := problems{file: "checkpoints"}
	if err != nil {
		p.add(0, "%v", err)
		return nil, p.all, nil
	}
	folders, err := filepath.Glob(filepath.Join(dir, "checkpoints", "step-*"))
	if err != nil {
		return nil, nil, fmt.Errorf("list checkpoints: %w", err)
	}
	for _, folder := range folders {
		if _, err := os.Stat(filepath.Join(folder, sumsFile)); err != nil {
			p.add(0, "%s has no %s: checkpoints appear whole or not at all", filepath.Base(folder), sumsFile)
		}
	}
	for _, c := range all {
		p.file = "checkpoints/" + filepath.Base(c.Dir)
		if c.Step > steps {
			p.add(0, "is of step %d, but %s ends at step %d: lines of the ledger are gone", c.Step, ledgerFile, steps)
		}
		if err := c.Verify(); err != nil {
			p.add(0, "%v", err)
		}
		if err := unlisted(c, &p); err != nil {
			return nil, nil, err
		}
	}
	return all, p.all, nil
}

// unlisted finds files that no digest vouches for.
func unlisted(c runstore.Checkpoint, p *problems) error {
	err := filepath.WalkDir(c.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(c.Dir, path)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		if _, ok := c.Sums[name]; !ok && name != sumsFile && !strings.HasPrefix(d.Name(), ".") {
			p.add(0, "%s is not in %s: remove it", name, sumsFile)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list checkpoint: %w", err)
	}
	return nil
}
