package natsring

import (
	"bytes"
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
	ahead   []byte // Read, and not yet looked at: the end of buffer.
	buffer  [readAhead]byte
	rest    []byte // Read, and due to nats.go.
	subject []byte
	take    func(frame []byte) // Gets a tapped message in a buffer of the pool, and owns it.
	pool    *pool

	writing sync.Mutex
}

const (
	// readAhead is what is read beyond a message: with luck the head of the next one, so that a chunk takes one read. It is
	// small, since the bytes of a chunk that are in it are copied once more.
	readAhead = 512
	// lineRoom is kept in front of a frame for the line that publishes it.
	lineRoom = 256
	// bufferBytes holds a frame, the end of its line, and what is read ahead.
	bufferBytes = maxFrameBytes + 2 + readAhead
)

// newTap taps the subject. take is called by whoever reads the connection; it may block.
func newTap(c net.Conn, subject string, p *pool, take func([]byte)) *tap {
	return &tap{Conn: c, subject: []byte(subject), take: take, pool: p}
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
	line, whole, err := t.line()
	if err != nil {
		return err
	}
	size, mine, ok := 0, false, false
	if whole {
		size, mine, ok = t.message(line)
	}
	switch {
	case mine && size <= maxFrameBytes:
		return t.tapped(size)
	case mine:
		_, err := io.CopyN(io.Discard, (*unread)(t), int64(size+2)) // No frame of ours.
		return err
	case !ok:
		t.rest = append(t.rest[:0], line...)
		return nil
	}
	t.rest = append(append(t.rest[:0], line...), make([]byte, size+2)...)
	_, err = io.ReadFull((*unread)(t), t.rest[len(t.rest)-size-2:])
	return err
}

// unread reads what is ahead, and then from the connection.
type unread tap

func (u *unread) Read(b []byte) (int, error) {
	if len(u.ahead) == 0 {
		return u.Conn.Read(b)
	}
	n := copy(b, u.ahead)
	u.ahead = u.ahead[n:]
	return n, nil
}

// line takes the next line, or as much of a longer one as is read ahead: whole is false then. It is valid until the next read.
func (t *tap) line() (line []byte, whole bool, err error) {
	for {
		if i := bytes.IndexByte(t.ahead, '\n'); i >= 0 {
			line, t.ahead = t.ahead[:i+1], t.ahead[i+1:]
			return line, true, nil
		}
		if len(t.ahead) == readAhead {
			line, t.ahead = t.ahead, nil
			return line, false, nil
		}
		n := copy(t.buffer[:], t.ahead)
		m, err := t.Conn.Read(t.buffer[n:])
		t.ahead = t.buffer[:n+m]
		if m == 0 && err != nil {
			return nil, false, err
		}
	}
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

// tapped reads a message of ours into a buffer of the pool, with the line's end and what follows close behind it.
func (t *tap) tapped(size int) error {
	b := t.pool.get()
	frame, end := b[:size], size+2
	n := copy(b[:end], t.ahead)
	t.ahead = t.ahead[n:]
	if n < end {
		m, err := io.ReadAtLeast(t.Conn, b[n:end+readAhead], end-n)
		if err != nil {
			t.pool.put(b)
			return err
		}
		t.ahead = t.buffer[:copy(t.buffer[:], b[end:n+m])]
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
	return make([]byte, bufferBytes)
}

// put takes a buffer back; what is not of the pool is left to the garbage collector.
func (p *pool) put(b []byte) {
	if cap(b) < bufferBytes {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, b[:bufferBytes])
}
