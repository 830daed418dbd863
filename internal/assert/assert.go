// Package assert states this program's own invariants. A false one is a bug here, never bad
// input: network, file, flag and dataset input gets errors instead.
package assert

import "fmt"

// That panics with the formatted message when cond is false.
func That(cond bool, format string, args ...any) {
	if !cond {
		panic("invariant broken: " + fmt.Sprintf(format, args...))
	}
}
