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

// Write writes the adapters in the layout, in float32. The same adapters give the same bytes. base is the digest of the
// base model's UNet, for the metadata, or "".
//
// It returns an error when an adapter has several ranks or alphas, which metadata cannot say without a pattern for each,
// and for several networks in PEFT's layout, where each has a file of its own.
func (s Set) Write(w io.Writer, l Layout, base string) error {
	if l == PEFT && len(s) > 1 {
		return fmt.Errorf("adapter layout peft has one network in a file, there are %v: write each by itself", s.Names())
	}
	metadata := map[string]string{"format": "pt"}
	if base != "" {
		metadata[baseKey] = base
	}
	packed := map[string]any{}
	var entries []safetensors.Entry
	for _, network := range s.Names() {
		config, err := s[network].Config()
		if err != nil {
			return err
		}
		c := Config{Rank: config.Rank, Alpha: config.Alpha, Targets: config.Targets}
		c.pack(packed, network)
		if l == Kohya {
			metadata["ss_network_module"] = "networks.lora"
			metadata["ss_network_dim"] = strconv.Itoa(c.Rank) // The UNet's, which comes last.
			metadata["ss_network_alpha"] = strconv.FormatFloat(c.Alpha, 'g', -1, 64)
		}
		entries = append(entries, s.entries(l, network)...)
	}
	switch l {
	case Diffusers:
		data, err := json.MarshalIndent(packed, "", "  ")
		if err != nil {
			return fmt.Errorf("encode adapter metadata: %w", err)
		}
		metadata[metadataKey] = string(data)
	case Kohya, PEFT:
	default:
		return fmt.Errorf("adapter layout must be one of %v, got %q", Layouts, l)
	}
	return safetensors.Write(w, entries, metadata)
}

func (s Set) entries(l Layout, network string) []safetensors.Entry {
	var out []safetensors.Entry
	for _, path := range s[network].Paths() {
		m := s[network].Modules[path]
		out = append(out,
			safetensors.Entry{Name: s.key(l, network, path, down), DType: safetensors.F32, Shape: m.DownShape, Data: m.Down},
			safetensors.Entry{Name: s.key(l, network, path, up), DType: safetensors.F32, Shape: m.UpShape, Data: m.Up})
		if l == Kohya {
			out = append(out, safetensors.Entry{Name: s.key(l, network, path, alpha), DType: safetensors.F32, Shape: []int{}, Data: []float32{float32(m.Alpha)}})
		}
	}
	return out
}

// pack adds the configuration to what diffusers' save_lora_weights packs.
func (c Config) pack(into map[string]any, network string) {
	for key, value := range map[string]any{
		"r": c.Rank, "lora_alpha": c.Alpha, "target_modules": c.Targets, "peft_type": "LORA", "bias": "none", "init_lora_weights": true,
	} {
		into[network+"."+key] = value
	}
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
