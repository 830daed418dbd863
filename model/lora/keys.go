package lora

import (
	"fmt"
	"slices"
	"strings"
)

// Layout is how a file names its tensors; see the package comment.
type Layout string

// The layouts.
const (
	Diffusers Layout = "diffusers"
	PEFT      Layout = "peft"
	Kohya     Layout = "kohya"
)

// Layouts are all of them, in the order of the package comment.
var Layouts = []Layout{Diffusers, PEFT, Kohya}

// part is what a tensor is of its module.
type part int

const (
	down part = iota
	up
	alpha
)

// ending is how a tensor's name ends, after the module's path.
type ending struct {
	text string
	part part
}

// endings are those of all layouts; of older diffusers, too.
var endings = []ending{
	{".lora_A.weight", down}, {".lora_B.weight", up},
	{".lora_A.default.weight", down}, {".lora_B.default.weight", up},
	{".lora.down.weight", down}, {".lora.up.weight", up},
	{".lora_linear_layer.down.weight", down}, {".lora_linear_layer.up.weight", up},
	{".lora_down.weight", down}, {".lora_up.weight", up},
	{".alpha", alpha},
}

// peftPrefix goes before the module's path in PEFT's layout.
const peftPrefix = "base_model.model."

// prefix is what goes before a module's path of one network.
type prefix struct {
	text    string
	layout  Layout
	network string // "" for whichever has the module.
}

var prefixes = []prefix{
	{"unet.", Diffusers, UNet}, {"text_encoder.", Diffusers, TextEncoder}, {"text_encoder_2.", Diffusers, TextEncoder2},
	{peftPrefix, PEFT, ""},
	{"lora_unet_", Kohya, UNet}, {"lora_te_", Kohya, TextEncoder}, {"lora_te1_", Kohya, TextEncoder}, {"lora_te2_", Kohya, TextEncoder2},
}

// tensorName is a tensor's name, taken apart.
type tensorName struct {
	path    string // The module's, as the file writes it: with underscores in Kohya's layout.
	part    part
	layout  Layout
	network string // "" for whichever has the module.
}

func split(name string) (tensorName, error) {
	i := slices.IndexFunc(endings, func(e ending) bool { return strings.HasSuffix(name, e.text) })
	if i < 0 {
		return tensorName{}, fmt.Errorf("tensor %q is no part of a low-rank adapter that is known here (lora_A/lora_B, lora.down/lora.up, lora_down/lora_up, alpha)", name)
	}
	path := strings.TrimSuffix(name, endings[i].text)
	for _, p := range prefixes {
		if rest, ok := strings.CutPrefix(path, p.text); ok {
			return tensorName{rest, endings[i].part, p.layout, p.network}, nil
		}
	}
	return tensorName{path, endings[i].part, PEFT, ""}, nil // A bare state dict, as get_peft_model_state_dict gives it.
}

// attentionTargets are the modules whose tensors diffusers' scripts still write under the old names.
var attentionTargets = []string{"to_q", "to_k", "to_v", "to_out.0"}

// textModel goes before the paths in a text encoder, in diffusers' and Kohya's layouts: transformers had it until its version 5.
const textModel = "text_model."

// key is the name of a part of module path of a network in the layout.
func (s Set) key(l Layout, network, path string, p part) string {
	if l == PEFT {
		return peftPrefix + path + []string{".lora_A.weight", ".lora_B.weight"}[p]
	}
	if network != UNet && path != "text_projection" {
		path = textModel + path
	}
	switch {
	case l == Kohya:
		return s.kohyaPrefix(network) + strings.ReplaceAll(path, ".", "_") + []string{".lora_down.weight", ".lora_up.weight", ".alpha"}[p]
	case network != UNet:
		return network + "." + path + []string{".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"}[p]
	case slices.ContainsFunc(attentionTargets, func(t string) bool { return strings.HasSuffix(path, "."+t) }):
		return network + "." + path + []string{".lora.down.weight", ".lora.up.weight"}[p]
	}
	return network + "." + path + []string{".lora_A.weight", ".lora_B.weight"}[p]
}

// kohyaPrefix names a network as sd-scripts does, which counts text encoders only where there are two.
func (s Set) kohyaPrefix(network string) string {
	_, two := s[TextEncoder2]
	switch {
	case network == UNet:
		return "lora_unet_"
	case network == TextEncoder2:
		return "lora_te2_"
	case two:
		return "lora_te1_"
	}
	return "lora_te_"
}
