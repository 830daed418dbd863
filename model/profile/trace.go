package profile

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"yohaku/model/compile"
)

// event is a complete event ("ph": "X"); times are in microseconds.
type event struct {
	Name     string         `json:"name"`
	Category string         `json:"cat"`
	Phase    string         `json:"ph"`
	Start    float64        `json:"ts"`
	Duration float64        `json:"dur"`
	Process  int            `json:"pid"`
	Thread   int            `json:"tid"`
	Args     map[string]any `json:"args"`
}

// WriteTrace writes the last run: an event for each instruction, and above them one for each part of the network.
func WriteTrace(w io.Writer, title string, code []compile.InstructionProfile) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, `{"displayTimeUnit":"ms","otherData":{"title":%q},"traceEvents":[`, title)
	enc := json.NewEncoder(out)
	for i, e := range append(parts(code), instructions(code)...) {
		if i > 0 {
			fmt.Fprint(out, ",")
		}
		if err := enc.Encode(e); err != nil {
			return fmt.Errorf("write trace: %w", err)
		}
	}
	fmt.Fprint(out, "]}\n")
	return out.Flush() // Reports the errors of the writes before, too.
}

func instructions(code []compile.InstructionProfile) []event {
	var all []event
	for _, c := range code {
		args := map[string]any{"scope": c.Scope, "operands": shapes(c.Operands), "results": shapes(c.Results), "bytes": c.Bytes()}
		if c.FLOPs > 0 {
			args["flops"], args["gflops_per_second"] = c.FLOPs, over(float64(c.FLOPs), float64(c.Last.Nanoseconds()))
		}
		all = append(all, event{Name: c.Op, Category: category(c), Phase: "X", Start: microseconds(c.Start), Duration: microseconds(c.Last), Process: 1, Thread: 2, Args: args})
	}
	return all
}

func category(c compile.InstructionProfile) string {
	switch {
	case c.Again:
		return "again"
	case c.Backward:
		return "backward"
	}
	return "forward"
}

// parts joins neighbouring instructions of one part of the network, such as down_blocks.0.resnets.1.
func parts(code []compile.InstructionProfile) []event {
	var all []event
	for _, c := range code {
		name, end := part(c.Scope), microseconds(c.Start+c.Last)
		if n := len(all); n > 0 && all[n-1].Name == name && all[n-1].Category == category(c) {
			all[n-1].Duration = end - all[n-1].Start
			continue
		}
		all = append(all, event{Name: name, Category: category(c), Phase: "X", Start: microseconds(c.Start), Duration: microseconds(c.Last), Process: 1, Thread: 1})
	}
	return all
}

// part is the first four names of a scope.
func part(scope string) string {
	names := strings.Split(scope, ".")
	return strings.Join(names[:min(4, len(names))], ".")
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// over is a/b, 0 where b is 0.
func over(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
