// Package worker is the shell of a worker: it joins a cluster, does the jobs it is given (encode
// pairs, be a rank of a training ring, sample and score pictures), and reports.
//
// One goroutine owns the worker; a job runs in one other, which it starts, cancels and waits for.
// What a rank does next is decided by the pure machine of lifecycle, what a step computes is in
// trainstep; here are files, the ring and the reports.
package worker
