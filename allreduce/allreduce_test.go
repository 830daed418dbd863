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
	free            int
	sent, received  int
}

func newRanks(rng *rand.Rand, s Shape) []*rank {
	ranks := make([]*rank, s.World)
	for r := range ranks {
		k := &rank{in: make([]int32, s.Elements), out: make([]int32, s.Elements), expIn: make([]int8, s.Exponents), expOut: make([]int8, s.Exponents)}
		for i := range k.in {
			k.in[i], k.out[i] = rng.Int32N(2000)-1000, -12345
		}
		for i := range k.expIn {
			k.expIn[i] = int8(rng.IntN(256) - 128)
		}
		k.sends, k.receives, k.free = Chunks(nil, nil, r, s)
		ranks[r] = k
	}
	return ranks
}

// deliver moves the next chunk of from to to, which is the next rank. It reads what from would send at this moment.
func deliver(from, to *rank) error {
	c := from.sends[from.sent]
	sums, exps := from.out, from.expOut
	if from.sent < from.free {
		sums, exps = from.in, from.expIn
	}
	if r := to.receives[to.received]; r != c {
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
			if k.sent < len(k.sends) && k.sent < k.free+k.received {
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
				s := Shape{World: world, Elements: elements, Exponents: exponents, ElementBytes: 2 << rng.IntN(2), ChunkBytes: 5 + rng.IntN(60)}
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
	sums, exps := make([]int32, s.Elements), make([]int8, s.Exponents)
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
		s := Shape{World: world, Elements: 1_000_003, Exponents: 977, ElementBytes: 4, ChunkBytes: 61_440}
		for r := range world {
			sends, receives, free := Chunks(nil, nil, r, s)
			total := 0
			for _, c := range append(sends, receives...) {
				bytes := (c.Hi-c.Lo)*4 + c.ExpHi - c.ExpLo
				if bytes > s.ChunkBytes {
					t.Errorf("world %d: chunk of %d bytes", world, bytes)
				}
				total += bytes
			}
			whole := s.Elements*4 + s.Exponents
			if most := 4 * (world - 1) * (whole/world + 8); total > most || free == 0 || free > len(sends) {
				t.Errorf("world %d rank %d: %d bytes in all, want at most %d; free %d", world, r, total, most, free)
			}
		}
	}
}

func TestChunksReuseMemory(t *testing.T) {
	s := Shape{World: 3, Elements: 100_000, Exponents: 98, ElementBytes: 4, ChunkBytes: 61_440}
	a, b, _ := Chunks(nil, nil, 0, s)
	a2, b2, _ := Chunks(a, b, 0, s)
	if &a[0] != &a2[0] || &b[0] != &b2[0] {
		t.Error("Chunks took new memory")
	}
}
