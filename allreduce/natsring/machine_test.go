package natsring

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"yohaku/allreduce"
	"yohaku/allreduce/fixedpoint"
)

var simSeed = flag.Uint64("sim.seed", 0, "replay one seed of the simulated ring; 0 runs them all")

// sim is a ring of machines with virtual time. Its links keep order, and lose, repeat and delay frames.
type sim struct {
	t        *testing.T
	seed     uint64
	rng      *rand.Rand
	now      time.Time
	ranks    []*simRank
	loss     int // Frames that may still be lost.
	lossRate float64
	scratch  []byte
	want     map[int]vectors
}

// simRank runs a script of steps; a step is two AllReduces and an AllGather, called again from the
// first with a higher attempt after an error.
type simRank struct {
	m             *machine
	inFlight      [4][][]byte // By way.
	dialling      bool
	step, attempt int
	call          int // Of the step: 0, 1 reduce, 2 gather.
	reduce        reduceJob
	gather        *gatherJob
	outSums       []int32
	outExps       []int8
	handed        int // Buckets of the running reduction.
	kept, freed   int // Frames.
	startAt       time.Time
	dead          bool
	deadErr       error
	skipped       int // Steps whose sums the others had already.
}

const (
	simSteps   = 3
	simSilence = time.Second
)

func newSim(t *testing.T, seed uint64, world, loss int) *sim {
	s := &sim{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 9)), now: time.Unix(1000, 0), loss: loss, lossRate: 0.02,
		scratch: make([]byte, 0, maxFrameBytes), want: map[int]vectors{}}
	window := 1 + s.rng.IntN(6)
	for rank := range world {
		m := newMachine(settings{generation: 3, rank: rank, world: world, window: window, silence: simSilence, join: 10 * time.Second,
			offer: "here", pulls: s.rng.IntN(3) > 0})
		start := s.now.Add(time.Duration(s.rng.IntN(1+int(seed%3)*1500)) * time.Millisecond) // Up to three silence limits.
		s.ranks = append(s.ranks, &simRank{m: m, startAt: start})
	}
	return s
}

// inputs are the same whoever asks.
func (s *sim) inputs(step, bucket int) vectors {
	at := step*10 + bucket
	if _, drawn := s.want[at]; !drawn {
		rng := rand.New(rand.NewPCG(s.seed, uint64(at)))
		s.want[at] = draw(rng.Uint64(), len(s.ranks), rng.IntN(120_000), rng.IntN(100), 1<<20)
	}
	return s.want[at]
}

func (s *sim) item(step, rank int) []byte {
	return bytes.Repeat([]byte{byte(step), byte(rank)}, step*40_000+rank)
}

// run plays until all living ranks are through their scripts, or have lost a peer.
func (s *sim) run() {
	for events := 0; ; events++ {
		if events > 400_000 {
			s.t.Fatalf("seed %d: stuck; replay with -sim.seed=%d\n%s", s.seed, s.seed, s.trace())
		}
		busy := false
		for rank, k := range s.ranks {
			busy = s.work(rank, k) || busy
		}
		if !busy {
			return
		}
		rank := s.rng.IntN(len(s.ranks))
		switch s.rng.IntN(8) {
		case 0:
			s.tick()
		case 1, 2, 3:
			s.publish(s.ranks[rank])
		default:
			s.deliver(rank)
		}
	}
}

func (s *sim) trace() string {
	var b bytes.Buffer
	for rank, k := range s.ranks {
		fmt.Fprintf(&b, "rank %d: step %d attempt %d call %d, dead %v, %v, link %v, drops %+v", rank, k.step, k.attempt, k.call, k.dead, k.deadErr, k.m.linkUp, k.m.drops)
		if op := k.m.running; op != nil {
			sendable, complete := op.job.progress()
			fmt.Fprintf(&b, ", runs %+v sent %d of %d, acked %d, received %d, complete %v", op.key, op.sent, sendable, op.acked, op.received, complete)
		}
		fmt.Fprintln(&b)
	}
	return b.String()
}

// work lets a rank's caller act, and reports whether it has something left to do.
func (s *sim) work(rank int, k *simRank) bool {
	if k.dead || k.deadErr != nil || k.step == simSteps {
		return false
	}
	if s.canBeHandedTheEnd(k) {
		k.step, k.skipped = simSteps, k.skipped+1
		return false
	}
	if o, ended := k.m.takeOutcome(); ended {
		s.ended(rank, k, o.err)
	} else if k.m.running == nil && !s.now.Before(k.startAt) {
		s.begin(rank, k)
	} else if op := k.m.running; op != nil && op.key.job == jobReduce && s.rng.IntN(8) == 0 {
		k.handed = min(k.handed+1+s.rng.IntN(2), len(k.reduce.buckets))
		k.m.handOver(op.key, k.handed)
	}
	s.dial(rank, k)
	k.freed += len(k.m.freed)
	k.m.freed = k.m.freed[:0]
	return true
}

// dial makes the connection to the previous rank's server, or fails, or loses it with all that is on it.
func (s *sim) dial(rank int, k *simRank) {
	if k.m.toDial != "" {
		k.m.toDial, k.dialling = "", true
	}
	switch {
	case k.dialling && s.rng.IntN(20) == 0:
		k.dialling = false
		k.m.pulled(s.rng.IntN(4) > 0)
	case k.m.fromPrev == pathDirect && s.loss > 0 && s.rng.IntN(2000) == 0:
		s.loss--
		s.ranks[(rank+len(s.ranks)-1)%len(s.ranks)].inFlight[nextDirect] = nil
		k.inFlight[prevDirect] = nil
		k.m.pulled(false)
	}
}

// canBeHandedTheEnd reports whether a rank tries the last step again while another one has its sums and
// calls nothing more: as in a run, it then takes them from there.
func (s *sim) canBeHandedTheEnd(k *simRank) bool {
	return k.step == simSteps-1 && k.attempt > 0 && slices.ContainsFunc(s.ranks, func(o *simRank) bool { return !o.dead && o.step == simSteps })
}

// exists reports whether a rank has subscribed, which it does a little before its first call, and lives.
func (s *sim) exists(k *simRank) bool {
	return !k.dead && s.now.After(k.startAt.Add(-50*time.Millisecond))
}

func (s *sim) begin(rank int, k *simRank) {
	at := position{uint64(k.step), uint32(k.attempt)}
	var err error
	if k.call == 2 {
		k.gather = newGatherJob(rank, len(s.ranks), s.item(k.step, rank))
		err = k.m.begin(s.now, key{at, 0, gatherID("control")}, k.gather)
	} else {
		v := s.inputs(k.step, k.call)
		k.outSums, k.outExps = make([]int32, len(v.wantSums)), make([]int8, len(v.wantExps))
		k.handed = 0
		k.reduce.start(rank, len(s.ranks), fixedpoint.Int32, Vectors{Sums: v.sums[rank], Needed: v.exps[rank], OutSums: k.outSums, OutNeeded: k.outExps,
			Mine: allreduce.TallyOf(rank, rank+len(s.ranks)), All: allreduce.TallyAll(2 * len(s.ranks))}, allreduce.Whole(len(v.wantSums), len(v.wantExps), 30_000))
		err = k.m.begin(s.now, key{at, uint32(k.call), jobReduce}, &k.reduce)
	}
	if err != nil {
		s.ended(rank, k, err)
	}
}

// ended checks a result, or does after an error what the errors say that callers do.
func (s *sim) ended(rank int, k *simRank, err error) {
	var lost *PeerLostError
	var ahead *SupersededError
	switch {
	case err == nil:
		s.check(rank, k)
		if k.call++; k.call == 3 {
			k.step, k.attempt, k.call = k.step+1, 0, 0
		}
		return
	case errors.As(err, &lost):
		k.deadErr = err
		return
	case errors.As(err, &ahead) && ahead.Seen.Step > k.step:
		k.step, k.attempt = ahead.Seen.Step, ahead.Seen.Attempt
		k.skipped++
	case errors.As(err, &ahead) && ahead.Seen.Attempt > k.attempt:
		k.attempt = ahead.Seen.Attempt
	default:
		k.attempt++
	}
	k.call = 0
}

func (s *sim) check(rank int, k *simRank) {
	ok := true
	if k.call == 2 {
		for r, item := range k.gather.items {
			ok = ok && bytes.Equal(item, s.item(k.step, r))
		}
	} else {
		v := s.inputs(k.step, k.call)
		ok = slices.Equal(k.outSums, v.wantSums) && slices.Equal(k.outExps, v.wantExps)
	}
	if !ok {
		s.t.Fatalf("seed %d: rank %d step %d call %d has a wrong result; replay with -sim.seed=%d", s.seed, rank, k.step, k.call, s.seed)
	}
}

func (s *sim) tick() {
	s.now = s.now.Add(time.Duration(1+s.rng.IntN(25)) * time.Millisecond)
	for _, k := range s.ranks {
		if s.exists(k) {
			k.m.tick(s.now)
			for range 3 {
				s.publish(k)
			}
		}
	}
}

func (s *sim) publish(k *simRank) {
	if !s.exists(k) {
		return
	}
	frame, to, ok := k.m.nextFrame(s.scratch[:0])
	if !ok {
		return
	}
	frame = bytes.Clone(frame)
	if op := k.m.running; op != nil && op.sent > op.acked+k.m.window {
		s.t.Fatalf("seed %d: published beyond credit", s.seed)
	}
	if s.loss > 0 && s.rng.Float64() < s.lossRate {
		s.loss--
		return
	}
	copies := 1
	if s.rng.IntN(50) == 0 {
		copies = 2
	}
	for range copies {
		k.inFlight[to] = append(k.inFlight[to], frame)
	}
}

// deliver takes frames from a rank to its neighbours, several at a time.
func (s *sim) deliver(rank int) {
	world := len(s.ranks)
	k, next, prev := s.ranks[rank], s.ranks[(rank+1)%world], s.ranks[(rank+world-1)%world]
	for range 1 + s.rng.IntN(6) {
		to := way(s.rng.IntN(len(k.inFlight)))
		if len(k.inFlight[to]) == 0 {
			continue
		}
		frame := k.inFlight[to][0]
		k.inFlight[to] = k.inFlight[to][1:]
		switch {
		case to <= nextDirect && s.exists(next):
			if next.m.fromPrevious(s.now, frame) {
				next.kept++
			}
		case to >= prevRouted && s.exists(prev):
			prev.m.fromNext(s.now, frame)
		}
	}
	if op := next.m.running; op != nil && len(op.waiting) > next.m.window {
		s.t.Fatalf("seed %d: %d chunks wait for a bucket, want at most %d", s.seed, len(op.waiting), next.m.window)
	}
	if limit := stashWindows * next.m.window; len(next.m.stash) > limit {
		s.t.Fatalf("seed %d: %d chunks kept, want at most %d", s.seed, len(next.m.stash), limit)
	}
}

func seeds(n int) []uint64 {
	if *simSeed != 0 {
		return []uint64{*simSeed}
	}
	out := make([]uint64, n)
	for i := range out {
		out[i] = uint64(i + 1)
	}
	return out
}

// TestSimOrder: without loss every rank gets through at the first attempt, in any interleaving.
func TestSimOrder(t *testing.T) {
	for _, seed := range seeds(60) {
		s := newSim(t, seed, 1+int(seed%5), 0)
		s.run()
		for rank, k := range s.ranks {
			if k.deadErr != nil || k.attempt != 0 || k.skipped != 0 || k.m.drops.full != 0 || len(k.m.void) != 0 || k.kept != k.freed+len(k.m.stash) {
				t.Errorf("seed %d: rank %d ended with %v, attempt %d, drops %+v, %d frames kept, %d freed", seed, rank, k.deadErr, k.attempt, k.m.drops, k.kept, k.freed)
			}
		}
	}
}

// TestSimLoss: lost frames cost attempts, never a wrong result and never a standstill.
func TestSimLoss(t *testing.T) {
	retried := 0
	for _, seed := range seeds(120) {
		s := newSim(t, seed, 2+int(seed%4), 1+int(seed%7))
		s.run()
		for rank, k := range s.ranks {
			if k.deadErr != nil {
				t.Errorf("seed %d: rank %d lost a peer: %v", seed, rank, k.deadErr)
			}
			if k.m.floor.attempt > 0 || k.skipped > 0 {
				retried++
			}
		}
	}
	if retried == 0 {
		t.Error("no seed lost a chunk: the test shows nothing")
	}
}

// TestSimKill: a rank that dies anywhere is named by all others within a few silence limits, unless they are through.
func TestSimKill(t *testing.T) {
	named := 0
	for _, seed := range seeds(80) {
		s := newSim(t, seed, 2+int(seed%4), 0)
		victim := int(seed/4) % len(s.ranks)
		s.killAfter(victim, s.rng.IntN(4000))
		died := s.now
		s.run()
		for rank, k := range s.ranks {
			var lost *PeerLostError
			switch {
			case rank == victim || k.step == simSteps:
			case errors.As(k.deadErr, &lost) && lost.Rank == victim:
				named++
			default:
				t.Errorf("seed %d: rank %d ended at step %d with %v, want rank %d lost", seed, rank, k.step, k.deadErr, victim)
			}
		}
		if took := s.now.Sub(died); took > 15*time.Second { // Mostly the join limit, for a victim that never spoke.
			t.Errorf("seed %d: took %v", seed, took)
		}
	}
	if named == 0 {
		t.Error("no seed lost its victim: the test shows nothing")
	}
}

// killAfter runs the ring for so many events and then stops the victim.
func (s *sim) killAfter(victim, events int) {
	for range events {
		for rank, k := range s.ranks {
			s.work(rank, k)
		}
		rank := s.rng.IntN(len(s.ranks))
		switch s.rng.IntN(8) {
		case 0:
			s.tick()
		case 1, 2, 3:
			s.publish(s.ranks[rank])
		default:
			s.deliver(rank)
		}
	}
	s.ranks[victim].dead = true
}

// TestStoppedProcessBlamesNobody: after a long pause of this process the neighbours' frames wait
// unread, so the first tick must not call them silent.
func TestStoppedProcessBlamesNobody(t *testing.T) {
	m := newMachine(settings{generation: 1, rank: 0, world: 2, window: 4, silence: time.Second, join: time.Second})
	now := time.Unix(0, 0)
	m.tick(now)
	m.prevPeer, m.nextPeer = peer{true, now}, peer{true, now}
	if err := m.begin(now, key{job: jobReduce}, newGatherJob(0, 2, nil)); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	m.tick(now)
	if _, ended := m.takeOutcome(); ended {
		t.Error("the operation ended")
	}
	for range 11 {
		now = now.Add(100 * time.Millisecond)
		m.tick(now)
	}
	var lost *PeerLostError
	if o, _ := m.takeOutcome(); !errors.As(o.err, &lost) {
		t.Errorf("after a second of silence: %v, want a lost peer", o.err)
	}
}

// FuzzFrame: no bytes make the decoder panic, and what it takes says the same when encoded again.
func FuzzFrame(f *testing.F) {
	h := header{kind: kindData, from: 1, generation: 2, key: key{position{3, 4}, 5, 6}, chunk: 7, aux: 8}
	f.Add(withLength(append(appendHeader(nil, h), 1, 2, 3)))
	f.Add([]byte("YR"))
	f.Add(make([]byte, headerBytes))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, payload, err := decodeFrame(b)
		if err != nil {
			return
		}
		if again := withLength(append(appendHeader(nil, h), payload...)); !bytes.Equal(again, b) {
			t.Errorf("% x decodes to %+v, which encodes to % x", b, h, again)
		}
	})
}

// FuzzMachine: no frame makes a machine with a running operation panic or publish beyond its credit.
func FuzzMachine(f *testing.F) {
	f.Add([]byte{1, 2, 3}, []byte{4, 5, 6}, uint8(1), uint32(0), uint32(0))
	f.Fuzz(func(t *testing.T, a, b []byte, kinds uint8, chunk, aux uint32) {
		m := newMachine(settings{generation: 1, rank: 0, world: 3, window: 2, silence: time.Second, join: time.Second})
		now := time.Unix(0, 0)
		if err := m.begin(now, key{job: jobReduce}, newGatherJob(0, 3, a)); err != nil {
			return
		}
		for i, payload := range [][]byte{a, b, a} {
			h := header{kind: kind(kinds>>(2*i)&3 + 1), generation: 1, key: key{position{0, chunk & 1}, 0, jobReduce}, chunk: chunk, aux: aux}
			h.from = 2
			m.fromPrevious(now, withLength(append(appendHeader(nil, h), payload[:min(len(payload), maxPayloadBytes)]...)))
			h.from = 1
			m.fromNext(now, withLength(append(appendHeader(nil, h), payload[:min(len(payload), maxPayloadBytes)]...)))
			for range 20 {
				if _, _, ok := m.nextFrame(make([]byte, 0, maxFrameBytes)); !ok {
					break
				}
			}
			if op := m.running; op != nil && op.sent > op.acked+m.window {
				t.Fatalf("sent %d, acknowledged %d", op.sent, op.acked)
			}
		}
	})
}
