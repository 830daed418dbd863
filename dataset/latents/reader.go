package latents

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"yohaku/internal/safetensors"
)

// Reader reads single pairs of a shard. It is safe for concurrent use.
type Reader struct {
	r    io.ReaderAt
	name string
	key  string
	ids  []string

	moments, embeds          []int // Shapes of one pair.
	pooled, times            []int // nil for models without.
	momentsLen, embedsLen    int
	pooledLen                int
	winner, loser            int64 // Offsets in the file.
	winnerFlipped, loserFlip int64 // 0 when there are none.
	embedsAt                 int64
	pooledAt, timesAt        int64 // 0 when there are none.
	emptyAt, emptyPooledAt   int64 // As above.
	closer                   io.Closer
}

// Latents is one encoded pair.
type Latents struct {
	Winner, Loser []float32 // Moments.
	Embeds        []float32 // Text embedding of the prompt.
	Pooled        []float32 // Pooled embedding, and
	TimeIDs       []float32 // size conditioning; both empty for models without.
}

// OpenShard opens a shard file.
func OpenShard(path string) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open latents: %w", err)
	}
	info, err := f.Stat()
	if err == nil {
		var r *Reader
		if r, err = NewReader(path, f, info.Size()); err == nil {
			r.closer = f
			return r, nil
		}
	}
	_ = f.Close() // The first error is the one to report.
	return nil, err
}

// NewReader reads the header of a shard of the given size; name is for errors. It checks the
// format and all shapes, and not the values.
func NewReader(name string, r io.ReaderAt, size int64) (*Reader, error) {
	f, err := safetensors.Parse(r, size)
	if err != nil {
		return nil, fmt.Errorf("open latents %s: %w", name, err)
	}
	sh := &Reader{r: r, name: name}
	if err := sh.readMetadata(f.Metadata()); err != nil {
		return nil, fmt.Errorf("open latents %s: %w", name, err)
	}
	if err := sh.readTensors(f); err != nil {
		return nil, fmt.Errorf("open latents %s: %w", name, err)
	}
	return sh, nil
}

func (r *Reader) readMetadata(m map[string]string) error {
	if m["format"] != Format {
		return fmt.Errorf("the file's format is %q, want %q: it is no shard, or one of another version", m["format"], Format)
	}
	if err := json.Unmarshal([]byte(m["pairs"]), &r.ids); err != nil {
		return fmt.Errorf("the list of pairs in the metadata: %w", err)
	}
	if len(r.ids) < 1 || len(r.ids) > maxPairs {
		return fmt.Errorf("the shard lists %d pairs; it must hold from 1 to %d", len(r.ids), maxPairs)
	}
	r.key = m["key"]
	return nil
}

// readTensors finds the tensors and checks their shapes against one another.
func (r *Reader) readTensors(f *safetensors.File) error {
	base, err := dataOffset(r.r)
	if err != nil {
		return err
	}
	find := func(name string, shape *[]int, at *int64, n int) error {
		info, ok := f.Info(name)
		if !ok {
			return fmt.Errorf("the tensor %s is missing", name)
		}
		if info.DType != safetensors.F32 || len(info.Shape) < 2 || info.Shape[0] != n {
			return fmt.Errorf("the tensor %s is %s %v, want F32 with %d rows first", name, info.DType, info.Shape, n)
		}
		if one := info.Shape[1:]; *shape == nil {
			*shape = slices.Clone(one)
		} else if !sameShape(*shape, one) {
			return fmt.Errorf("the tensor %s is %v, want %v for each pair", name, info.Shape, *shape)
		}
		*at = base + info.Begin
		return nil
	}
	for _, t := range []struct {
		name     string
		shape    *[]int
		at       *int64
		optional bool
		n        int
	}{
		{winnerName, &r.moments, &r.winner, false, len(r.ids)}, {loserName, &r.moments, &r.loser, false, len(r.ids)}, {embedsName, &r.embeds, &r.embedsAt, false, len(r.ids)},
		{winnerFlippedName, &r.moments, &r.winnerFlipped, true, len(r.ids)}, {loserFlippedName, &r.moments, &r.loserFlip, true, len(r.ids)},
		{pooledName, &r.pooled, &r.pooledAt, true, len(r.ids)}, {timeIDsName, &r.times, &r.timesAt, true, len(r.ids)},
		{emptyEmbedsName, &r.embeds, &r.emptyAt, true, 1}, {emptyPooledName, &r.pooled, &r.emptyPooledAt, true, 1},
	} {
		if _, ok := f.Info(t.name); !ok && t.optional {
			continue
		}
		if err := find(t.name, t.shape, t.at, t.n); err != nil {
			return err
		}
	}
	if (r.winnerFlipped == 0) != (r.loserFlip == 0) {
		return fmt.Errorf("only one of %s and %s is there", winnerFlippedName, loserFlippedName)
	}
	if (r.pooledAt == 0) != (r.timesAt == 0) || r.timesAt != 0 && !sameShape(r.times, []int{timeIDs}) {
		return fmt.Errorf("%s and %s must both be there, the latter with %d for each pair, or none", pooledName, timeIDsName, timeIDs)
	}
	if r.emptyAt == 0 && r.emptyPooledAt != 0 || r.emptyAt != 0 && (r.pooledAt == 0) != (r.emptyPooledAt == 0) {
		return fmt.Errorf("%s and %s must be there as the pairs' embeddings are, or neither", emptyEmbedsName, emptyPooledName)
	}
	if r.momentsLen, err = elements(r.moments); err != nil {
		return err
	}
	if r.pooledAt != 0 {
		if r.pooledLen, err = elements(r.pooled); err != nil {
			return err
		}
	}
	r.embedsLen, err = elements(r.embeds)
	return err
}

// dataOffset returns where a safetensors file's data begin.
func dataOffset(r io.ReaderAt) (int64, error) {
	var n [8]byte
	if _, err := r.ReadAt(n[:], 0); err != nil {
		return 0, fmt.Errorf("read the header's length: %w", err)
	}
	return 8 + int64(binary.LittleEndian.Uint64(n[:])), nil // Bounded: safetensors.Parse went before.
}

// Len returns the number of pairs.
func (r *Reader) Len() int { return len(r.ids) }

// Key returns the shard's key.
func (r *Reader) Key() string { return r.key }

// PairIDs returns the identifiers of the pairs, in order.
func (r *Reader) PairIDs() []string { return slices.Clone(r.ids) }

// MomentsShape returns the shape of one picture's moments.
func (r *Reader) MomentsShape() []int { return slices.Clone(r.moments) }

// EmbedsShape returns the shape of one prompt's embedding.
func (r *Reader) EmbedsShape() []int { return slices.Clone(r.embeds) }

// PooledShape returns the shape of one prompt's pooled embedding, nil when there is none.
func (r *Reader) PooledShape() []int { return slices.Clone(r.pooled) }

// HasFlipped says whether the moments of the mirrored pictures are there.
func (r *Reader) HasFlipped() bool { return r.winnerFlipped != 0 }

// Pair reads pair i into dst, whose slices are reused when they are long enough; flipped asks for
// the mirrored pictures.
func (r *Reader) Pair(i int, flipped bool, dst *Latents) error {
	if i < 0 || i >= len(r.ids) {
		return fmt.Errorf("read latents %s: pair %d is not among its %d", r.name, i, len(r.ids))
	}
	winner, loser := r.winner, r.loser
	if flipped {
		if !r.HasFlipped() {
			return fmt.Errorf("read latents %s: it has no flipped moments; encode again with random_flip", r.name)
		}
		winner, loser = r.winnerFlipped, r.loserFlip
	}
	times := 0
	if r.timesAt != 0 {
		times = timeIDs
	}
	for _, part := range []struct {
		dst *[]float32
		at  int64
		n   int
	}{
		{&dst.Winner, winner, r.momentsLen}, {&dst.Loser, loser, r.momentsLen}, {&dst.Embeds, r.embedsAt, r.embedsLen},
		{&dst.Pooled, r.pooledAt, r.pooledLen}, {&dst.TimeIDs, r.timesAt, times},
	} {
		if err := r.read(part.dst, part.at+4*int64(i)*int64(part.n), part.n); err != nil {
			return fmt.Errorf("read latents %s, pair %d: %w", r.name, i, err)
		}
	}
	return nil
}

// Empty reads the embedding of the empty prompt into dst's Embeds and Pooled.
func (r *Reader) Empty(dst *Latents) error {
	if r.emptyAt == 0 {
		return fmt.Errorf("read latents %s: it has no embedding of the empty prompt; encode again with proportion_empty_prompts", r.name)
	}
	if err := r.read(&dst.Embeds, r.emptyAt, r.embedsLen); err != nil {
		return fmt.Errorf("read latents %s, empty prompt: %w", r.name, err)
	}
	if r.emptyPooledAt == 0 {
		return nil
	}
	if err := r.read(&dst.Pooled, r.emptyPooledAt, r.pooledLen); err != nil {
		return fmt.Errorf("read latents %s, empty prompt: %w", r.name, err)
	}
	return nil
}

// read fills dst with n numbers from offset at, through a buffer of bounded size.
func (r *Reader) read(dst *[]float32, at int64, n int) error {
	*dst = slices.Grow((*dst)[:0], n)[:n]
	var buffer [16 << 10]byte
	for done := 0; done < n; {
		part := buffer[:min(len(buffer), 4*(n-done))]
		if k, err := r.r.ReadAt(part, at+4*int64(done)); k < len(part) {
			return err
		}
		for i := 0; i < len(part); i += 4 {
			(*dst)[done] = math.Float32frombits(binary.LittleEndian.Uint32(part[i:]))
			done++
		}
	}
	return nil
}

// Close releases the file.
func (r *Reader) Close() error {
	if r.closer == nil {
		return nil
	}
	return r.closer.Close()
}
