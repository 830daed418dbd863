package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

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

// open opens the base and the adapters at path.
func (f *loraFlags) open(path string) (*checkpoint.Pipeline, lora.Set, error) {
	if f.out == "" {
		return nil, nil, cli.UsageError{Err: errors.New("--out is empty: name where to write")}
	}
	m, err := openModel(f.model)
	if err != nil {
		return nil, nil, err
	}
	p, err := m.folder.Pipeline()
	if err != nil {
		return nil, nil, err
	}
	networks, err := lora.NetworksOf(p.Folder)
	if err != nil {
		return nil, nil, err
	}
	set, err := lora.ReadPath(path, networks)
	return p, set, err
}

// merged are a network's weights with the adapter, under the names of their files.
func merged(p *checkpoint.Pipeline, network string, a lora.Adapter, scale float64) ([]checkpoint.Param, error) {
	sub, err := p.Sub(network)
	if err != nil {
		return nil, err
	}
	w, err := sub.Weights("")
	if err != nil {
		return nil, err
	}
	defer w.Close() // Only read.
	params, err := w.Params()
	if err != nil {
		return nil, err
	}
	named := slices.Clone(params)
	for i := range named {
		named[i].Name = strings.TrimPrefix(named[i].Name, "text_model.") // Of files that transformers 4 wrote.
	}
	return params, a.Merge(named, scale)
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
			_, set, err := f.open(args[0])
			if err != nil {
				return err
			}
			if err := writeAdapters(set, lora.Layout(to), f.out); err != nil {
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

// writeAdapters writes the adapters to the file out, or, in PEFT's layout, to the folder out: the UNet's alone there, with
// text encoders' each in a folder with the network's name.
func writeAdapters(s lora.Set, l lora.Layout, out string) error {
	if l == lora.PEFT {
		for _, network := range s.Names() {
			dir := filepath.Join(out, network)
			if network == lora.UNet && len(s) == 1 {
				dir = out
			}
			if err := writePEFT(lora.Set{network: s[network]}, network, dir); err != nil {
				return err
			}
		}
		return nil
	}
	var data bytes.Buffer
	if err := s.Write(&data, l, ""); err != nil {
		return err
	}
	return atomicfile.Write(out, data.Bytes())
}

// writePEFT writes the one adapter of s to the folder dir.
func writePEFT(s lora.Set, network, dir string) error {
	config, err := s[network].ConfigFile()
	if err != nil {
		return err
	}
	var data bytes.Buffer
	if err := s.Write(&data, lora.PEFT, ""); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(dir, lora.PEFTFileName), data.Bytes()); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, lora.ConfigFileName), config)
}

func loraMergeCommand() *cobra.Command {
	var f loraFlags
	var scale float64
	c := &cobra.Command{
		Use:   "merge ADAPTER",
		Short: "Write the base model with an adapter merged into its UNet and text encoders",
		Args:  cli.ExactArgs(1, "an adapter: a file or folder"),
		RunE: func(c *cobra.Command, args []string) error {
			p, set, err := f.open(args[0])
			if err != nil {
				return err
			}
			content := checkpoint.Content{Weights: map[string]checkpoint.Replacement{}}
			for _, network := range set.Names() {
				params, err := merged(p, network, set[network], scale)
				if err != nil {
					return err
				}
				content.Weights[network] = checkpoint.Replacement{Params: params}
			}
			if err := p.Write(f.out, content); err != nil {
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
