package verify

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"yohaku/internal/wire"
)

// eachLine calls f for every line of a file without its line end; whole is false for a last line
// that has none. A file that is not there has no lines.
func eachLine(dir, name string, f func(number int, line []byte, whole bool)) error {
	path := filepath.Join(dir, name)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read run: %w", err)
	}
	defer file.Close() // Only read.
	s := bufio.NewScanner(file)
	s.Buffer(nil, wire.MaxMessageBytes)
	s.Split(withLineEnd)
	number := 0
	for s.Scan() {
		number++
		line, whole := bytes.CutSuffix(s.Bytes(), []byte{'\n'})
		f(number, line, whole)
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("read %s after line %d: %w; lines have at most %d bytes", path, number, err, wire.MaxMessageBytes)
	}
	return nil
}

// withLineEnd splits into lines that keep their '\n', so that a missing one shows.
func withLineEnd(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i+1], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// cutOff is the problem of a line without an end.
const cutOff = "the line is cut off, as by a crash or a full disk; `coordinator up --resume` drops it and computes its step again"
