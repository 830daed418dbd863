//go:build unix && !linux

package main

import "testing"

const addrHere = ""

func otherMachine(*testing.T) (m machine, why string) {
	return machine{}, "only Linux has network namespaces"
}
