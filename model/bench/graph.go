package bench

import (
	"math"
	"math/rand/v2"
	"strings"

	"yohaku/model/compile"
	"yohaku/model/diffusion"
	"yohaku/model/objective"
	"yohaku/model/op"
	"yohaku/model/train"
)

// StepConfig is the micro-batch of a step's request, with the peer's settings.
func StepConfig(r Request) (train.Config, error) {
	u, err := r.UNet()
	if err != nil {
		return train.Config{}, err
	}
	noise := diffusion.Default("DDPMScheduler")
	noise.BetaStart, noise.BetaEnd, noise.BetaSchedule = 0.00085, 0.012, "scaled_linear"
	return train.Config{
		Memory: train.Memory{Limit: r.MemoryLimit, PerTrained: train.MomentBytes + train.SumBytes}, // As a worker alone has them.
		UNet:   u, Schedule: noise.Schedule(), Items: r.Shape["pairs"], Height: r.Shape["latent"], Width: r.Shape["latent"], ContextLength: r.Shape["tokens"], BF16: r.DType == BFloat16,
		Objective: objective.Config{Form: objective.ReferenceCode, Beta: 0.1, SNR: 0.5, Scale: 1000},
	}, nil
}

// Initialize fills parameters as PyTorch does at the start, near enough for timing: norms with 1, biases with 0, the
// rest uniform within ±1/√fan_in.
func Initialize(infos []compile.ParamInfo, slab []float32) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, p := range infos {
		x := slab[p.Offset : p.Offset+p.Len]
		switch {
		case len(p.Shape) > 1:
			bound := float32(1 / math.Sqrt(float64(fanIn(p.Shape))))
			for i := range x {
				x[i] = bound * (2*r.Float32() - 1)
			}
		case strings.HasSuffix(p.Name, ".weight"):
			for i := range x {
				x[i] = 1
			}
		}
	}
}

// fanIn is the inputs of an output, in the engine's layouts: [out,in], [kh,kw,in,out].
func fanIn(s op.Shape) int {
	if len(s) == 2 {
		return s[1]
	}
	return s.TotalSize() / s[len(s)-1]
}
