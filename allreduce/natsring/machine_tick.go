package natsring

import "time"

// beatsPerSilence is how often a rank beats and acknowledges within the silence limit.
const beatsPerSilence = 8

// tick sends beats and acks when they are due, and looks for silent neighbours.
func (m *machine) tick(now time.Time) {
	if m.world == 1 {
		return
	}
	if !m.lastTick.IsZero() && now.Sub(m.lastTick) > m.silence/2 {
		m.forgive(now) // This process was stopped: its neighbours' frames wait unread.
	}
	m.lastTick = now
	if now.Sub(m.lastBeat) >= m.silence/beatsPerSilence {
		m.lastBeat = now
		m.control.beat, m.control.ack = true, true
	}
	if !m.linkUp {
		m.control.beat = true // More often, so that a late rank is found soon.
	}
	m.checkSilence(now)
}

func (m *machine) forgive(now time.Time) {
	m.prevPeer.heardAt, m.nextPeer.heardAt = now, now
	if m.running != nil {
		m.running.began = now
	}
}

func (m *machine) checkSilence(now time.Time) {
	op := m.running
	if op == nil {
		return
	}
	for _, p := range [...]struct {
		peer
		rank int
	}{{m.prevPeer, m.prev()}, {m.nextPeer, m.next()}} {
		since, limit := p.heardAt, m.silence
		if !p.heard {
			since, limit = op.began, m.join
		}
		if silence := now.Sub(since); silence > limit {
			m.fail(&PeerLostError{Generation: m.generation, Rank: p.rank, Silence: silence}, abort{reason: reasonLost, rank: p.rank, silence: silence})
			return
		}
	}
}

// abandon voids a position that never began here, because its caller has stopped waiting already.
func (m *machine) abandon(at position, err error) {
	if m.stale(key{position: at}) {
		return
	}
	m.voidPosition(at, err, abort{reason: reasonCancelled, rank: m.rank})
}

// publishFailed ends the running operation, or the one that has just ended, with the transport's error.
func (m *machine) publishFailed(err error) {
	m.fail(err, abort{reason: reasonTransport, rank: m.rank})
	if m.outcome != nil && m.outcome.err == nil {
		m.outcome.err = err
	}
}

// cancel ends the running operation because its caller stopped waiting.
func (m *machine) cancel(err error) {
	m.fail(err, abort{reason: reasonCancelled, rank: m.rank})
}
