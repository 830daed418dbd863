// Package pickapic reads preference pairs from parquet files in the layout of Pick-a-Pic v2:
//
//	jpg_0, jpg_1  encoded pictures, as binary or as the datasets library's struct{bytes, path}
//	label_0       1: picture 0 won, 0: picture 1 won, 0.5: a tie; integer, float or boolean
//	label_1       optional; must be 1 − label_0
//	caption       the prompt
//	has_label     optional; a row where it is false is set aside
//
// Other columns are not read. Rows stream page by page, so a file may be larger than the memory.
//
// Invariant: a bad row becomes a Reject; a file that is not whole, or lacks a column, is an error.
package pickapic

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"

	"yohaku/dataset"
)

// Source is one parquet file, or the files of a folder in the order of their names.
type Source struct {
	path  string
	files []string
}

// Open lists the files of path, a parquet file or a folder with some (directly, or in a folder
// named data, as hubs keep them), and checks the columns of each. When a folder holds several
// splits, named as in train-00000-of-00004.parquet, the train split is taken.
func Open(path string) (*Source, error) {
	files, err := list(path)
	if err != nil {
		return nil, err
	}
	s := &Source{path: path, files: files}
	for _, name := range files {
		if err := withFile(name, func(*parquet.File, *columns) error { return nil }); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Name returns the path that was opened.
func (s *Source) Name() string { return s.path }

// Files returns the parquet files that are read, in order.
func (s *Source) Files() []string { return slices.Clone(s.files) }

// ErrNoFiles says that a folder holds no parquet file.
var ErrNoFiles = errors.New("the folder has no *.parquet file")

// list returns the parquet files at path.
func list(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open pairs: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	for _, dir := range []string{path, filepath.Join(path, "data")} {
		files, err := filesIn(dir)
		if err != nil {
			return nil, err
		}
		if len(files) > 0 {
			return trainSplit(files), nil
		}
	}
	return nil, fmt.Errorf("%s: %w", path, ErrNoFiles)
}

func filesIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir) // Sorted by name.
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list pairs: %w", err)
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && strings.HasSuffix(strings.ToLower(e.Name()), ".parquet") && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil
}

// shard matches the names of a split's files.
var shard = regexp.MustCompile(`^(.+)-\d+-of-\d+`)

// trainSplit keeps the train split when the files are of several splits.
func trainSplit(files []string) []string {
	var train []string
	for _, f := range files {
		if m := shard.FindStringSubmatch(filepath.Base(f)); m != nil && m[1] == "train" {
			train = append(train, f)
		}
	}
	if len(train) > 0 {
		return train
	}
	return files
}

// Each implements dataset.Source. Row counts from 0 within a file.
func (s *Source) Each(ctx context.Context, yield func(dataset.Record) error) error {
	for _, name := range s.files {
		err := withFile(name, func(f *parquet.File, c *columns) error {
			row := 0
			for _, group := range f.RowGroups() {
				if err := eachRow(ctx, group, c, s.relative(name), &row, yield); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// relative returns a file's name within the source.
func (s *Source) relative(file string) string {
	if rel, err := filepath.Rel(s.path, file); err == nil && rel != "." {
		return filepath.ToSlash(rel)
	}
	return filepath.Base(file)
}

// stop carries an error of yield or of the context through withFile, which must not wrap it.
type stop struct{ err error }

func (s stop) Error() string { return s.err.Error() }

// withFile opens a parquet file, finds its columns and calls use. A panic of the parquet library,
// which damaged files can cause, becomes an error.
func withFile(name string, use func(*parquet.File, *columns) error) (err error) {
	file, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("open parquet file: %w", err)
	}
	defer file.Close() // Read only.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read parquet file %s: it is damaged (%v): get it again", name, p)
		}
		if s := (stop{}); errors.As(err, &s) {
			err = s.err
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("open parquet file: %w", err)
	}
	f, err := parquet.OpenFile(file, info.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return fmt.Errorf("open parquet file %s (%d bytes): %w: it is not a whole parquet file", name, info.Size(), err)
	}
	c, err := findColumns(f, name)
	if err != nil {
		return err
	}
	return use(f, c)
}
