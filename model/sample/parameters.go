package sample

import (
	"fmt"
	"strings"
)

// ParametersKey is the keyword under which a PNG file keeps what its picture was made with.
const ParametersKey = "parameters"

// Parameters says what a picture was made with, in the form that AUTOMATIC1111's web UI writes and other tools read:
//
//	prompt
//	Negative prompt: …
//	Steps: 20, Sampler: DDIMScheduler, CFG scale: 5, Seed: 1, Size: 512x512, Model: …, Version: yohaku
//
// model names the model; it may be empty. It returns Generate's error for options that cannot be.
func (p *Pipeline) Parameters(r Request, o Options, model string) (string, error) {
	o, err := p.withDefaults(o)
	if err != nil {
		return "", err
	}
	scheduler := o.Scheduler
	if scheduler == "" {
		scheduler = p.scheduler.Class
	}
	var b strings.Builder
	b.WriteString(r.Prompt + "\n")
	if r.Negative != "" {
		b.WriteString("Negative prompt: " + r.Negative + "\n")
	}
	fmt.Fprintf(&b, "Steps: %d, Sampler: %s, CFG scale: %g, Seed: %d, Size: %dx%d", o.Steps, scheduler, o.Guidance, r.Seed, o.Width, o.Height)
	for _, a := range p.adapters {
		fmt.Fprintf(&b, ", Lora: %q at %g", a.path, a.scale)
	}
	if model != "" {
		b.WriteString(", Model: " + model)
	}
	b.WriteString(", Version: yohaku")
	return strings.ReplaceAll(b.String(), "\x00", ""), nil
}
