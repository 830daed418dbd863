package bench

import (
	"fmt"
	"regexp"
)

// The dtypes of the rows, by PyTorch's names. A step in bfloat16 is one in mixed precision, on both sides.
const (
	Float32  = "float32"
	BFloat16 = "bfloat16"
)

// Work is one row of the comparison.
type Work struct {
	Request
	// Step: each side has a process for this row alone, and its peak memory is compared too.
	Step bool
	// Large: it takes minutes and most of a machine's memory. The sides never live together: each turn is a fresh process.
	Large bool
}

// ID is what a pattern selects by.
func (w Work) ID() string { return w.Work + "/" + w.DType }

// Turns of kernels: as long as the clock and the threads' first moments after idleness ask for.
const (
	warmMS  = 25
	timedMS = 60
)

// Works lists all rows, in the order of the table.
func Works() []Work {
	var all []Work
	for _, s := range []string{"S", "M", "L"} {
		all = append(all, stepWork(s, Float32), stepWork(s, BFloat16))
	}
	all = append(all, limitedWork("L", Float32, 15))
	for _, r := range kernels() {
		r.DType, r.WarmMS, r.TimedMS = Float32, warmMS, timedMS
		all = append(all, Work{Request: r})
	}
	for _, r := range halfKernels() {
		r.DType, r.WarmMS, r.TimedMS = BFloat16, warmMS, timedMS
		all = append(all, Work{Request: r})
	}
	return all
}

// halfKernels are the products that mixed precision computes. Ours take float32 from memory and round it to bfloat16, as a
// program in mixed precision does, and compute attention in float32; PyTorch's operands are bfloat16 in memory.
func halfKernels() []Request {
	var all []Request
	for _, trans := range []string{"nn", "nt", "tn"} {
		all = append(all, gemm(1024, 1024, 1024, trans))
	}
	for _, s := range [][3]int{{2, 64, 320}, {2, 8, 1280}} {
		for _, pass := range []string{"forward", "data", "weight"} {
			all = append(all, conv(s[0], s[1], s[2], pass))
		}
	}
	for _, s := range [][4]int{{2, 8, 4096, 40}, {8, 8, 1024, 4}, {8, 8, 1024, 8}} {
		for _, pass := range []string{"forward", "backward"} {
			all = append(all, attention(s[0], s[1], s[2], s[3], pass))
		}
	}
	return all
}

// kernels are the shapes of UNets with two or eight samples of 64×64 and 32×32 latents.
func kernels() []Request {
	var all []Request
	for _, trans := range []string{"nn", "nt", "tn"} { // Forward of A·B, a linear's forward, its weight gradient.
		all = append(all, gemm(1024, 1024, 1024, trans))
	}
	all = append(all, gemm(4096, 1280, 320, "nt"), gemm(64, 1280, 1280, "nt"), gemm(256, 320, 768, "nt"), gemm(77, 64, 64, "nt"))
	for _, s := range [][3]int{{2, 64, 320}, {8, 64, 64}, {2, 8, 1280}} {
		for _, pass := range []string{"forward", "data", "weight"} {
			all = append(all, conv(s[0], s[1], s[2], pass))
		}
	}
	for _, s := range [][4]int{{2, 8, 4096, 40}, {2, 8, 1024, 40}, {2, 5, 1024, 64}, {8, 8, 1024, 4}, {8, 8, 1024, 8}} {
		for _, pass := range []string{"forward", "backward"} {
			all = append(all, attention(s[0], s[1], s[2], s[3], pass))
		}
	}
	for _, s := range [][3]int{{2, 64, 320}, {8, 64, 64}} {
		for _, pass := range []string{"forward", "backward"} {
			all = append(all, norm(s[0], s[1], s[2], pass))
		}
	}
	return append(all, elements("adamw", 16<<20), elements("silu", 1<<20))
}

func gemm(m, n, k int, trans string) Request {
	return Request{Work: fmt.Sprintf("sgemm-%dx%dx%d-%s", m, n, k, trans), Kind: "gemm",
		Shape: map[string]int{"m": m, "n": n, "k": k, "trans_a": flag(trans[0]), "trans_b": flag(trans[1])}}
}

func flag(c byte) int {
	if c == 't' {
		return 1
	}
	return 0
}

// conv is a 3×3 convolution of b square pictures with as many channels before as after.
func conv(b, side, channels int, pass string) Request {
	return Request{Work: fmt.Sprintf("conv3x3-%d-%d-%dx%d-b%d-%s", channels, channels, side, side, b, pass), Kind: "conv-" + pass,
		Shape: map[string]int{"batch": b, "side": side, "in": channels, "out": channels}}
}

func attention(b, heads, tokens, dim int, pass string) Request {
	return Request{Work: fmt.Sprintf("attention-%dx%dx%d-b%d-%s", heads, tokens, dim, b, pass), Kind: "attention-" + pass,
		Shape: map[string]int{"batch": b, "heads": heads, "queries": tokens, "keys": tokens, "dim": dim}}
}

// norm is a group norm of 32 groups with SiLU after it.
func norm(b, side, channels int, pass string) Request {
	return Request{Work: fmt.Sprintf("groupnorm-silu-%d-%dx%d-b%d-%s", channels, side, side, b, pass), Kind: "norm-" + pass,
		Shape: map[string]int{"batch": b, "side": side, "channels": channels, "groups": 32}}
}

func elements(kind string, n int) Request {
	return Request{Work: fmt.Sprintf("%s-%d", kind, n), Kind: kind, Shape: map[string]int{"elements": n}}
}

// Select returns the works whose ID the pattern matches, and the large ones among them that were left out: a large work
// is taken only when the pattern matches nothing else.
func Select(all []Work, pattern *regexp.Regexp) (chosen, left []Work) {
	for _, w := range all {
		switch {
		case !pattern.MatchString(w.ID()):
		case w.Large:
			left = append(left, w)
		default:
			chosen = append(chosen, w)
		}
	}
	if len(chosen) == 0 {
		return left, nil
	}
	return chosen, left
}
