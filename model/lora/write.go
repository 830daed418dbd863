package lora

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"yohaku/internal/safetensors"
)

// baseKey is the metadata key of the digest of the base model's weights.
const baseKey = "yohaku.base_sha256"

// Write writes the adapter in the layout, in float32. The same adapter gives the same bytes. base is the digest of the
// base model, for the metadata, or "".
//
// It returns an error when the adapter has several ranks or alphas and the layout, PEFT's, cannot say so without a
// pattern for each.
func (a Adapter) Write(w io.Writer, l Layout, base string) error {
	config, err := a.Config()
	if err != nil {
		return err
	}
	metadata := map[string]string{"format": "pt"}
	if base != "" {
		metadata[baseKey] = base
	}
	c := Config{Rank: config.Rank, Alpha: config.Alpha, Targets: config.Targets}
	switch l {
	case Diffusers:
		metadata[metadataKey] = c.diffusersMetadata()
	case Kohya:
		metadata["ss_network_module"] = "networks.lora"
		metadata["ss_network_dim"] = strconv.Itoa(c.Rank)
		metadata["ss_network_alpha"] = strconv.FormatFloat(c.Alpha, 'g', -1, 64)
	case PEFT:
	default:
		return fmt.Errorf("adapter layout must be one of %v, got %q", Layouts, l)
	}
	return safetensors.Write(w, a.entries(l), metadata)
}

func (a Adapter) entries(l Layout) []safetensors.Entry {
	var out []safetensors.Entry
	for _, path := range a.Paths() {
		m := a.Modules[path]
		out = append(out,
			safetensors.Entry{Name: key(l, path, down), DType: safetensors.F32, Shape: m.DownShape, Data: m.Down},
			safetensors.Entry{Name: key(l, path, up), DType: safetensors.F32, Shape: m.UpShape, Data: m.Up})
		if l == Kohya {
			out = append(out, safetensors.Entry{Name: key(l, path, alpha), DType: safetensors.F32, Shape: []int{}, Data: []float32{float32(m.Alpha)}})
		}
	}
	return out
}

// diffusersMetadata is the configuration as diffusers' save_lora_weights packs it.
func (c Config) diffusersMetadata() string {
	data, err := json.MarshalIndent(map[string]any{
		diffusersPrefix + "r": c.Rank, diffusersPrefix + "lora_alpha": c.Alpha, diffusersPrefix + "target_modules": c.Targets,
		diffusersPrefix + "peft_type": "LORA", diffusersPrefix + "bias": "none", diffusersPrefix + "init_lora_weights": true,
	}, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("encode adapter metadata: %v", err)) // Finite: FromParams and Read checked it.
	}
	return string(data)
}

// ConfigFile is adapter_config.json for PEFT's layout.
func (a Adapter) ConfigFile() ([]byte, error) {
	config, err := a.Config()
	if err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(map[string]any{
		"peft_type": "LORA", "r": config.Rank, "lora_alpha": config.Alpha, "target_modules": config.Targets,
		"bias": "none", "lora_dropout": 0, "fan_in_fan_out": false, "inference_mode": true, "init_lora_weights": true,
		"base_model_name_or_path": nil, "task_type": nil,
	}, "", "  ")
	return append(data, '\n'), err
}
