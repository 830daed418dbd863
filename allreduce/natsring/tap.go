package natsring

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
)

// tap sits between nats.go and its connection. Messages of one subject are read into the ring's own buffers, and never pass
// through nats.go; frames are written beside what nats.go writes. All else, nats.go sees as it is.
type tap struct {
	net.Conn
	in      *bufio.Reader
	rest    []byte // Read, and due to nats.go.
	subject []byte
	take    func(frame []byte) // Gets a tapped message in a buffer of the pool, and owns it.
	pool    *pool

	writing sync.Mutex
}

const (
	// readAhead is small, so that next to all of a chunk is read into its place at once.
	readAhead = 512
	// lineRoom is kept in front of a frame for the line that publishes it.
	lineRoom = 256
)

// newTap taps the subject. take is called by whoever reads the connection; it may block.
func newTap(c net.Conn, subject string, p *pool, take func([]byte)) *tap {
	return &tap{Conn: c, in: bufio.NewReaderSize(c, readAhead), subject: []byte(subject), take: take, pool: p}
}

// Write implements net.Conn. nats.go writes whole operations.
func (t *tap) Write(b []byte) (int, error) {
	t.writing.Lock()
	defer t.writing.Unlock()
	return t.Conn.Write(b)
}

// publish publishes b[lineRoom:] in one write. It uses b's room in front and two bytes behind.
func (t *tap) publish(subject string, b []byte) error {
	var line [lineRoom]byte
	l := append(line[:0], "PUB "...)
	l = append(l, subject...)
	l = append(l, ' ')
	l = strconv.AppendInt(l, int64(len(b)-lineRoom), 10)
	l = append(l, '\r', '\n')
	if len(l) > lineRoom {
		return fmt.Errorf("subject of %d bytes is too long", len(subject))
	}
	start := lineRoom - len(l)
	copy(b[start:], l)
	b = append(b, '\r', '\n')
	_, err := t.Write(b[start:])
	return err
}

// Read implements net.Conn.
func (t *tap) Read(b []byte) (int, error) {
	for len(t.rest) == 0 {
		if err := t.next(); err != nil {
			return 0, err
		}
	}
	n := copy(b, t.rest)
	t.rest = t.rest[n:]
	return n, nil
}

// next takes one tapped message, or puts one line and what belongs to it into rest.
func (t *tap) next() error {
	line, err := t.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		t.rest = append(t.rest[:0], line...) // A long line; it is none that begins a message.
		return nil
	}
	if err != nil {
		return err
	}
	size, mine, ok := t.message(line)
	switch {
	case !ok:
		t.rest = append(t.rest[:0], line...)
		return nil
	case mine:
		return t.tapped(size)
	}
	t.rest = append(append(t.rest[:0], line...), make([]byte, size+2)...)
	_, err = io.ReadFull(t.in, t.rest[len(line):])
	return err
}

// message reads the line of a message: MSG subject sid [reply] size. HMSG has other sizes before the last one.
func (t *tap) message(line []byte) (size int, mine, ok bool) {
	if !bytes.HasPrefix(line, []byte("MSG ")) && !bytes.HasPrefix(line, []byte("HMSG ")) {
		return 0, false, false
	}
	text := bytes.TrimRight(line, "\r\n")
	size, err := strconv.Atoi(string(text[bytes.LastIndexByte(text, ' ')+1:]))
	if err != nil || size < 0 || size > maxForeignBytes {
		return 0, false, false // nats.go will refuse it.
	}
	rest, plain := bytes.CutPrefix(text, []byte("MSG "))
	end := bytes.IndexByte(rest, ' ')
	return size, plain && end > 0 && bytes.Equal(rest[:end], t.subject), true
}

// maxForeignBytes bounds what is read for nats.go at once.
const maxForeignBytes = 4 << 20

func (t *tap) tapped(size int) error {
	if size > maxFrameBytes {
		_, err := t.in.Discard(size + 2) // No frame of ours.
		return err
	}
	frame := t.pool.get()[:size]
	if _, err := io.ReadFull(t.in, frame); err != nil {
		return err
	}
	if _, err := t.in.Discard(2); err != nil {
		return err
	}
	t.take(frame)
	return nil
}

// pool keeps buffers for frames. The last one returned is the first one used, as it is still near.
type pool struct {
	mu   sync.Mutex
	free [][]byte
}

func (p *pool) get() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free = p.free[:n-1]
		return b
	}
	return make([]byte, maxFrameBytes+8)[:maxFrameBytes]
}

// put takes a buffer back; what is not of the pool is left to the garbage collector.
func (p *pool) put(b []byte) {
	if cap(b) < maxFrameBytes {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, b[:maxFrameBytes])
}
