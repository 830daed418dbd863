//go:build !amd64 || noasm

package vector

func usesAssembly() bool { return false }

func setAssembly(bool) bool { return false }
