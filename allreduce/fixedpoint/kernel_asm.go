//go:build amd64 && !noasm

package fixedpoint

import "golang.org/x/sys/cpu"

var avx512 = &kernels{name: "avx512", maxAbs: maxAbs512, addRounded: addRounded512, addDithered: addDithered512, decode: decode512,
	addInt32: addWire32x512, addInt16: addWire16x512, widen: widen512, narrow: narrow512,
	pack24: pack24x512, pack12: pack12x512, add24: add24x512, add12: add12x512, open24: open24x512, open12: open12x512}

var avx2 = &kernels{name: "avx2", maxAbs: maxAbs256, addRounded: addRounded256, addDithered: addDithered256, decode: decode256,
	addInt32: addWire32x256, addInt16: addWire16x256, widen: widen256, narrow: narrow256,
	pack24: pack24x256, pack12: pack12x256, add24: add24x256, add12: add12x256, open24: open24x256, open12: open12x256}

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
