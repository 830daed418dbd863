package bench

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"yohaku/model/backend"
	"yohaku/model/compile"
	"yohaku/model/diffusion"
	"yohaku/model/objective"
	"yohaku/model/op"
	"yohaku/model/train"
	"yohaku/model/unet"
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
		UNet: u, Schedule: noise.Schedule(), Items: r.Shape["pairs"], Height: r.Shape["latent"], Width: r.Shape["latent"], ContextLength: r.Shape["tokens"],
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

// profiled compiles a step's graph, as package train does, so that each instruction is measured.
func profiled(r Request, be backend.Backend) (*compile.Executable, error) {
	c, err := StepConfig(r)
	if err != nil {
		return nil, err
	}
	b := op.NewBuilder()
	n := 2 * c.Items
	in := unet.Inputs{
		Sample:    b.Input("sample", n, c.Height, c.Width, c.UNet.InChannels),
		Timesteps: b.Input("timesteps", n),
		Context:   b.Input("context", n, c.ContextLength, c.UNet.ContextDim()),
	}
	pred, err := unet.Build(b, c.UNet, in)
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", r.Work, err)
	}
	var loss op.Node
	err = op.Build(func() {
		loss = b.Apply(op.PairLoss{Objective: c.Objective}, b.Apply(op.MSEPerSample{}, pred, b.Input("target", in.Sample.Shape()...)), b.Input("terms", c.Items, op.PairTerms))
	})
	if err != nil {
		return nil, fmt.Errorf("build the loss of %s: %w", r.Work, err)
	}
	grads, err := b.Grad(loss, b.Params()...)
	if err != nil {
		return nil, fmt.Errorf("differentiate %s: %w", r.Work, err)
	}
	e, err := compile.Compile(b, be, []op.Node{loss}, grads, compile.Options{Profile: true})
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", r.Work, err)
	}
	Initialize(e.Params(), e.ParamSlab())
	fillInputs(e)
	return e, nil
}

func fillInputs(e *compile.Executable) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, info := range e.Inputs() {
		for i, x := 0, e.Input(info.Name); i < len(x); i++ {
			x[i] = float32(r.NormFloat64())
		}
	}
	timesteps := e.Input("timesteps")
	for i := range timesteps {
		timesteps[i] = float32(100 * (i % 10))
	}
}
