//go:build !noasm

package vector

func usesAssembly() bool { return assembly }

func setAssembly(on bool) (old bool) {
	old, assembly = assembly, on
	return old
}
