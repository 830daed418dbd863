package allreduce

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestScheduleOfThree(t *testing.T) {
	got := Schedule(1, 3)
	want := []Step{{ReduceScatter, 1, 0}, {ReduceScatter, 0, 2}, {AllGather, 2, 1}, {AllGather, 1, 0}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSegmentsCover(t *testing.T) {
	for parts := 1; parts <= 9; parts++ {
		for n := range 30 {
			at := 0
			for i := range parts {
				lo, hi := Segment(i, parts, n)
				if size := hi - lo; lo != at || size < n/parts || size > n/parts+1 {
					t.Fatalf("segment %d of %d of %d is [%d, %d), want to begin at %d", i, parts, n, lo, hi, at)
				}
				at = hi
			}
			if at != n {
				t.Fatalf("%d parts of %d end at %d", parts, n, at)
			}
		}
	}
}

// rank is one rank of a ring in memory. in is never written.
type rank struct {
	in, out         []int32
	expIn, expOut   []int8
	sends, receives []Chunk
	sent, received  int
}

func newRanks(rng *rand.Rand, s Shape) []*rank {
	ranks := make([]*rank, s.World)
	for r := range ranks {
		elements, exponents := s.Buckets[len(s.Buckets)-1].Hi, s.Buckets[len(s.Buckets)-1].ExpHi
		k := &rank{in: make([]int32, elements), out: make([]int32, elements), expIn: make([]int8, exponents), expOut: make([]int8, exponents)}
		for i := range k.in {
			k.in[i], k.out[i] = rng.Int32N(2000)-1000, -12345
		}
		for i := range k.expIn {
			k.expIn[i] = int8(rng.IntN(256) - 128)
		}
		k.sends, k.receives = Chunks(nil, nil, r, s)
		ranks[r] = k
	}
	return ranks
}

// deliver moves the next chunk of from to to, which is the next rank. It reads what from would send at this moment.
func deliver(from, to *rank) error {
	c := from.sends[from.sent]
	sums, exps := from.out, from.expOut
	if c.Needs == 0 {
		sums, exps = from.in, from.expIn
	}
	sent := c
	sent.Needs = 0
	if r := to.receives[to.received]; r != sent {
		return fmt.Errorf("sent %+v, awaited %+v", c, r)
	}
	for i := c.Lo; i < c.Hi; i++ {
		to.out[i] = sums[i]
		if c.Phase == ReduceScatter {
			to.out[i] += to.in[i]
		}
	}
	for i := c.ExpLo; i < c.ExpHi; i++ {
		to.expOut[i] = exps[i]
		if c.Phase == ReduceScatter {
			to.expOut[i] = max(to.expOut[i], to.expIn[i])
		}
	}
	from.sent++
	to.received++
	return nil
}

// runRing delivers chunks in a random order that a ring could have, until none is left.
func runRing(rng *rand.Rand, ranks []*rank) error {
	for {
		var able []int
		for r, k := range ranks {
			if k.sent < len(k.sends) && k.sends[k.sent].Needs <= k.received {
				able = append(able, r)
			}
		}
		if len(able) == 0 {
			return nil
		}
		r := able[rng.IntN(len(able))]
		if err := deliver(ranks[r], ranks[(r+1)%len(ranks)]); err != nil {
			return fmt.Errorf("rank %d: %w", r, err)
		}
	}
}

// TestRing runs the schedule in memory: every rank ends with the sum and the maxima, for any world
// size and length, in any order of delivery that the schedule permits.
func TestRing(t *testing.T) {
	for world := 1; world <= 7; world++ {
		for _, elements := range []int{0, 1, 2, world - 1, world, world + 1, 37, 1000} {
			for _, exponents := range []int{0, 1, elements / 8, 50} {
				seed := uint64(world*10000 + elements*10 + exponents)
				rng := rand.New(rand.NewPCG(seed, 3))
				s := Shape{World: world, Buckets: Whole(elements, exponents, 1+rng.IntN(1+elements)), ElementBytes: 2 << rng.IntN(2), TurnElements: 1 + rng.IntN(1+elements), ChunkBytes: 5 + rng.IntN(60)}
				checkRing(t, rng, s, seed)
			}
		}
	}
}

func checkRing(t *testing.T, rng *rand.Rand, s Shape, seed uint64) {
	t.Helper()
	ranks := newRanks(rng, s)
	if err := runRing(rng, ranks); err != nil {
		t.Fatalf("seed %d, %+v: %v", seed, s, err)
	}
	sums, exps := make([]int32, len(ranks[0].in)), make([]int8, len(ranks[0].expIn))
	for i := range exps {
		exps[i] = -128
	}
	for _, k := range ranks {
		for i, v := range k.in {
			sums[i] += v
		}
		for i, v := range k.expIn {
			exps[i] = max(exps[i], v)
		}
	}
	for r, k := range ranks {
		if k.sent != len(k.sends) || k.received != len(k.receives) {
			t.Fatalf("seed %d, %+v: rank %d sent %d of %d, received %d of %d", seed, s, r, k.sent, len(k.sends), k.received, len(k.receives))
		}
		if s.World > 1 && !(slices.Equal(k.out, sums) && slices.Equal(k.expOut, exps)) {
			t.Fatalf("seed %d, %+v: rank %d has another result", seed, s, r)
		}
	}
}

// TestChunksAreBounded: no chunk is above ChunkBytes, and a rank sends about 2(W−1)/W of the vector.
func TestChunksAreBounded(t *testing.T) {
	for world := 2; world <= 5; world++ {
		const elements, exponents = 1_000_003, 977
		s := Shape{World: world, Buckets: Whole(elements, exponents, elements), ElementBytes: 4, TurnElements: 1 << 30, ChunkBytes: 61_440}
		for r := range world {
			sends, receives := Chunks(nil, nil, r, s)
			total := 0
			for _, c := range append(sends, receives...) {
				bytes := (c.Hi-c.Lo)*4 + c.ExpHi - c.ExpLo
				if bytes > s.ChunkBytes {
					t.Errorf("world %d: chunk of %d bytes", world, bytes)
				}
				total += bytes
			}
			whole := elements*4 + exponents
			if most := 4 * (world - 1) * (whole/world + 8); total > most || sends[0].Needs != 0 {
				t.Errorf("world %d rank %d: %d bytes in all, want at most %d; the first send needs %d", world, r, total, most, sends[0].Needs)
			}
		}
	}
}

func TestChunksReuseMemory(t *testing.T) {
	s := Shape{World: 3, Buckets: Whole(100_000, 98, 30_000), ElementBytes: 4, TurnElements: 1 << 30, ChunkBytes: 61_440}
	a, b := Chunks(nil, nil, 0, s)
	a2, b2 := Chunks(a, b, 0, s)
	if &a[0] != &a2[0] || &b[0] != &b2[0] {
		t.Error("Chunks took new memory")
	}
}

func TestTally(t *testing.T) {
	a, b := TallyOf(0, 63, 64, 255), TallyOf(1, 255)
	both, twice := a.Union(b)
	if want := TallyOf(0, 1, 63, 64, 255); both != want || twice != 1 || both.Count() != 5 {
		t.Errorf("union %v with %d twice, want %v with 1", both, twice, want)
	}
	if got := DecodeTally(both.Append(nil)); got != both || len(both.Append(nil)) != TallyBytes {
		t.Errorf("decoded %v, want %v", got, both)
	}
	if all := TallyAll(130); all.Count() != 130 || all != TallyAll(100).with(100, 130) {
		t.Errorf("the first 130 are %v", all)
	}
}

func (t Tally) with(from, to int) Tally {
	for m := from; m < to; m++ {
		t, _ = t.Union(TallyOf(m))
	}
	return t
}

// TestTurnsFollowClosely asks that at most 2(W−1) turns are on their way at once: more would not stay in the cache.
func TestTurnsFollowClosely(t *testing.T) {
	const turn, turns = 100, 20
	for world := 2; world <= 5; world++ {
		s := Shape{World: world, Buckets: Whole(turn*turns, turns, turn*turns), ElementBytes: 4, TurnElements: turn, ChunkBytes: 50}
		sends, receives := Chunks(nil, nil, 1, s)
		begun, left := map[int]bool{}, map[int]int{}
		for _, c := range receives {
			left[c.Lo/turn]++
		}
		if len(left) != turns {
			t.Fatalf("world %d: %d turns, want %d", world, len(left), turns)
		}
		most := 0
		for i, c := range receives {
			begun[sends[i].Lo/turn], begun[c.Lo/turn] = true, true
			if left[c.Lo/turn]--; left[c.Lo/turn] == 0 {
				delete(begun, c.Lo/turn)
			}
			most = max(most, len(begun))
		}
		if want := 2 * (world - 1); most > want {
			t.Errorf("world %d: %d turns at once, want at most %d", world, most, want)
		}
	}
}
