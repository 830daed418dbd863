package natsring

import (
	"encoding/binary"
	"fmt"
	"slices"

	"yohaku/allreduce"
	"yohaku/allreduce/fixedpoint"
)

// reduceJob sums vectors and combines exponents by max, bucket by bucket as they are handed over. A chunk is a prefix
// of reducePrefix bytes, then elements, then exponents:
//
//	0 bucket     4 phase     5 width: 1 = tight (fixedpoint.Format.TightBits), 0 = the format's     6 step of the phase, 2 bytes
//	8 tally, the micro-batches that the chunk's sums contain (allreduce.Tally)
type reduceJob struct {
	format  fixedpoint.Format
	rank    int
	world   int
	vectors Vectors
	tally   tally

	buckets         []allreduce.Span
	sends, receives []allreduce.Chunk
	handed          int // Buckets that the caller has handed over.
	able            int // Sends that have what they need.
	received        int
}

// tally is what a rank counts in and what it has heard.
type tally struct {
	mine  allreduce.Tally
	all   allreduce.Tally // What the complete sums must contain; empty: nothing is counted.
	heard []allreduce.Tally
	known []bool // By step of the reduce-scatter: whether heard is set.
}

const (
	jobReduce    = 1
	reducePrefix = 8 + allreduce.TallyBytes

	// turnElements is what goes round together: 1 MiB of sums. A few of these, of two vectors, are still in the second or third
	// cache when they are complete; for less, ranks wait for each other too often.
	turnElements = 256 << 10
)

// start prepares the job for one call, with no bucket handed over. It keeps its memory from call to call.
func (j *reduceJob) start(rank, world int, f fixedpoint.Format, v Vectors, buckets []allreduce.Span) {
	same := j.format == f && j.rank == rank && j.world == world && slices.Equal(j.buckets, buckets) && j.buckets != nil
	j.format, j.rank, j.world, j.vectors, j.handed, j.able, j.received = f, rank, world, v, 0, 0, 0
	j.tally.mine, j.tally.all = v.Mine, v.All
	j.tally.heard = slices.Grow(j.tally.heard[:0], world)[:world]
	j.tally.known = slices.Grow(j.tally.known[:0], world)[:world]
	clear(j.tally.known)
	if same {
		return
	}
	j.buckets = append(j.buckets[:0], buckets...)
	shape := allreduce.Shape{World: world, Buckets: j.buckets, ElementBytes: f.Bytes(), TurnElements: turnElements, ChunkBytes: maxChunkBytes}
	j.sends, j.receives = allreduce.Chunks(j.sends, j.receives, rank, shape)
}

// handOver takes the first n buckets as complete. In a world of one they are reduced.
func (j *reduceJob) handOver(n int) {
	for ; j.handed < n; j.handed++ {
		if b := j.buckets[j.handed]; j.world == 1 {
			copy(j.vectors.OutSums[b.Lo:b.Hi], j.vectors.Sums[b.Lo:b.Hi])
			copy(j.vectors.OutNeeded[b.ExpLo:b.ExpHi], j.vectors.Needed[b.ExpLo:b.ExpHi])
		}
	}
}

func (j *reduceJob) progress() (sendable int, complete bool) {
	for j.able < len(j.sends) && j.sends[j.able].Bucket < j.handed && j.sends[j.able].Needs <= j.received {
		j.able++
	}
	return j.able, j.received == len(j.receives) && j.handed == len(j.buckets)
}

func (j *reduceJob) ready() bool {
	return j.received == len(j.receives) || j.receives[j.received].Bucket < j.handed
}

func (j *reduceJob) encode(i int, b []byte) ([]byte, error) {
	c, sums, exps := &j.sends[i], j.vectors.OutSums, j.vectors.OutNeeded
	if c.Needs == 0 {
		sums, exps = j.vectors.Sums, j.vectors.Needed
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(c.Bucket))
	width := len(b) + 1
	b = append(b, byte(c.Phase), 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(c.Step))
	b = j.tally.sent(c).Append(b)
	b, tight, ok := appendSums(b, sums[c.Lo:c.Hi], j.format)
	if !ok {
		return nil, fmt.Errorf("a sum in elements %d to %d is beyond int16: the wire format must be the one that the sums were rounded for", c.Lo, c.Hi)
	}
	b[width] = byte(bit(tight))
	for _, e := range exps[c.ExpLo:c.ExpHi] {
		b = append(b, byte(e))
	}
	return b, nil
}

func (j *reduceJob) accept(payload []byte) error {
	if j.received == len(j.receives) {
		return fmt.Errorf("a chunk beyond the last of %d", len(j.receives))
	}
	c := &j.receives[j.received]
	if len(payload) < reducePrefix || payload[5] > 1 {
		return fmt.Errorf("chunk %d of %d bytes has no valid prefix", j.received, len(payload))
	}
	tight := payload[5] == 1
	body := sumBytes(c.Hi-c.Lo, j.format, tight)
	if want := reducePrefix + body + c.ExpHi - c.ExpLo; len(payload) != want {
		return fmt.Errorf("chunk %d has %d bytes, want %d: all ranks must reduce vectors of the same lengths in the same format", j.received, len(payload), want)
	}
	le := binary.LittleEndian
	if bucket, phase, step := le.Uint32(payload), payload[4], le.Uint16(payload[6:]); int(bucket) != c.Bucket || int(phase) != int(c.Phase) || int(step) != c.Step {
		return fmt.Errorf("chunk %d is of bucket %d, phase %d, step %d, want %d, %d, %d: all ranks must reduce the same buckets", j.received, bucket, phase, step, c.Bucket, c.Phase, c.Step)
	}
	if err := j.tally.take(c, allreduce.DecodeTally(payload[8:])); err != nil {
		return err
	}
	j.add(c, payload[reducePrefix:reducePrefix+body], payload[reducePrefix+body:], tight)
	j.received++
	return nil
}

func (j *reduceJob) add(c *allreduce.Chunk, body, exps []byte, tight bool) {
	v := &j.vectors
	out := v.OutNeeded[c.ExpLo:c.ExpHi]
	for i := range out {
		out[i] = int8(exps[i])
	}
	if c.Phase == allreduce.AllGather {
		takeSums(v.OutSums[c.Lo:c.Hi], body, j.format, tight)
		return
	}
	fixedpoint.Combine(out, v.Needed[c.ExpLo:c.ExpHi])
	addSums(v.OutSums[c.Lo:c.Hi], v.Sums[c.Lo:c.Hi], body, j.format, tight)
}

// sent returns the tally of a chunk to send: what was heard in the step before, and this rank's own.
func (t *tally) sent(c *allreduce.Chunk) allreduce.Tally {
	switch {
	case c.Phase == allreduce.AllGather:
		return t.all
	case c.Step == 0:
		return t.mine
	}
	both, _ := t.heard[c.Step-1].Union(t.mine)
	return both
}

// take checks the tally of a chunk that came. It is the same for all chunks of a step of the reduce-scatter, since a rank's
// own is the same for all buckets; after the last step nothing may be missing.
func (t *tally) take(c *allreduce.Chunk, got allreduce.Tally) error {
	if c.Phase == allreduce.AllGather {
		if got != t.all {
			return &TallyError{Missing: t.all.Count() - got.Count()}
		}
		return nil
	}
	if t.known[c.Step] {
		if got != t.heard[c.Step] {
			return fmt.Errorf("the chunks of step %d contain different micro-batches", c.Step)
		}
		return nil
	}
	both, twice := got.Union(t.mine)
	last := c.Step == len(t.known)-2
	if twice > 0 || last && both != t.all {
		return &TallyError{Twice: twice, Missing: t.all.Count() - both.Count()}
	}
	t.known[c.Step], t.heard[c.Step] = true, got
	return nil
}
