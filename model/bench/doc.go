// Package bench times the engine beside PyTorch, its peer: kernels on the shapes of diffusion UNets, and whole training
// steps.
//
// Both sides are child processes that speak one protocol, a line of JSON for a request and one for its reply, so each
// has its own memory and threads: this program again (Serve), and peer.py in a Python that has torch and diffusers.
// Compare lets them take turns, after a turn that counts for neither, so that a machine whose speed drifts drifts for
// both. A side's figure is the median over the turns of the median of a turn's calls.
//
// Invariants: shapes are written down once, in works.go, and travel in the request; the clock runs in the child, around
// the call alone; while one side works the other waits for its next line and uses no processor.
package bench
