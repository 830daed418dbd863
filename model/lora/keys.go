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
	{".lora_down.weight", down}, {".lora_up.weight", up},
	{".alpha", alpha},
}

// prefixes go before the module's path.
const (
	diffusersPrefix = "unet."
	peftPrefix      = "base_model.model."
	kohyaPrefix     = "lora_unet_"
)

// textPrefixes begin the tensors of adapters for text encoders.
var textPrefixes = []string{"text_encoder", "lora_te"}

// split takes a tensor's name apart. path is the module's as the file writes it: with underscores in Kohya's layout.
func split(name string) (path string, p part, layout Layout, err error) {
	i := slices.IndexFunc(endings, func(e ending) bool { return strings.HasSuffix(name, e.text) })
	if i < 0 {
		return "", 0, "", fmt.Errorf("tensor %q is no part of a low-rank adapter that is known here (lora_A/lora_B, lora.down/lora.up, lora_down/lora_up, alpha)", name)
	}
	path = strings.TrimSuffix(name, endings[i].text)
	if slices.ContainsFunc(textPrefixes, func(prefix string) bool { return strings.HasPrefix(path, prefix) }) {
		return "", 0, "", fmt.Errorf("tensor %q adapts a text encoder: only adapters of the UNet are supported", name)
	}
	for prefix, l := range map[string]Layout{diffusersPrefix: Diffusers, peftPrefix: PEFT, kohyaPrefix: Kohya} {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			return rest, endings[i].part, l, nil
		}
	}
	return path, endings[i].part, PEFT, nil // A bare state dict, as get_peft_model_state_dict gives it.
}

// attentionTargets are the modules whose tensors diffusers' scripts still write under the old names.
var attentionTargets = []string{"to_q", "to_k", "to_v", "to_out.0"}

// key is the name of a part of module path in the layout.
func key(l Layout, path string, p part) string {
	switch l {
	case Kohya:
		return kohyaPrefix + strings.ReplaceAll(path, ".", "_") + []string{".lora_down.weight", ".lora_up.weight", ".alpha"}[p]
	case PEFT:
		return peftPrefix + path + []string{".lora_A.weight", ".lora_B.weight"}[p]
	}
	if slices.ContainsFunc(attentionTargets, func(t string) bool { return strings.HasSuffix(path, "."+t) }) {
		return diffusersPrefix + path + []string{".lora.down.weight", ".lora.up.weight"}[p]
	}
	return diffusersPrefix + path + []string{".lora_A.weight", ".lora_B.weight"}[p]
}
