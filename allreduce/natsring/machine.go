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
	offer       string        // What the next rank needs to connect to this one's server; "" when it cannot.
	pulls       bool          // This rank can connect to the previous one's server.
}

// way is where a frame goes: to the next or the previous rank, through the routes or in one hop on that rank's connection
// for bulk.
type way uint8

const (
	nextRouted way = iota
	nextDirect
	prevRouted
	prevDirect
)

// path is how frames from the previous rank come. The number is what an ack tells it.
type path uint32

const (
	pathOpen path = iota // Not decided yet: no chunk is to be sent.
	pathRouted
	pathDirect
)

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
	linkUp             bool // The next rank says that this rank's beats reach it, and where it wants frames.
	toNext             way
	fromPrev           path
	dialled            bool   // An offer of the previous rank was taken up.
	toDial             string // That offer, for the shell to take.
	lastTick, lastBeat time.Time

	running *operation
	outcome *outcome
	last    key      // The last operation that ended well.
	floor   position // Of the last operation that began.
	done    []key    // What ended well at floor.
	void    map[position]voided
	news    *abort // Of a rank lost, while this one had nothing running.

	stash   []stashed
	freed   [][]byte // Frames that were kept and are no longer needed, for the shell to take.
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
	told     int       // The received count that the previous rank was told.
	waiting  []stashed // Chunks after those received, of a bucket that was not handed over here.
}

type outcome struct {
	key key
	err error
}

// stashed is a chunk that came before it can be taken.
type stashed struct {
	header         header
	payload, frame []byte // The payload is a part of the frame.
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
		if !m.data(s) {
			m.freed = append(m.freed, s.frame)
		}
	}
}

// fromPrevious handles a frame that arrived on this rank's data subject. A frame that it keeps is in freed later.
func (m *machine) fromPrevious(now time.Time, frame []byte) (kept bool) {
	h, payload, ok := m.open(frame, m.prev())
	if !ok {
		return false
	}
	m.prevPeer = peer{true, now}
	switch h.kind {
	case kindData:
		return m.data(stashed{h, payload, frame})
	case kindBeat:
		m.beat(h, payload)
	case kindAbort:
		m.aborted(h, payload)
	default:
		m.drops.foreign++
	}
	return false
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
func (m *machine) data(s stashed) (kept bool) {
	op, k := m.running, s.header.key
	switch {
	case op != nil && k == op.key:
		return m.take(op, s)
	case m.stale(k):
		m.drops.stale++
	case len(m.stash) >= stashWindows*m.window:
		m.drops.full++
	default:
		m.stash = append(m.stash, s)
		m.leftBehind(k)
		return true
	}
	return false
}

func (m *machine) take(op *operation, s stashed) (kept bool) {
	switch have := uint32(op.received + len(op.waiting)); {
	case s.header.chunk < have:
		m.drops.repeated++
	case s.header.chunk > have:
		m.lost(op)
	case len(op.waiting) >= m.window:
		m.drops.full++ // Beyond its credit: it is missed by the next one.
	case len(op.waiting) > 0 || !op.job.ready():
		op.waiting = append(op.waiting, s)
		return true
	default:
		m.accept(op, s.payload)
	}
	return false
}

func (m *machine) accept(op *operation, payload []byte) {
	if err := op.job.accept(payload); err != nil {
		m.disagree(op, err)
		return
	}
	op.received++
	if op.received-op.told >= max(1, m.window/2) {
		m.control.ack = true
	}
	m.finishIfDone()
}

// disagree ends an operation that the ranks do not have the same idea of.
func (m *machine) disagree(op *operation, err error) {
	why := abort{reason: reasonInvalid, rank: m.rank}
	var wrong *TallyError
	if errors.As(err, &wrong) {
		wrong.Generation, wrong.Operation, why.reason = m.generation, op.key.operation(), reasonTally
	}
	m.fail(err, why)
}

// handOver has the running reduction, if it is k, take its first buckets as complete, and the chunks that waited for them.
func (m *machine) handOver(k key, buckets int) {
	op := m.running
	if op == nil || op.key != k {
		return // It has failed.
	}
	op.job.(*reduceJob).handOver(buckets)
	for len(op.waiting) > 0 && op.job.ready() && m.running == op {
		s := op.waiting[0]
		op.waiting = op.waiting[1:]
		m.accept(op, s.payload)
		m.freed = append(m.freed, s.frame)
	}
	if m.running == op {
		m.finishIfDone()
	}
}

func (m *machine) lost(op *operation) {
	m.fail(&ChunkLostError{Generation: m.generation, Rank: m.prev(), Operation: op.key.operation(), Chunk: op.received},
		abort{reason: reasonChunkLost, rank: m.rank})
}

// beat notes how far the previous rank is. Its chunks came before, on the same subject.
func (m *machine) beat(h header, offer []byte) {
	m.remind(h, false)
	m.decide(offer)
	if h.aux != 0 && m.fromPrev != pathOpen {
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
	if _, complete := op.job.progress(); !complete && h.chunk > uint32(op.received+len(op.waiting)) {
		m.lost(op)
	}
}

// decide chooses how frames are to come, once a beat has said what there is to choose from.
func (m *machine) decide(offer []byte) {
	switch {
	case m.fromPrev != pathOpen || m.dialled:
	case len(offer) == 0 || !m.pulls:
		m.come(pathRouted)
	default:
		m.dialled, m.toDial = true, string(offer)
	}
}

// pulled says that the connection to the previous rank's server is there, or failed, or is lost.
func (m *machine) pulled(up bool) {
	if up {
		m.come(pathDirect)
	} else {
		m.come(pathRouted)
	}
}

func (m *machine) come(p path) {
	m.fromPrev, m.control.ack = p, true
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
	switch path(h.aux) {
	case pathRouted:
		m.linkUp, m.toNext = true, nextRouted
	case pathDirect:
		m.linkUp, m.toNext = true, nextDirect
	default:
		m.control.beat = true // It has not heard a beat yet, or makes its connection.
		return
	}
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
	for _, s := range op.waiting {
		m.freed = append(m.freed, s.frame)
	}
	op.waiting = nil
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
