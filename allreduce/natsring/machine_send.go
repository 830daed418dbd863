package natsring

// nextFrame appends the next frame to publish to b, which is empty with room for a whole one, and says where
// it goes. ok is false when there is none. A chunk counts as sent from then on.
func (m *machine) nextFrame(b []byte) (frame []byte, to way, ok bool) {
	switch c := &m.control; {
	case len(c.aborts) > 0:
		a := c.aborts[0]
		c.aborts = c.aborts[1:]
		b = m.appendHeader(b, kindAbort, key{position: a.at}, 0, uint32(a.reason))
		to := m.toPrevious()
		if a.toNext {
			to = m.toNext
		}
		return withLength(appendAbort(b, a)), to, true
	case c.ack:
		c.ack = false
		k, chunks := m.state(func(op *operation) int { op.told = op.received; return op.received })
		return withLength(m.appendHeader(b, kindAck, k, chunks, uint32(m.fromPrev))), m.toPrevious(), true
	case c.beat:
		c.beat = false
		k, chunks := m.state(func(op *operation) int { return op.sent })
		b = m.appendHeader(b, kindBeat, k, chunks, bit(!m.linkUp))
		if !m.linkUp {
			b = append(b, m.offer...)
		}
		return withLength(b), m.toNext, true
	}
	return m.nextChunk(b)
}

// toPrevious is the way of frames to the previous rank.
func (m *machine) toPrevious() way {
	if m.fromPrev == pathDirect {
		return prevDirect
	}
	return prevRouted
}

func (m *machine) nextChunk(b []byte) (frame []byte, to way, ok bool) {
	op := m.running
	if op == nil || !m.linkUp || op.sent >= op.acked+m.window {
		return nil, nextRouted, false
	}
	if sendable, _ := op.job.progress(); op.sent >= sendable {
		return nil, nextRouted, false
	}
	b, err := op.job.encode(op.sent, m.appendHeader(b, kindData, op.key, uint32(op.sent), 0))
	if err != nil {
		m.disagree(op, err)
		return m.nextFrame(b[:0])
	}
	op.sent++
	m.finishIfDone()
	return withLength(b), m.toNext, true
}

// state returns the operation that beats and acks are about, and how far it is.
func (m *machine) state(count func(*operation) int) (key, uint32) {
	if m.running != nil {
		return m.running.key, uint32(count(m.running))
	}
	return m.last, allChunks
}

func (m *machine) appendHeader(b []byte, k kind, about key, chunk, aux uint32) []byte {
	return appendHeader(b, header{kind: k, from: uint32(m.rank), generation: m.generation, key: about, chunk: chunk, aux: aux})
}

func bit(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}
