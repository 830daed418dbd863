package membership

import (
	"errors"
	"strings"
	"sync"

	"github.com/hashicorp/memberlist"
)

// meta hands this node's metadata to memberlist, which uses nothing else of its Delegate here.
type meta struct {
	mu   sync.Mutex
	data []byte
}

func (m *meta) set(data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.data = data
}

func (m *meta) NodeMeta(int) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.data
}

func (m *meta) NotifyMsg([]byte)                {}
func (m *meta) GetBroadcasts(_, _ int) [][]byte { return nil }
func (m *meta) LocalState(bool) []byte          { return nil }
func (m *meta) MergeRemoteState([]byte, bool)   {}

// conflicts turns a second node of one name into an event, once for each pair of name and address
// in a row: memberlist repeats it with every gossip message.
type conflicts struct {
	own   string
	queue *queue
	mine  *ownConflict

	mu   sync.Mutex
	last Node
}

func (c *conflicts) NotifyConflict(_, other *memberlist.Node) {
	n := nodeOf(other)
	c.mu.Lock()
	repeat := c.last.Name == n.Name && c.last.Addr == n.Addr
	c.last = n
	c.mu.Unlock()
	if repeat {
		return
	}
	if n.Name == c.own {
		c.mine.note(n)
	}
	c.queue.add(Event{Kind: Conflict, Node: n})
}

// ownConflict remembers the first other node seen under this node's name.
type ownConflict struct {
	mu   sync.Mutex
	seen bool
	node Node
}

func (o *ownConflict) note(n Node) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.seen {
		o.seen, o.node = true, n
	}
}

func (o *ownConflict) first() (Node, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.node, o.seen
}

// logLines reads "[LEVEL] memberlist: text" lines.
type logLines func(level, line string)

func (f logLines) Write(p []byte) (int, error) {
	level, text := "info", strings.TrimSpace(string(p))
	if rest, ok := strings.CutPrefix(text, "["); ok {
		if name, after, ok := strings.Cut(rest, "]"); ok {
			level, text = levelOf(name), strings.TrimSpace(after)
		}
	}
	f(level, strings.TrimPrefix(text, "memberlist: "))
	return len(p), nil
}

func levelOf(name string) string {
	switch name {
	case "DEBUG":
		return "debug"
	case "WARN":
		return "warn"
	case "ERR", "ERROR":
		return "error"
	}
	return "info"
}

// oneLine flattens memberlist's lists of errors.
func oneLine(err error) error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if text == err.Error() {
		return err
	}
	return &flatError{text: text, err: err}
}

type flatError struct {
	text string
	err  error
}

func (e *flatError) Error() string { return e.text }
func (e *flatError) Unwrap() error { return errors.Unwrap(e.err) }
