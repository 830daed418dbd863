//go:build !noasm

package kernel

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// hasHalf: the processor multiplies pairs of bf16.
var hasHalf = cpu.X86.HasAVX512BF16 && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512BW

// pairs512 are products of bf16 on AVX512-BF16.
func pairs512() *halfSet {
	set := *avx512Set
	h := &halfSet{set: &set, depth: 2, packRows: packRowsPairs, packCopy: packCopyPairs, row: rowPairs, pair: pairRows, toHalf: toHalf, fromHalf: fromHalf}
	set.half, set.direct, set.strip, set.packRows, set.packCopy = h, false, stripPairs, packRowsRounded, packCopyRounded
	return h
}

func stripPairs(t *strip, _ *Scratch) {
	for r, at := 0, 0; r < t.rows; r, at = r+t.step, at+t.aStep {
		tilePairs(t, min(t.step, t.rows-r), &t.a[at], &t.c[r*t.ldc])
	}
}

func tilePairs(t *strip, rows int, a, c *float32) {
	b, bias, mask := &t.b[0], first(t.bias), lanes(t.cols)
	kc, lda, ldc, load := t.kc, t.lda*4, t.ldc*4, 0
	if t.load {
		load = 1
	}
	switch {
	case t.cols > 16 && t.byRows:
		tileWideHalfRows(rows, kc, a, b, c, lda, ldc, load, bias, mask)
	case t.cols > 16:
		tileWideHalf(rows, kc, a, b, c, lda, ldc, load, bias, mask)
	case t.byRows:
		tileNarrowHalfRows(rows, kc, a, b, c, lda, ldc, load, bias, mask)
	default:
		tileNarrowHalf(rows, kc, a, b, c, lda, ldc, load, bias, mask)
	}
}

func packRowsRounded(dst []float32, width int, rows []*float32, kc int) {
	if kc == 0 {
		return
	}
	_ = dst[width*ceilDiv(kc, 2)-1]
	var block [16]*float32
	for j := 0; j < width; j += 16 {
		for i := range block {
			block[i] = rows[min(j+i, len(rows)-1)]
		}
		transposeHalf16(&dst[j], &block[0], kc, width*4, lanes(min(16, width-j)))
	}
}

func packCopyRounded(dst []float32, width int, src []float32, stride, n, fill, kc int) {
	if kc == 0 {
		return
	}
	_, _ = dst[(ceilDiv(kc, 2)-1)*width+fill-1], src[(kc-1)*stride+n-1]
	copyPairs(&dst[0], &src[0], kc, width*4, stride*4, lanes(n), lanes(fill))
}

func rowPairs(dst, src []float32) {
	n := len(src)
	_ = dst[(n-1)/2]
	dst[(n-1)/2] = 0 // The last upper half.
	toHalf((*Half)(unsafe.Pointer(&dst[0])), &src[0], n)
}

func pairRows(dst []float32, _ int, src []float32, stride, n, kc int) {
	_, _ = dst[n-1], src[(kc-1)*stride+n-1]
	for i := 0; i < n; i += 32 {
		mask := lanes(min(32, n-i))
		copyPairs(&dst[i], &src[i], kc, 0, 4*stride, mask, mask)
	}
}

func packRowsPairs(dst []float32, width int, rows []*Half, kc int) {
	if kc == 0 {
		return
	}
	_ = dst[width*ceilDiv(kc, 2)-1]
	var block [16]*float32
	for j := 0; j < width; j += 16 {
		for i := range block {
			block[i] = (*float32)(unsafe.Pointer(rows[min(j+i, len(rows)-1)]))
		}
		if kc > 1 {
			transpose16(&dst[j], &block[0], kc/2, width*4, lanes(min(16, width-j)))
		}
	}
	if kc%2 == 0 {
		return
	}
	last := dst[kc/2*width:][:width]
	for i := range last {
		last[i] = widen(at(rows[min(i, len(rows)-1)], kc)[kc-1])
	}
	lowerHalves(last)
}

// lowerHalves moves bf16 from the upper half of each element to the lower.
func lowerHalves(x []float32) {
	for i := range x {
		p := (*uint32)(unsafe.Pointer(&x[i]))
		*p >>= 16
	}
}

func packCopyPairs(dst []float32, width int, src []Half, stride, n, fill, kc int) {
	if kc == 0 {
		return
	}
	_, _ = dst[(ceilDiv(kc, 2)-1)*width+fill-1], src[(kc-1)*stride+n-1]
	copyPairsHalf(&dst[0], &src[0], kc, width*4, stride*2, lanes(n), lanes(fill))
}
