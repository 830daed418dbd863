package sim

import (
	"math/bits"
	"strconv"

	"yohaku/worker/replica"
)

// width is the number of toy parameters.
const width = 3

type vector [width]int64

// state is what a rank trains: parameters, optimizer state and the exponent of the next sums.
type state struct {
	step      int
	params, m vector
	exp       int
}

// sums are integers that were rounded with exp; needed is the exponent that they need. nonFinite
// is above all that finite gradients need.
type sums struct {
	exp, needed int
	v           vector
}

const nonFinite = 100

// mix is SplitMix64's finalizer over its arguments.
func mix(xs ...uint64) uint64 {
	h := uint64(0x9e3779b97f4a7c15)
	for _, x := range xs {
		h ^= x
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

// add adds the gradient of a micro-batch at the present parameters, rounded by the exponent.
func (s *state) add(to *sums, mb int) {
	for i, p := range s.params {
		h := mix(uint64(p), uint64(s.step), uint64(mb), uint64(i))
		to.v[i] += int64(h>>44) >> s.exp
	}
	h := mix(uint64(s.step), uint64(mb))
	to.exp, to.needed = s.exp, max(to.needed, bits.Len64(h%6))
	if h%211 == 0 {
		to.needed = nonFinite
	}
}

// apply updates the parameters by complete sums.
func (s *state) apply(total sums) {
	s.step++
	if total.needed == nonFinite {
		return
	}
	for i := range s.params {
		s.m[i] = 3*s.m[i] + total.v[i]<<total.exp
		s.params[i] = 5*s.params[i] + s.m[i]
	}
	s.exp = total.needed
}

func (s *state) digest() uint64 {
	h := mix(uint64(s.step), uint64(s.exp))
	for i := range s.params {
		h = mix(h, uint64(s.params[i]), uint64(s.m[i]))
	}
	return h
}

// replica is the digest that ranks compare.
func (s *state) replica() replica.Digest {
	of := func(v vector) string {
		h := mix(uint64(s.step))
		for _, x := range v {
			h = mix(h, uint64(x))
		}
		return strconv.FormatUint(h, 36)
	}
	return replica.Digest{Params: of(s.params), M: of(s.m), Grid: strconv.Itoa(s.exp)}
}

// single is the digest after each number of steps of one undisturbed worker.
func single(steps, microBatches int) []uint64 {
	var s state
	digests := []uint64{s.digest()}
	for range steps {
		for {
			total := sums{exp: s.exp}
			for mb := range microBatches {
				s.add(&total, mb)
			}
			if total.needed <= s.exp || total.needed == nonFinite {
				s.apply(total)
				break
			}
			s.exp = total.needed
		}
		digests = append(digests, s.digest())
	}
	return digests
}
