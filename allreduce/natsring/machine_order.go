package natsring

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// advance makes k's position the floor. It refuses what is behind it, or ran already.
func (m *machine) advance(k key) error {
	if k.position.before(m.floor) {
		return fmt.Errorf("step %d attempt %d after step %d attempt %d: %w", k.step, k.attempt, m.floor.step, m.floor.attempt, errOrder)
	}
	if m.floor.before(k.position) {
		m.floor, m.done = k.position, m.done[:0]
		for p := range m.void {
			if p.before(k.position) {
				delete(m.void, p)
			}
		}
	}
	if slices.Contains(m.done, k) {
		return fmt.Errorf("step %d attempt %d bucket %d ran already: %w", k.step, k.attempt, k.bucket, errOrder)
	}
	return nil
}

// stale reports whether a frame of operation k can no longer have an effect.
func (m *machine) stale(k key) bool {
	if _, void := m.void[k.position]; void || k.position.before(m.floor) {
		return true
	}
	return k.position == m.floor && slices.Contains(m.done, k)
}

// voidPosition gives a position up, and tells both neighbours why.
func (m *machine) voidPosition(p position, err error, why abort) {
	why.at = p
	if len(m.void) < maxVoid || p == m.floor {
		m.void[p] = voided{err, why}
	}
	m.stash = slices.DeleteFunc(m.stash, func(s stashed) bool {
		if s.header.key.position != p {
			return false
		}
		m.freed = append(m.freed, s.frame)
		return true
	})
	m.tell(why, true)
	m.tell(why, false)
}

func (m *machine) tell(why abort, toNext bool) {
	if m.world > 1 {
		why.toNext = toNext
		m.control.aborts = append(m.control.aborts, why)
	}
}

// remind tells a neighbour again, which runs an operation that is void: it was not there when the abort was sent.
func (m *machine) remind(h header, toNext bool) {
	if v, void := m.void[h.key.position]; void && h.key.job != 0 && h.chunk != allChunks {
		m.tell(v.why, toNext)
	}
}

// aborted handles a neighbour's abort: it voids the position here, and passes it on the first time. News
// of a lost rank also reaches a rank that is through the neighbour's step: the next one cannot end either.
func (m *machine) aborted(h header, payload []byte) {
	why, err := decodeAbort(h, payload)
	if err != nil || why.rank >= m.world {
		m.drops.malformed++
		return
	}
	op := m.running
	switch ahead := op != nil && why.at.step < op.key.step; {
	case op != nil && op.key.position == why.at, ahead && why.reason == reasonLost:
		m.fail(m.abortError(why), why)
	case m.stale(key{position: why.at}) || len(m.void) >= maxVoid:
		m.drops.stale++
	default:
		if why.reason == reasonLost && op == nil {
			m.news = &why
		}
		m.voidPosition(why.at, m.abortError(why), why)
	}
}

// heedNews voids position p when a rank was lost in an earlier step that is complete here. At the same step
// the caller knows already, and tries again.
func (m *machine) heedNews(p position) {
	why := m.news
	m.news = nil
	if why != nil && why.at.step < p.step {
		m.voidPosition(p, m.abortError(*why), *why)
	}
}

func (m *machine) abortError(why abort) error {
	if why.reason == reasonLost {
		return &PeerLostError{Generation: m.generation, Rank: why.rank, Silence: why.silence}
	}
	at := Operation{Step: int(why.at.step), Attempt: int(why.at.attempt)}
	return &AbortedError{Generation: m.generation, Rank: why.rank, Operation: at, Reason: why.reason.String()}
}

const abortBytes = 8

// appendAbort appends an abort's payload: the rank that it is about and its silence in milliseconds.
func appendAbort(b []byte, a abort) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(a.rank))
	return binary.LittleEndian.AppendUint32(b, uint32(min(a.silence.Milliseconds(), 1<<31)))
}

func decodeAbort(h header, payload []byte) (abort, error) {
	if len(payload) != abortBytes {
		return abort{}, fmt.Errorf("abort of %d bytes, must be %d", len(payload), abortBytes)
	}
	rank, silence := binary.LittleEndian.Uint32(payload), binary.LittleEndian.Uint32(payload[4:])
	return abort{at: h.key.position, reason: reason(h.aux), rank: int(rank), silence: time.Duration(silence) * time.Millisecond}, nil
}
