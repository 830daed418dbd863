package trainstep

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/zeebo/xxh3"

	"yohaku/internal/rawbytes"
	"yohaku/worker/replica"
)

// Digest is the digest of the state as it lies in memory now. It reads every byte of parameters
// and optimizer state, at about the speed of memory.
func (t *Trainer) Digest() replica.Digest {
	var params, grid xxh3.Hasher
	params.Reset()
	for _, p := range t.params {
		_, _ = params.Write(rawbytes.Of(p.Data)) // Cannot fail.
	}
	grid.Reset()
	_, _ = grid.Write(binary.LittleEndian.AppendUint64(nil, uint64(t.state.Updates))) // As above.
	_, _ = grid.Write(rawbytes.Of(t.state.Exponents))                                 // As above.
	d := replica.Digest{
		Params: text(params.Sum128()), M: text(xxh3.Hash128(rawbytes.Of(t.state.M))), V: text(xxh3.Hash128(rawbytes.Of(t.state.V))), Grid: text(grid.Sum128()),
	}
	if t.state.EMA != nil {
		d.EMA = text(xxh3.Hash128(rawbytes.Of(t.state.EMA)))
	}
	return d
}

func text(sum xxh3.Uint128) string {
	b := sum.Bytes()
	return hex.EncodeToString(b[:])
}

// gradientSum digests the gradient of a micro-batch tensor by tensor, once it has begun.
type gradientSum struct{ hash *xxh3.Hasher }

func (s *gradientSum) begin() { s.hash = xxh3.New(); s.hash.Reset() }

func (s *gradientSum) add(grad []float32) {
	if s.hash != nil {
		_, _ = s.hash.Write(rawbytes.Of(grad)) // Cannot fail.
	}
}

func (s *gradientSum) text() string {
	if s.hash == nil {
		return ""
	}
	return text(s.hash.Sum128())
}
