package natsring

import (
	"encoding/binary"
	"fmt"
)

// job is what an operation does with chunks. The machine calls encode with 0, 1, 2, … and accept with
// what the previous rank's encode gave, in the same order.
type job interface {
	// progress returns how many chunks could have been sent by now, and whether all that is to come
	// has come; from then on the first figure no longer grows.
	progress() (sendable int, complete bool)
	// ready reports whether the next chunk to come can be accepted already.
	ready() bool
	// encode appends the payload of chunk i < sendable to b, which has room for maxPayloadBytes.
	encode(i int, b []byte) ([]byte, error)
	// accept takes the next chunk. An error means that the ranks disagree.
	accept(payload []byte) error
}

// gatherJob hands every rank's item to all. A chunk is origin rank, item length (4 bytes each), then
// the next part of the item. A rank passes on what it takes, until the origin is next.
type gatherJob struct {
	rank, world int
	items       [][]byte // By rank, so far.
	known       []bool   // Whether the item's length is known.
	total       []int
	whole       int
	queue       []part
}

type part struct{ origin, lo, hi int }

const (
	gatherPrefix    = 8
	maxGatherBytes  = 1 << 20
	gatherPartBytes = maxChunkBytes - gatherPrefix
)

func newGatherJob(rank, world int, mine []byte) *gatherJob {
	j := &gatherJob{rank: rank, world: world, items: make([][]byte, world), known: make([]bool, world), total: make([]int, world)}
	j.items[rank], j.known[rank], j.total[rank], j.whole = append([]byte{}, mine...), true, len(mine), 1
	if world == 1 {
		return j
	}
	for lo := 0; ; lo += gatherPartBytes {
		hi := min(lo+gatherPartBytes, len(mine))
		j.queue = append(j.queue, part{rank, lo, hi})
		if hi == len(mine) {
			return j
		}
	}
}

func (j *gatherJob) progress() (sendable int, complete bool) {
	return len(j.queue), j.whole == j.world
}

func (j *gatherJob) ready() bool { return true }

func (j *gatherJob) encode(i int, b []byte) ([]byte, error) {
	p := j.queue[i]
	b = binary.LittleEndian.AppendUint32(b, uint32(p.origin))
	b = binary.LittleEndian.AppendUint32(b, uint32(j.total[p.origin]))
	return append(b, j.items[p.origin][p.lo:p.hi]...), nil
}

func (j *gatherJob) accept(payload []byte) error {
	if len(payload) < gatherPrefix {
		return fmt.Errorf("gather chunk of %d bytes, must be at least %d", len(payload), gatherPrefix)
	}
	origin, total := binary.LittleEndian.Uint32(payload), binary.LittleEndian.Uint32(payload[4:])
	body := payload[gatherPrefix:]
	if int64(origin) >= int64(j.world) || int(origin) == j.rank || total > maxGatherBytes {
		return fmt.Errorf("gather chunk of rank %d, item of %d bytes; must be another rank below %d, at most %d bytes", origin, total, j.world, maxGatherBytes)
	}
	return j.add(int(origin), int(total), body)
}

func (j *gatherJob) add(origin, total int, body []byte) error {
	if !j.known[origin] {
		j.known[origin], j.total[origin], j.items[origin] = true, total, make([]byte, 0, total)
	} else if len(j.items[origin]) == j.total[origin] {
		return fmt.Errorf("a gather chunk beyond the item of rank %d", origin)
	}
	lo := len(j.items[origin])
	hi := lo + len(body)
	if total != j.total[origin] || hi > total || len(body) == 0 && total > 0 {
		return fmt.Errorf("gather chunk of %d bytes at %d of rank %d's item of %d bytes says %d", len(body), lo, origin, j.total[origin], total)
	}
	j.items[origin] = append(j.items[origin], body...)
	if (j.rank+1)%j.world != origin {
		j.queue = append(j.queue, part{origin, lo, hi})
	}
	if hi == total {
		j.whole++
	}
	return nil
}
