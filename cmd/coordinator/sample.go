package main

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"yohaku/cmd/internal/cli"
	"yohaku/internal/atomicfile"
	"yohaku/internal/picture"
	"yohaku/model/backend/cpu"
	"yohaku/model/sample"
)

func sampleCommand() *cobra.Command {
	var path, out, adapter string
	var scale float64
	var request sample.Request
	o := sample.Options{}
	c := &cobra.Command{
		Use:   "sample",
		Short: "Make a picture from a prompt",
		Args:  cli.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkSample(request, out, o); err != nil {
				return cli.UsageError{Err: err}
			}
			m, err := openModel(path)
			if err != nil {
				return err
			}
			be := cpu.New(runtime.NumCPU())
			defer be.Close()
			p, err := sample.Open(m.folder, be)
			if err != nil {
				return err
			}
			if adapter != "" {
				p.Adapt(adapter, scale)
			}
			pictures, err := p.Generate(c.Context(), []sample.Request{request}, o)
			if err != nil {
				return err
			}
			text, err := p.Parameters(request, o, m.name)
			if err != nil {
				return err
			}
			data, err := picture.EncodePNG(pictures[0], sample.ParametersKey, text)
			if err != nil {
				return err
			}
			if err := atomicfile.Write(out, data); err != nil {
				return fmt.Errorf("--out: %w", err)
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), out)
			return err
		},
	}
	flags := c.Flags()
	flags.StringVar(&path, "model", "", "diffusers pipeline folder, such as a run's `final`; empty is the built-in base model")
	flags.StringVar(&adapter, "lora", "", "low-rank adapter to sample with: a file of diffusers, PEFT or Kohya, or a folder such as a run's `final`")
	flags.Float64Var(&scale, "lora-scale", 1, "strength of --lora")
	flags.StringVar(&request.Prompt, "prompt", "", "what the picture shows")
	flags.StringVar(&request.Negative, "negative-prompt", "", "what to keep out of it")
	flags.StringVar(&out, "out", "", "PNG file to write")
	flags.IntVar(&o.Steps, "steps", 20, "sampler steps")
	flags.Float64Var(&o.Guidance, "guidance", 5, "classifier-free guidance scale; at most 1 is none")
	flags.Uint64Var(&request.Seed, "seed", 0, "seed of the noise")
	flags.StringVar(&o.Scheduler, "scheduler", "", "class to sample with instead of the model's, such as DDIMScheduler")
	flags.IntVar(&o.Height, "height", 0, "pixels; 0 is what the model was trained at")
	flags.IntVar(&o.Width, "width", 0, "pixels; 0 is what the model was trained at")
	return c
}

func checkSample(r sample.Request, out string, o sample.Options) error {
	switch {
	case r.Prompt == "":
		return errors.New("--prompt is empty: say what the picture shows")
	case out == "":
		return errors.New("--out is empty: name the PNG file to write")
	case o.Steps < 1:
		return fmt.Errorf("--steps must be at least 1, got %d", o.Steps)
	case !(o.Guidance >= 0):
		return fmt.Errorf("--guidance must be at least 0, got %v", o.Guidance)
	case o.Height < 0 || o.Width < 0:
		return fmt.Errorf("--height and --width must be at least 0, got %d and %d", o.Height, o.Width)
	}
	return nil
}
