//go:build !noasm

package kernel

import "golang.org/x/sys/cpu"

// available lists the kernel sets that this processor has, best first.
func available() []*kernelSet {
	var sets []*kernelSet
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL && cpu.X86.HasFMA {
		avx512Set.half = emulateHalf(avx512Set)
		if hasHalf {
			avx512Set.half = pairs512()
		}
		sets = append(sets, avx512Set)
	}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		avx2Set.half = emulateHalf(avx2Set)
		sets = append(sets, avx2Set)
	}
	genericSet.half = emulateHalf(genericSet)
	return append(sets, genericSet)
}
