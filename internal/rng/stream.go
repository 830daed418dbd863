package rng

import (
	"math/bits"

	"yohaku/internal/assert"
)

// Domain names the purpose of a draw, so that two purposes never share numbers. The values are
// part of the run's reproducibility: add at the end, never reorder.
type Domain uint32

// The domains.
const (
	Plan        Domain = iota + 1 // Order of pairs and choice of timesteps.
	Noise                         // The noise added to latents.
	Latent                        // Sampling from the VAE's moments.
	Crop                          // Random crop offsets.
	Flip                          // Random horizontal flips.
	LabelNoise                    // Swapped winners and losers.
	Rounding                      // Stochastic rounding of gradients.
	Sample                        // Initial and ancestral noise of sampling.
	MarginDrop                    // Steps without the margin term.
	Adapter                       // Initial values of low-rank adapters.
	Audit                         // Micro-batches that are computed twice.
	EmptyPrompt                   // Items that are trained with the empty prompt.
	Resample                      // The bootstrap of a figure over prompts.
)

// Key names one stream of random numbers.
type Key struct {
	Seed   uint64
	Domain Domain
	Step   uint64
	Item   uint64
}

// Stream yields the numbers of one Key in order. It is not safe for concurrent use; make one
// per goroutine, they are cheap.
type Stream struct {
	key   [2]uint32
	item  uint64
	block uint64 // Next counter value.
	buf   [4]uint32
	used  int // Words of buf already given out.
}

// New returns the stream of k, at its start.
//
// The Philox key is Philox(counter = (step, domain, 0), key = seed), its first 64 bits; the
// counter of the stream's blocks is (block, item). Items of one step are therefore disjoint by
// construction, and steps and domains by a 64-bit hash of them.
func New(k Key) *Stream {
	s := new(Stream) // New is inlined, so that a stream that stays with its caller is not allocated.
	s.start(k)
	return s
}

func (s *Stream) start(k Key) {
	seed := [2]uint32{uint32(k.Seed), uint32(k.Seed >> 32)}
	sub := philox([4]uint32{uint32(k.Step), uint32(k.Step >> 32), uint32(k.Domain), 0}, seed)
	*s = Stream{key: [2]uint32{sub[0], sub[1]}, item: k.Item, used: 4}
}

// next returns the next block of four words.
func (s *Stream) next() [4]uint32 {
	c := [4]uint32{uint32(s.block), uint32(s.block >> 32), uint32(s.item), uint32(s.item >> 32)}
	s.block++
	return philox(c, s.key)
}

// Uint32 returns a uniform 32-bit word.
func (s *Stream) Uint32() uint32 {
	if s.used == len(s.buf) {
		s.buf, s.used = s.next(), 0
	}
	w := s.buf[s.used]
	s.used++
	return w
}

// Uint64 returns a uniform 64-bit word: two 32-bit words, the low one first.
func (s *Stream) Uint64() uint64 {
	lo := uint64(s.Uint32())
	return lo | uint64(s.Uint32())<<32
}

// Float64 returns a uniform multiple of 2⁻⁵³ in [0, 1).
func (s *Stream) Float64() float64 { return unit(s.Uint64()) }

// unit maps a 64-bit word onto a multiple of 2⁻⁵³ in [0, 1).
func unit(w uint64) float64 { return float64(w>>11) * 0x1p-53 }

// IntN returns a uniform integer in [0, n), without bias (Lemire's multiply with rejection).
// It panics when n < 1.
func (s *Stream) IntN(n int) int {
	if n <= 0 { // Arguments of a call would be allocated.
		assert.That(false, "rng: IntN needs n above 0, got %d", n)
	}
	bound := uint64(n)
	for {
		hi, lo := bits.Mul64(s.Uint64(), bound)
		if lo >= bound || lo >= -bound%bound {
			return int(hi)
		}
	}
}

// Perm returns a uniform permutation of 0 … n−1 (Fisher–Yates). It panics when n < 0.
func (s *Stream) Perm(n int) []int {
	p := make([]int, n)
	for i := range p {
		p[i] = i
	}
	for i := n - 1; i > 0; i-- {
		j := s.IntN(i + 1)
		p[i], p[j] = p[j], p[i]
	}
	return p
}
