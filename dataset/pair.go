package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
)

// Pair is one preference: the prompt and two encoded pictures (PNG, JPEG or WebP bytes).
type Pair struct {
	// ID names the content (prompt, winner, loser): 32 hexadecimal digits. Collect sets it;
	// two equal pairs have the same ID.
	ID string
	// File is where the pair comes from, relative to the source, and Row its row there, from 0
	// (for JSON Lines: its line, from 1).
	File string
	Row  int

	Prompt string
	Winner []byte
	Loser  []byte
	// Tie says that the person had no preference; image 0 then stands in as the winner.
	Tie bool
	// Annotator, License and Origin are what the row says of who judged it, under what licence its pictures are, and
	// where they come from; often empty. They do not enter the ID.
	Annotator, License, Origin string
	// LoserFirst says that the loser is image 0 of the row. The reference pipeline resizes
	// image 1 to the size of image 0, whichever of them won.
	LoserFirst bool
}

// Swap makes the loser the winner, and the other way round.
func (p *Pair) Swap() {
	p.Winner, p.Loser = p.Loser, p.Winner
	p.LoserFirst = !p.LoserFirst
}

// Digest returns the SHA-256 of the pair's content: prompt, winner, loser and which of them is
// image 0. File and row do not enter.
func (p *Pair) Digest() [sha256.Size]byte {
	h := sha256.New()
	writeField(h, []byte(p.Prompt))
	writeField(h, p.Winner)
	writeField(h, p.Loser)
	order := []byte{0}
	if p.LoserFirst {
		order[0] = 1
	}
	writeField(h, order)
	return [sha256.Size]byte(h.Sum(nil))
}

// contentID returns the first 32 hexadecimal digits of the pair's digest.
func (p *Pair) contentID() string {
	d := p.Digest()
	return hex.EncodeToString(d[:16])
}

// writeField adds b to h with its length in front, so that neighbouring fields cannot be
// confused.
func writeField(h hash.Hash, b []byte) {
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], uint64(len(b)))
	h.Write(n[:]) // A hash never returns an error.
	h.Write(b)
}

// Reject is a row that was set aside: where it is and what is wrong with it. A run writes one
// line of rejected.jsonl for each.
type Reject struct {
	File   string `json:"file"`
	Row    int    `json:"row"`
	Reason string `json:"reason"`
}

// Record is one row of a source: exactly one of Pair and Reject is set.
type Record struct {
	Pair   *Pair
	Reject *Reject
}

// Source is a set of preference pairs in a fixed order.
type Source interface {
	// Each calls yield for every row, in order, and stops at the first error of yield or of
	// ctx. It returns an error of its own only when the source as a whole cannot be read; a row
	// that cannot becomes a Reject. The record's memory belongs to yield.
	Each(ctx context.Context, yield func(Record) error) error
	// Name is what an operator calls the source: its path, or brand:SEED.
	Name() string
}
