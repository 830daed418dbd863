// Package source opens a data set by its path, whatever its layout.
package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"yohaku/dataset"
	"yohaku/dataset/folder"
	"yohaku/dataset/pickapic"
)

// Open returns the source at path: a *.parquet file, a *.jsonl file, a folder with metadata.jsonl,
// or a folder with *.parquet files, in this order.
func Open(path string) (dataset.Source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open data %q: %w: give a parquet file, or a folder with parquet files or %s", path, reason(err), folder.MetadataName)
	}
	if !info.IsDir() {
		return openFile(path)
	}
	if _, err := folder.Find(path); err == nil {
		return opened(folder.Open(path))
	}
	s, err := pickapic.Open(path)
	if errors.Is(err, pickapic.ErrNoFiles) {
		return nil, fmt.Errorf("open data %q: the folder has neither %s nor *.parquet files", path, folder.MetadataName)
	}
	return opened(s, err)
}

// openFile picks by the file's extension.
func openFile(path string) (dataset.Source, error) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".parquet":
		return opened(pickapic.Open(path))
	case ".jsonl", ".ndjson":
		return opened(folder.Open(path))
	}
	return nil, fmt.Errorf("open data %q: the file is neither .parquet nor .jsonl: give one of them, or a folder", path)
}

// opened keeps a nil pointer of one type from becoming a Source that is not nil.
func opened[S dataset.Source](s S, err error) (dataset.Source, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// reason strips the path that os errors carry: the message names it already.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
