// Package folder reads preference pairs from a folder with a metadata.jsonl file: one JSON object
// a line, either
//
//	{"prompt": "a red mug", "winner": "a.png", "loser": "b.png"}
//	{"prompt": "a red mug", "image_0": "a.png", "image_1": "b.png", "label_0": 1}
//
// The prompt may also be called caption or text, and each picture key may end in _file_name, as
// the datasets library's image folders have it. label_0 is 1 when image_0 won, 0 when image_1 did,
// 0.5 for a tie; label_1 is optional. Other keys are ignored, and so are blank lines.
//
// Invariants: a bad line becomes a Reject with its line number (from 1); no picture outside the
// folder is opened, whatever the names and links say; no line or file is read beyond its bound.
package folder

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"yohaku/dataset"
)

// MetadataName is the file that names the pairs.
const MetadataName = "metadata.jsonl"

// Bounds of what is read.
const (
	maxLineBytes    = 1 << 20
	maxPictureBytes = 256 << 20
)

// Source is a folder of pictures with its metadata.
type Source struct {
	path     string // As the operator gave it.
	dir      string // Where the metadata file is; picture names are relative to it.
	metadata string // Name of the metadata file in dir.
}

// Find returns the metadata file for path: itself when it is a .jsonl file, otherwise
// metadata.jsonl in it, or in its train folder. It returns fs.ErrNotExist when there is none.
func Find(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return path, nil
	}
	for _, dir := range []string{path, filepath.Join(path, "train")} {
		file := filepath.Join(dir, MetadataName)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return file, nil
		}
	}
	return "", fs.ErrNotExist
}

// Open checks that path is a folder with metadata.jsonl, or such a file.
func Open(path string) (*Source, error) {
	file, err := Find(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open pairs: %s has no %s: write one, with a line for each pair such as "+
			`{"prompt": "a red mug", "winner": "a.png", "loser": "b.png"}`, path, MetadataName)
	}
	if err != nil {
		return nil, fmt.Errorf("open pairs: %w", err)
	}
	if err := checkNoArray(file); err != nil {
		return nil, err
	}
	return &Source{path: path, dir: filepath.Dir(file), metadata: filepath.Base(file)}, nil
}

// checkNoArray refuses the common mistake of one JSON array instead of JSON Lines.
func checkNoArray(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("open pairs: %w", err)
	}
	defer f.Close() // Read only.
	start := make([]byte, 512)
	n, err := io.ReadFull(f, start)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("read %s: %w", file, err)
	}
	if bytes.HasPrefix(bytes.TrimSpace(trimBOM(start[:n])), []byte("[")) {
		return fmt.Errorf("%s is a JSON array; one JSON object a line is needed: convert it with jq -c '.[]'", file)
	}
	return nil
}

// Name returns the path that was opened.
func (s *Source) Name() string { return s.path }

// Each implements dataset.Source. Row is the line number, from 1.
func (s *Source) Each(ctx context.Context, yield func(dataset.Record) error) error {
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return fmt.Errorf("open pairs: %w", err)
	}
	defer root.Close() // Read only.
	f, err := os.Open(filepath.Join(s.dir, s.metadata))
	if err != nil {
		return fmt.Errorf("open pairs: %w", err)
	}
	defer f.Close() // Read only.
	return eachLine(f, func(row int, line []byte, lineErr error) error {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if lineErr == nil && len(bytes.TrimSpace(line)) == 0 {
			return nil
		}
		p, err := readPair(root, line, lineErr)
		if err != nil {
			return yield(dataset.Record{Reject: &dataset.Reject{File: s.metadata, Row: row, Reason: err.Error()}})
		}
		p.File, p.Row = s.metadata, row
		return yield(dataset.Record{Pair: p})
	})
}

// eachLine calls yield for every line of r, without its end, numbered from 1. A line beyond
// maxLineBytes comes with an error instead.
func eachLine(r io.Reader, yield func(row int, line []byte, lineErr error) error) error {
	b := bufio.NewReaderSize(r, 64<<10)
	var line []byte
	for row := 1; ; row++ {
		line = line[:0]
		tooLong := false
		for {
			part, err := b.ReadSlice('\n')
			if tooLong = tooLong || len(line)+len(part) > maxLineBytes; !tooLong {
				line = append(line, part...)
			}
			if err == nil {
				break
			}
			if errors.Is(err, bufio.ErrBufferFull) {
				continue
			}
			if !errors.Is(err, io.EOF) {
				return fmt.Errorf("read %s line %d: %w", MetadataName, row, err)
			}
			if len(line) == 0 && !tooLong {
				return nil
			}
			return yieldLine(row, line, tooLong, yield)
		}
		if err := yieldLine(row, line, tooLong, yield); err != nil {
			return err
		}
	}
}

func yieldLine(row int, line []byte, tooLong bool, yield func(int, []byte, error) error) error {
	if tooLong {
		return yield(row, nil, fmt.Errorf("the line is longer than %d bytes", maxLineBytes))
	}
	if row == 1 {
		line = trimBOM(line)
	}
	return yield(row, bytes.TrimRight(line, "\r\n"), nil)
}

// trimBOM removes the byte order mark that some editors write.
func trimBOM(b []byte) []byte { return bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")) }

// readPair parses a line and reads its pictures.
func readPair(root *os.Root, line []byte, lineErr error) (*dataset.Pair, error) {
	if lineErr != nil {
		return nil, lineErr
	}
	e, err := parseLine(line)
	if err != nil {
		return nil, err
	}
	p := &dataset.Pair{Prompt: e.prompt, Tie: e.tie, Annotator: e.annotator, License: e.license, Origin: e.origin}
	if p.Winner, err = readPicture(root, e.first); err != nil {
		return nil, err
	}
	if p.Loser, err = readPicture(root, e.second); err != nil {
		return nil, err
	}
	if !e.firstWins {
		p.Swap()
	}
	return p, nil
}

// readPicture reads a file of the folder.
func readPicture(root *os.Root, name string) ([]byte, error) {
	local, err := localName(name)
	if err != nil {
		return nil, err
	}
	info, err := root.Stat(local)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the picture %q is not there", name)
	case err != nil:
		return nil, fmt.Errorf("the picture %q cannot be read (a link that leaves the folder is not followed): %w", name, cause(err))
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("the picture %q is no regular file", name)
	case info.Size() > maxPictureBytes:
		return nil, fmt.Errorf("the picture %q has %d bytes; at most %d are read", name, info.Size(), maxPictureBytes)
	}
	f, err := root.Open(local)
	if err != nil {
		return nil, fmt.Errorf("the picture %q cannot be read: %w", name, cause(err))
	}
	defer f.Close() // Read only.
	data, err := io.ReadAll(io.LimitReader(f, maxPictureBytes))
	if err != nil {
		return nil, fmt.Errorf("the picture %q cannot be read: %w", name, cause(err))
	}
	return data, nil
}

// cause strips the operation and path that os errors carry: the message names the file already.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// localName checks a picture's name and gives it the local form. Backslashes count as separators,
// since metadata written on Windows has them.
func localName(name string) (string, error) {
	clean := path.Clean(strings.ReplaceAll(name, `\`, "/"))
	local, err := filepath.Localize(clean)
	if err != nil || clean == "." {
		return "", fmt.Errorf("the picture name %q must be a path within the folder", name)
	}
	return local, nil
}
