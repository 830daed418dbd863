package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"yohaku/cmd/internal/cli"
	"yohaku/model/backend/cpu"
	"yohaku/model/inspect"
)

func modelCommand() *cobra.Command {
	c := &cobra.Command{Use: "model", Short: "Look at models"}
	c.AddCommand(modelInspectCommand())
	return c
}

// errProblems makes the exit code 1 when a model has problems, which the report has named.
var errProblems = errors.New("the model has problems, see above")

func modelInspectCommand() *cobra.Command {
	o := inspect.Options{}
	var asJSON bool
	var targets string
	c := &cobra.Command{
		Use:   "inspect [DIR]",
		Short: "Say what a pipeline folder holds, what does not fit, and what training it takes",
		Long: `Say what a diffusers pipeline folder holds: family, parameters, types, digests; what is missing,
unknown or not supported; and what a training step would take in memory and work, of the UNet
itself and of adapters. Without DIR it looks at the built-in model. The exit code is 1 when
something does not fit.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.LoRA.Targets = strings.Split(targets, ",")
			if o.Resolution < 0 || o.Items < 1 {
				return cli.UsageError{Err: fmt.Errorf("--resolution must be at least 0 and --train-batch-size at least 1, got %d and %d", o.Resolution, o.Items)}
			}
			if o.LoRA.Alpha == 0 {
				o.LoRA.Alpha = float64(o.LoRA.Rank)
			}
			if err := o.LoRA.Validate(); err != nil {
				return cli.UsageError{Err: err}
			}
			path := ""
			if len(args) > 0 {
				path = args[0]
			}
			f, err := modelFolder(path)
			if err != nil {
				return err
			}
			be := cpu.New(runtime.NumCPU())
			defer be.Close()
			r, err := inspect.Folder(f, be, o)
			if err != nil {
				return err
			}
			if path == "" {
				r.Path = builtIn
			}
			if asJSON {
				e := json.NewEncoder(c.OutOrStdout())
				e.SetIndent("", "  ")
				err = e.Encode(r)
			} else {
				_, err = fmt.Fprint(c.OutOrStdout(), r)
			}
			if err == nil && len(r.Problems) > 0 {
				err = errProblems
			}
			return err
		},
	}
	flags := c.Flags()
	flags.BoolVar(&asJSON, "json", false, "as JSON")
	flags.IntVar(&o.Resolution, "resolution", 0, "side of the training pictures in pixels; 0 takes the model's own")
	flags.IntVar(&o.Items, "train-batch-size", 1, "items in a micro-batch")
	flags.IntVar(&o.LoRA.Rank, "lora-rank", 16, "rank of the adapters to plan")
	flags.Float64Var(&o.LoRA.Alpha, "lora-alpha", 0, "their alpha; 0 is the rank")
	flags.StringVar(&targets, "lora-targets", "to_q,to_k,to_v,to_out.0", "the modules that have one")
	return c
}
