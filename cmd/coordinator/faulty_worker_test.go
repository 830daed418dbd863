package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"strconv"
	"yohaku/cmd/internal/cli"
	"yohaku/worker"
	"yohaku/worker/trainstep"
)

// faultyWorker joins as a worker whose memory fails once. Its arguments are the address, the
// token, what fails, and the step (from 0) from which on: a rank may have nothing to compute in one.
func faultyWorker(args []string) int {
	at, err := strconv.Atoi(args[3])
	log := cli.Logger(os.Stderr, "json")
	if err == nil {
		err = worker.Run(context.Background(), worker.Options{
			Addr: args[0], Token: args[1], Name: "faulty", Device: "cpu", Threads: 1, Version: cli.Version(), Log: log,
			Fault: fault(args[2], at, func(step int) { log.Info().Int("step", step).Msg("a bit flips") }),
		})
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		return 1
	}
	return 0
}

// fault flips one bit, once, and tells in which step.
func fault(what string, at int, tell func(step int)) worker.Fault {
	done := false
	once := func(step int, x *float32) {
		if step >= at && !done {
			done = true
			tell(step)
			*x = math.Float32frombits(math.Float32bits(*x) ^ 1<<20)
		}
	}
	switch what {
	case "parameter":
		return worker.Fault{Compute: func(step int, t *trainstep.Trainer) { once(step, &t.Params()[3].Data[1]) }}
	case "moment":
		return worker.Fault{Compute: func(step int, t *trainstep.Trainer) { once(step, &t.State().M[5]) }}
	case "update":
		return worker.Fault{Update: func(step int, t *trainstep.Trainer) { once(step, &t.State().V[5]) }}
	case "nan":
		return worker.Fault{Gradient: func(step, _, tensor int, grad []float32) {
			if step == at && tensor == 2 {
				grad[0] = float32(math.NaN())
			}
		}}
	case "gradient":
		return worker.Fault{Gradient: func(step, _, tensor int, grad []float32) {
			if tensor == 2 {
				once(step, &grad[0])
			}
		}}
	}
	return worker.Fault{}
}
