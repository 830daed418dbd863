package coordinator

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// followPause is how often a followed file is looked at.
const followPause = 50 * time.Millisecond

// follower repeats what is appended to a file, line by line.
type follower struct {
	file *os.File
	out  io.Writer
	rest []byte // A line whose end is not there yet.
	stop chan struct{}
	done chan struct{}
}

// followFile repeats what is appended to the file from now on.
func followFile(path string, out io.Writer) (*follower, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o644)
	if err == nil {
		_, err = file.Seek(0, io.SeekEnd)
	}
	if err != nil {
		return nil, fmt.Errorf("follow log of local workers: %w", err)
	}
	f := &follower{file: file, out: out, stop: make(chan struct{}), done: make(chan struct{})}
	go f.run()
	return f, nil
}

func (f *follower) run() {
	defer close(f.done)
	for {
		f.repeat()
		select {
		case <-f.stop:
			f.repeat() // What came while the last workers ended.
			return
		case <-time.After(followPause):
		}
	}
}

// repeat copies the whole lines that are there. A reader that went away does not stop the run.
func (f *follower) repeat() {
	var buf [32 << 10]byte
	for {
		n, err := f.file.Read(buf[:])
		f.rest = append(f.rest, buf[:n]...)
		if end := bytes.LastIndexByte(f.rest, '\n'); end >= 0 {
			_, _ = f.out.Write(f.rest[:end+1]) // As above.
			f.rest = append(f.rest[:0], f.rest[end+1:]...)
		}
		if n == 0 || err != nil {
			return
		}
	}
}

// close ends the repetition, once all that is there was repeated.
func (f *follower) close() error {
	close(f.stop)
	<-f.done
	if err := f.file.Close(); err != nil {
		return errors.Join(errors.New("close log of local workers"), err)
	}
	return nil
}
