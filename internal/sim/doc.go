// Package sim plays whole clusters in one process: the coordinator's machine (rendezvous) and the
// ranks' (lifecycle) under a simulated clock and network, from a seed, so that a run that breaks a
// promise can be played again.
//
// Nodes are killed, frozen, cut off, given up while alive, asked to leave, and join; the network
// splits; orders and reports are late, some past the time that they are waited for, lost, or come
// twice; a rank that dies in a reduction leaves it complete at some of the others and not at the
// rest. The coordinator crashes and is started again with its run folder, while the ring goes on; a
// copy of the folder, older by then, starts a rival, with or without takeover. Gradients are toy integers whose rounding depends on an
// exponent, so that a micro-batch that counts twice or not at all, or a sum taken with the wrong
// exponent, ends in other parameters.
//
// Checked after every event that matters: a step stands in the log once; generations only grow;
// every rank's parameters after a step are those of a single worker; every micro-batch of a step
// is in one share; training ends within a bound once faults stop.
//
// Lines of the machines that are made wrong one by one, and the seed that finds each: mutation_test.go,
// by hand with -sim.mutations.
//
// The shells are modelled, not run: what is proved is proved of the machines.
package sim
