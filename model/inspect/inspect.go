// Package inspect says what a model folder or an adapter file holds, what of it does not fit, and what training it would
// take, without allocating the training's memory.
package inspect

import (
	"fmt"

	"yohaku/model/backend"
	"yohaku/model/checkpoint"
	"yohaku/model/clip"
	"yohaku/model/diffusion"
	"yohaku/model/layer"
	"yohaku/model/objective"
	"yohaku/model/op"
	"yohaku/model/train"
	"yohaku/model/unet"
	"yohaku/model/vae"
)

// Options say what the training to plan is.
type Options struct {
	Resolution int // Pixels; 0 is what the model was trained at.
	Items      int // In a micro-batch.
	LoRA       layer.LoRA
}

// Report is what a pipeline folder holds.
type Report struct {
	Path           string      `json:"path"`
	Class          string      `json:"class"`
	Family         string      `json:"family"`
	PredictionType string      `json:"prediction_type"`
	Scheduler      string      `json:"scheduler"`
	Resolution     int         `json:"resolution"` // That the plans are for.
	Items          int         `json:"items"`
	Components     []Component `json:"components"`
	Full           *Plan       `json:"full,omitempty"` // Training the UNet itself.
	LoRA           *Plan       `json:"lora,omitempty"` // Training adapters beside it.
	Problems       []string    `json:"problems"`       // What is missing, unknown or not supported.
}

// Component is one part with weights.
type Component struct {
	Name       string `json:"name"`
	Class      string `json:"class"`
	Parameters int64  `json:"parameters"`
	DType      string `json:"dtype"` // That all tensors share; F32 when they differ.
	Bytes      int64  `json:"bytes"`
	SHA256     string `json:"sha256"` // Of names, types, shapes and bytes in the order of names.
}

// Plan is what a training step of MaPO would take.
type Plan struct {
	Targets           []string `json:"targets,omitempty"` // Of adapters.
	Trained           int64    `json:"trained"`           // Parameters.
	Frozen            int64    `json:"frozen"`
	FLOPs             int64    `json:"flops_per_micro_batch"`
	ParameterBytes    int64    `json:"parameter_bytes"`
	ActivationBytes   int64    `json:"activation_bytes"`
	OptimizerBytes    int64    `json:"optimizer_bytes"`      // Two moments.
	SumsBytes         int64    `json:"sums_bytes"`           // A rank's own sums; with others in the ring, the total too.
	MemoryBytes       int64    `json:"memory_bytes"`         // All of these, for a rank alone.
	MemoryBytesInRing int64    `json:"memory_bytes_in_ring"` // With two ranks or more.
}

// Folder inspects the pipeline folder f. It returns an error only when f is no pipeline; what is wrong with its parts is
// in the report's Problems.
func Folder(f *checkpoint.Folder, be backend.Backend, o Options) (Report, error) {
	p, err := f.Pipeline()
	if err != nil {
		return Report{}, err
	}
	i := inspection{Report: Report{Path: f.Path(), Class: p.Class, Items: o.Items, Problems: []string{}}, pipeline: p, options: o}
	i.unet()
	i.vae()
	for _, name := range []string{"text_encoder", "text_encoder_2"} {
		if _, ok := p.Components[name]; ok {
			i.text(name)
		}
	}
	i.plans(be)
	return i.Report, nil
}

// inspection is one call of Folder.
type inspection struct {
	Report
	pipeline *checkpoint.Pipeline
	options  Options
	network  *unet.Config
	coder    *vae.Config
	context  int // Tokens of a prompt.
}

func (i *inspection) problem(format string, args ...any) {
	i.Problems = append(i.Problems, fmt.Sprintf(format, args...))
}

func (i *inspection) unet() {
	c, err := unet.ReadConfig(i.pipeline.FS(), "unet")
	if err != nil {
		i.problem("unet: %v", err)
		i.component("unet", nil, checkpoint.LoadOptions{})
		return
	}
	i.network = &c
	i.Family = family(c)
	b := op.NewBuilder()
	side := c.Factor()
	in := unet.Inputs{Sample: b.Input("sample", 1, side, side, c.InChannels), Timesteps: b.Input("timesteps", 1), Context: b.Input("context", 1, 1, c.ContextDim())}
	if c.HasTextTime() {
		in.Pooled, in.TimeIDs = b.Input("pooled", 1, c.PooledDim()), b.Input("time_ids", 1, unet.TimeIDs)
	}
	if _, err := unet.Build(b, c, in); err != nil {
		i.problem("unet: %v", err)
	}
	i.component("unet", b, checkpoint.LoadOptions{})
}

// family guesses by the text embedding's width, as the families differ there.
func family(c unet.Config) string {
	switch {
	case c.HasTextTime():
		return "SDXL"
	case c.ContextDim() == 768:
		return "Stable Diffusion 1"
	case c.ContextDim() == 1024:
		return "Stable Diffusion 2"
	}
	return "Stable Diffusion of another size"
}

func (i *inspection) vae() {
	c, err := vae.ReadConfig(i.pipeline.FS(), "vae")
	if err != nil {
		i.problem("vae: %v", err)
		i.component("vae", nil, checkpoint.LoadOptions{})
		return
	}
	i.coder = &c
	b := op.NewBuilder()
	side := c.Factor()
	if _, err := vae.BuildEncoder(b, c, b.Input("image", 1, side, side, c.InChannels)); err != nil {
		i.problem("vae: %v", err)
	}
	if _, err := vae.BuildDecoder(b, c, b.Input("latents", 1, 1, 1, c.LatentChannels)); err != nil {
		i.problem("vae: %v", err)
	}
	i.component("vae", b, checkpoint.LoadOptions{Rename: vae.Rename})
}

func (i *inspection) text(name string) {
	c, err := clip.ReadConfig(i.pipeline.FS(), name)
	if err != nil {
		i.problem("%s: %v", name, err)
		i.component(name, nil, checkpoint.LoadOptions{})
		return
	}
	i.context = c.MaxPositionEmbeddings
	b := op.NewBuilder()
	in := clip.Inputs{IDs: b.Input("ids", 1, c.MaxPositionEmbeddings)}
	if c.HasProjection() {
		in.Pool = b.Input("pool", 1)
	}
	if _, err := clip.BuildText(b, c, in); err != nil {
		i.problem("%s: %v", name, err)
	}
	i.component(name, b, checkpoint.LoadOptions{Rename: clip.Rename})
}

// component reads the part's weights, and holds them to the network in b if there is one.
func (i *inspection) component(name string, b *op.Builder, o checkpoint.LoadOptions) {
	c := Component{Name: name, Class: i.pipeline.Components[name].Class}
	err := func() error {
		sub, err := i.pipeline.Sub(name)
		if err != nil {
			return err
		}
		w, err := sub.Weights("")
		if err != nil {
			return err
		}
		defer w.Close() // Only read.
		for _, tensor := range w.Names() {
			info, _ := w.Info(tensor)
			c.Parameters += int64(info.Elements())
			c.Bytes += info.End - info.Begin
		}
		c.DType = string(w.DType())
		if c.SHA256, err = w.Digest(); err != nil || b == nil {
			return err
		}
		var params []checkpoint.Param
		for _, p := range b.Params() {
			params = append(params, checkpoint.Param{Name: p.Name(), Shape: p.Shape()})
		}
		return w.Check(params, o)
	}()
	if err != nil {
		i.problem("%s: %v", name, err)
	}
	i.Components = append(i.Components, c)
}

// plans estimates a training step, where everything it depends on could be read.
func (i *inspection) plans(be backend.Backend) {
	schedule, err := diffusion.ReadConfig(i.pipeline.FS(), "scheduler")
	if err != nil {
		i.problem("scheduler: %v", err)
		return
	}
	i.Scheduler, i.PredictionType = schedule.Class, schedule.PredictionType
	if err := schedule.CheckSampler(); err != nil {
		i.problem("scheduler: %v", err)
	}
	if i.network == nil || i.coder == nil || i.context == 0 {
		return
	}
	factor := i.coder.Factor()
	i.Resolution = i.options.Resolution
	if i.Resolution == 0 {
		i.Resolution = i.network.SampleSize.Height * factor
	}
	c := train.Config{
		UNet: *i.network, Schedule: schedule.Schedule(), Items: i.options.Items, Height: i.Resolution / factor, Width: i.Resolution / factor, ContextLength: i.context,
		Objective: objective.Config{Form: objective.ReferenceCode, Beta: objective.DefaultBeta, SNR: objective.DefaultSNR, Scale: objective.DefaultScale},
	}
	if i.Full, err = plan(c, be); err != nil {
		i.problem("training the unet: %v", err)
	}
	c.LoRA = &i.options.LoRA
	if i.LoRA, err = plan(c, be); err != nil {
		i.problem("training adapters: %v", err)
		return
	}
	i.LoRA.Targets = c.LoRA.Targets
}

func plan(c train.Config, be backend.Backend) (*Plan, error) {
	cost, err := train.Estimate(c, be)
	if err != nil {
		return nil, err
	}
	const word = 4 // Bytes of a float32 or an int32.
	p := &Plan{
		Trained: cost.Trained, Frozen: cost.Frozen, FLOPs: cost.FLOPs + cost.AgainFLOPs, ParameterBytes: cost.ParamBytes, ActivationBytes: cost.SlabBytes,
		OptimizerBytes: 2 * word * cost.Trained, SumsBytes: word * cost.Trained,
	}
	p.MemoryBytes = p.ParameterBytes + p.ActivationBytes + p.OptimizerBytes + p.SumsBytes
	p.MemoryBytesInRing = p.MemoryBytes + p.SumsBytes
	return p, nil
}
