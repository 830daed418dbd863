package kernel

import "unsafe"

// matrix is a stored matrix as a source. Element (row, k) is data[row*ld+k] when alongK, otherwise data[k*ld+row].
type matrix struct {
	data   []float32
	ld     int
	alongK bool
}

func (m *matrix) pack(set *kernelSet, s *Scratch, dst []float32, width, i, n, k0, kc int) {
	if kc == 0 {
		return
	}
	if !m.alongK {
		set.packCopy(dst, width, m.data[k0*m.ld+i:], m.ld, n, width, kc)
		return
	}
	rows := s.rows[:n]
	for r := range rows {
		rows[r] = &m.data[(i+r)*m.ld+k0]
	}
	set.packRows(dst, width, rows, kc)
}

// at is the matrix from element (row, k) on.
func (m *matrix) at(row, k int) []float32 {
	if m.alongK {
		return m.data[row*m.ld+k:]
	}
	return m.data[k*m.ld+row:]
}

// at is the slice of n elements that starts at p.
func at[T float32 | float64 | Half | *float32](p *T, n int) []T { return unsafe.Slice(p, n) }

// offset is the element some bytes after p.
func offset(p *float32, bytes int) *float32 { return (*float32)(unsafe.Add(unsafe.Pointer(p), bytes)) }
