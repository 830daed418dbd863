//go:build !amd64 || noasm

package fixedpoint

func available() []*kernels { return nil }
