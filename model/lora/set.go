package lora

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"yohaku/model/checkpoint"
)

// The networks that adapters are for, by their folders in a pipeline.
const (
	UNet         = "unet"
	TextEncoder  = "text_encoder"
	TextEncoder2 = "text_encoder_2"
)

// Set holds the adapters of a pipeline's networks.
type Set map[string]Adapter

// Networks are the module paths of a pipeline's networks; those of text encoders without text_model in front.
type Networks map[string][]string

// NetworksOf lists the modules of the pipeline folder f by the names of their weights.
func NetworksOf(f *checkpoint.Folder) (Networks, error) {
	n := Networks{}
	for _, name := range []string{UNet, TextEncoder, TextEncoder2} {
		if !f.Has(name) {
			continue
		}
		sub, err := f.Sub(name)
		if err != nil {
			return nil, err
		}
		w, err := sub.Weights("")
		if err != nil {
			return nil, err
		}
		for _, tensor := range w.Names() {
			if path, ok := strings.CutSuffix(tensor, ".weight"); ok {
				n[name] = append(n[name], strings.TrimPrefix(path, textModel))
			}
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// Names are the networks with an adapter, sorted.
func (s Set) Names() []string { return slices.Sorted(maps.Keys(s)) }

// place finds the module that a tensor adapts.
type place struct{ network, path string }

// places finds modules by their paths, and by Kohya's form of them.
func (n Networks) places() map[string][]place {
	all := map[string][]place{}
	for _, network := range slices.Sorted(maps.Keys(n)) {
		for _, path := range n[network] {
			p := place{network, path}
			all[path] = append(all[path], p)
			if flat := strings.ReplaceAll(path, ".", "_"); flat != path {
				all[flat] = append(all[flat], p)
			}
		}
	}
	return all
}

// find returns the module that the tensor adapts.
func find(places map[string][]place, tensor string, name tensorName) (place, error) {
	path := name.path
	if name.network != UNet {
		path = strings.TrimPrefix(strings.TrimPrefix(path, textModel), "text_model_")
	}
	var found []place
	for _, p := range places[path] {
		if name.network == "" || name.network == p.network {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 0:
		return place{}, fmt.Errorf("tensor %q adapts a module that the network does not have; is it of another model family?", tensor)
	case 1:
		return found[0], nil
	}
	return place{}, fmt.Errorf("tensor %q adapts a module that %s and %s both have: put the file into a folder of that name, and name the folder around it", tensor, found[0].network, found[1].network)
}
