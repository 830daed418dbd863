package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"yohaku/cmd/internal/cli"
	"yohaku/internal/atomicfile"
	"yohaku/model/checkpoint"
	"yohaku/model/lora"
)

func loraCommand() *cobra.Command {
	c := &cobra.Command{Use: "lora", Short: "Convert adapters between layouts, and merge them into their base"}
	c.AddCommand(loraConvertCommand(), loraMergeCommand())
	return c
}

// loraFlags are common to both commands.
type loraFlags struct{ model, out string }

func (f *loraFlags) bind(c *cobra.Command, out string) {
	c.Flags().StringVar(&f.model, "model", "", "pipeline folder of the base model; empty is the built-in one")
	c.Flags().StringVar(&f.out, "out", "", out)
}

// open opens the base and the adapter at path.
func (f *loraFlags) open(path string) (*checkpoint.Pipeline, []checkpoint.Param, lora.Adapter, error) {
	if f.out == "" {
		return nil, nil, lora.Adapter{}, cli.UsageError{Err: errors.New("--out is empty: name where to write")}
	}
	m, err := openModel(f.model)
	if err != nil {
		return nil, nil, lora.Adapter{}, err
	}
	p, err := m.folder.Pipeline()
	if err != nil {
		return nil, nil, lora.Adapter{}, err
	}
	sub, err := p.Sub("unet")
	if err != nil {
		return nil, nil, lora.Adapter{}, err
	}
	w, err := sub.Weights("")
	if err != nil {
		return nil, nil, lora.Adapter{}, err
	}
	defer w.Close() // Only read.
	params, err := w.Params()
	if err != nil {
		return nil, nil, lora.Adapter{}, err
	}
	a, err := lora.ReadPath(path, lora.Modules(params))
	return p, params, a, err
}

func loraConvertCommand() *cobra.Command {
	var f loraFlags
	var to string
	c := &cobra.Command{
		Use:   "convert ADAPTER",
		Short: "Write an adapter in another tool's layout",
		Long: `Write an adapter in another tool's layout: diffusers (a file for load_lora_weights), peft (a
folder with adapter_config.json) or kohya (a file for ComfyUI, AUTOMATIC1111 and sd-scripts).
ADAPTER is a file or folder in any of the three, such as a run's 'final'.`,
		Args: cli.ExactArgs(1, "an adapter: a file or folder"),
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.Contains(lora.Layouts, lora.Layout(to)) {
				return cli.UsageError{Err: fmt.Errorf("--to must be one of %v, got %q", lora.Layouts, to)}
			}
			_, _, a, err := f.open(args[0])
			if err != nil {
				return err
			}
			if err := writeAdapter(a, lora.Layout(to), f.out); err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), f.out)
			return err
		},
	}
	f.bind(c, "file to write; a folder for peft")
	c.Flags().StringVar(&to, "to", string(lora.Kohya), "layout: diffusers, peft or kohya")
	return c
}

// writeAdapter writes the adapter to the file out, or, in PEFT's layout, to the folder out.
func writeAdapter(a lora.Adapter, l lora.Layout, out string) error {
	var data bytes.Buffer
	if err := a.Write(&data, l, ""); err != nil {
		return err
	}
	if l != lora.PEFT {
		return atomicfile.Write(out, data.Bytes())
	}
	config, err := a.ConfigFile()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(out, lora.PEFTFileName), data.Bytes()); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(out, lora.ConfigFileName), config)
}

func loraMergeCommand() *cobra.Command {
	var f loraFlags
	var scale float64
	c := &cobra.Command{
		Use:   "merge ADAPTER",
		Short: "Write the base model with an adapter merged into its UNet",
		Args:  cli.ExactArgs(1, "an adapter: a file or folder"),
		RunE: func(c *cobra.Command, args []string) error {
			p, params, a, err := f.open(args[0])
			if err != nil {
				return err
			}
			if err := a.Merge(params, scale); err != nil {
				return err
			}
			if err := p.Write(f.out, checkpoint.Content{Weights: map[string]checkpoint.Replacement{"unet": {Params: params}}}); err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), f.out)
			return err
		},
	}
	f.bind(c, "pipeline folder to write")
	c.Flags().Float64Var(&scale, "scale", 1, "strength of the adapter")
	return c
}
