//go:build !amd64 || noasm

package kernel

func available() []*kernelSet {
	genericSet.half = emulateHalf(genericSet)
	return []*kernelSet{genericSet}
}

// pause is a hint to the processor that this thread spins.
func pause() {}
