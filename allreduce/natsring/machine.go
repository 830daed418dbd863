package natsring

import (
	"errors"
	"time"

	"yohaku/internal/assert"
)

// settings are what all ranks of a ring agree on, and how patient this one is.
type settings struct {
	generation  uint64
	rank, world int
	window      int           // Most chunks of an operation ahead of the acknowledgement.
	silence     time.Duration // A neighbour that was heard is lost after so long without a frame.
	join        time.Duration // One that never was is lost so long after an operation began.
}

func (s settings) next() int { return (s.rank + 1) % s.world }
func (s settings) prev() int { return (s.rank + s.world - 1) % s.world }

// machine is a rank's part in the ring, pure: frames, calls and ticks go in, each with its time;
// frames (nextFrame) and the outcome of the running operation (takeOutcome) are taken out after each.
//
// Invariants: at most one operation runs. A frame takes effect only in the operation that it names.
// Operations only go forward by position; within a position each runs once. At most window chunks
// of the running operation are sent beyond what was acknowledged, and at most stashWindows windows are kept.
type machine struct {
	settings
	prevPeer, nextPeer peer
	linkUp             bool // The next rank says that this rank's beats reach it.
	lastTick, lastBeat time.Time

	running *operation
	outcome *outcome
	last    key      // The last operation that ended well.
	floor   position // Of the last operation that began.
	done    []key    // What ended well at floor.
	void    map[position]voided
	news    *abort // Of a rank lost, while this one had nothing running.

	stash   []stashed
	control control
	drops   drops
}

// peer is a neighbour's liveness.
type peer struct {
	heard   bool
	heardAt time.Time
}

type operation struct {
	key      key
	job      job
	began    time.Time
	sent     int
	acked    int // Taken by the next rank, as far as known.
	received int
	told     int // The received count that the previous rank was told.
}

type outcome struct {
	key key
	err error
}

// stashed is a chunk for an operation that has not begun here.
type stashed struct {
	header  header
	payload []byte
}

// voided is why a position is void, for the caller and for the neighbours.
type voided struct {
	err error
	why abort
}

// control holds the small frames that are due.
type control struct {
	beat, ack bool
	aborts    []abort
}

type abort struct {
	toNext  bool
	at      position
	reason  reason
	rank    int // Who fell silent, or gave up.
	silence time.Duration
}

// drops counts frames that had no effect, by why.
type drops struct{ malformed, foreign, stale, repeated, full int }

const (
	stashWindows = 4
	maxVoid      = 16
)

func newMachine(s settings) *machine {
	assert.That(s.world >= 1 && s.rank >= 0 && s.rank < s.world && s.window >= 1, "settings %+v", s)
	m := &machine{settings: s, void: map[position]voided{}}
	if s.world > 1 {
		m.control.beat, m.control.ack = true, true
	}
	return m
}

// begin starts an operation. The caller sees to it that none is running. It returns an error, and
// nothing runs, when the operation is void already or out of order.
func (m *machine) begin(now time.Time, k key, j job) error {
	assert.That(m.running == nil && m.outcome == nil, "an operation begins while another one is running")
	m.heedNews(k.position)
	if v, ok := m.void[k.position]; ok {
		return v.err
	}
	if err := m.advance(k); err != nil {
		return err
	}
	m.running = &operation{key: k, job: j, began: now}
	m.replay()
	m.finishIfDone()
	return nil
}

// replay feeds what arrived before begin.
func (m *machine) replay() {
	held := m.stash
	m.stash = nil
	for _, s := range held {
		m.data(s.header, s.payload)
	}
}

// fromPrevious handles a frame that arrived on this rank's data subject.
func (m *machine) fromPrevious(now time.Time, frame []byte) {
	h, payload, ok := m.open(frame, m.prev())
	if !ok {
		return
	}
	if !m.prevPeer.heard {
		m.control.ack = true
	}
	m.prevPeer = peer{true, now}
	switch h.kind {
	case kindData:
		m.data(h, payload)
	case kindBeat:
		m.beat(h)
	case kindAbort:
		m.aborted(h, payload)
	default:
		m.drops.foreign++
	}
}

// fromNext handles a frame that arrived on this rank's ack subject.
func (m *machine) fromNext(now time.Time, frame []byte) {
	h, payload, ok := m.open(frame, m.next())
	if !ok {
		return
	}
	m.nextPeer = peer{true, now}
	switch h.kind {
	case kindAck:
		m.ack(h)
	case kindAbort:
		m.aborted(h, payload)
	default:
		m.drops.foreign++
	}
}

func (m *machine) open(frame []byte, from int) (header, []byte, bool) {
	h, payload, err := decodeFrame(frame)
	if err != nil {
		m.drops.malformed++
		return h, nil, false
	}
	if h.generation != m.generation || h.from != uint32(from) {
		m.drops.foreign++
		return h, nil, false
	}
	return h, payload, true
}

// data takes a chunk if it is the running operation's next, and keeps it if it may be wanted later.
func (m *machine) data(h header, payload []byte) {
	op := m.running
	switch {
	case op != nil && h.key == op.key:
		m.take(op, h, payload)
	case m.stale(h.key):
		m.drops.stale++
	case len(m.stash) >= stashWindows*m.window:
		m.drops.full++
	default:
		m.stash = append(m.stash, stashed{h, payload})
		m.leftBehind(h.key)
	}
}

func (m *machine) take(op *operation, h header, payload []byte) {
	switch {
	case h.chunk < uint32(op.received):
		m.drops.repeated++
	case h.chunk > uint32(op.received):
		m.lost(op)
	default:
		if err := op.job.accept(payload); err != nil {
			m.fail(err, abort{reason: reasonInvalid, rank: m.rank})
			return
		}
		op.received++
		if op.received-op.told >= max(1, m.window/2) {
			m.control.ack = true
		}
		m.finishIfDone()
	}
}

func (m *machine) lost(op *operation) {
	m.fail(&ChunkLostError{Generation: m.generation, Rank: m.prev(), Operation: op.key.operation(), Chunk: op.received},
		abort{reason: reasonChunkLost, rank: m.rank})
}

// beat notes how far the previous rank is. Its chunks came before, on the same subject.
func (m *machine) beat(h header) {
	m.remind(h, false)
	if h.aux != 0 {
		m.control.ack = true
	}
	op := m.running
	if op == nil || h.key.job == 0 {
		return
	}
	if h.key != op.key {
		if !m.stale(h.key) {
			m.leftBehind(h.key)
		}
		return
	}
	if _, complete := op.job.progress(); !complete && h.chunk > uint32(op.received) {
		m.lost(op)
	}
}

// leftBehind fails the running operation when the previous rank is at seen, a later one, while
// chunks are still to come: it will not send them.
func (m *machine) leftBehind(seen key) {
	op := m.running
	if op == nil {
		return
	}
	if _, complete := op.job.progress(); complete {
		return
	}
	m.fail(&SupersededError{Generation: m.generation, Rank: m.prev(), Operation: op.key.operation(), Seen: seen.operation()},
		abort{reason: reasonSuperseded, rank: m.rank})
}

// ack notes what the next rank took.
func (m *machine) ack(h header) {
	m.remind(h, true)
	if h.aux == 0 {
		m.control.beat = true // It has not heard a beat yet.
		return
	}
	m.linkUp = true
	op := m.running
	if op == nil || h.key.job == 0 {
		return
	}
	if h.key != op.key {
		if !m.stale(h.key) {
			op.acked = op.sent // It has left this operation, and takes or drops whatever still comes.
		}
		return
	}
	if h.chunk == allChunks {
		op.acked = op.sent
	} else if int64(h.chunk) <= int64(op.sent) {
		op.acked = max(op.acked, int(h.chunk))
	}
}

// finishIfDone ends the running operation when everything came and everything went.
func (m *machine) finishIfDone() {
	op := m.running
	if op == nil {
		return
	}
	if sendable, complete := op.job.progress(); complete && op.sent == sendable {
		m.done, m.last = append(m.done, op.key), op.key
		m.end(op, nil)
	}
}

// fail voids the running operation's position here and tells both neighbours why.
func (m *machine) fail(err error, why abort) {
	op := m.running
	if op == nil {
		return
	}
	m.voidPosition(op.key.position, err, why)
	m.end(op, err)
}

func (m *machine) end(op *operation, err error) {
	m.running = nil
	m.outcome = &outcome{op.key, err}
}

// takeOutcome returns how the operation ended, once.
func (m *machine) takeOutcome() (outcome, bool) {
	o := m.outcome
	m.outcome = nil
	if o == nil {
		return outcome{}, false
	}
	return *o, true
}

var errOrder = errors.New("operations must go forward: take a higher step or attempt")
