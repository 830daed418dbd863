//go:build amd64 && !noasm

package fixedpoint

import "golang.org/x/sys/cpu"

var avx512 = &kernels{name: "avx512", maxAbs: maxAbs512, addRounded: addRounded512, addDithered: addDithered512, decode: decode512,
	addInt32: addWire32x512, addInt16: addWire16x512, widen: widen512, narrow: narrow512}

var avx2 = &kernels{name: "avx2", maxAbs: maxAbs256, addRounded: addRounded256, addDithered: addDithered256, decode: decode256,
	addInt32: addWire32x256, addInt16: addWire16x256, widen: widen256, narrow: narrow256}

// available lists the sets that this processor has, best first.
func available() []*kernels {
	var sets []*kernels
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL {
		sets = append(sets, avx512)
	}
	if cpu.X86.HasAVX2 {
		sets = append(sets, avx2)
	}
	return sets
}
