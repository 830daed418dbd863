//go:build !amd64 || noasm

package kernel

func available() []*kernelSet { return []*kernelSet{genericSet} }

// pause is a hint to the processor that this thread spins.
func pause() {}
