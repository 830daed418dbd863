package main

import "testing"

// addrHere is where a coordinator on the machine that the test is on can be joined from the other one.
const addrHere = "10.213.7.1:0"

// otherMachine is where further workers of TestChaos live, and the link to there.
func otherMachine(t *testing.T) (m machine, why string) {
	here, there, why := tryNamespaces(t)
	if why != "" {
		return machine{}, why
	}
	return machine{
		here:  here.prefix(),
		start: func(args ...string) *process { return there.start(t, "worker", args...) },
		link:  func(state string) { there.link(t, state) },
	}, ""
}
