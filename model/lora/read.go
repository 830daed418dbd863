package lora

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"yohaku/internal/safetensors"
	"yohaku/model/checkpoint"
)

// metadataKey is where diffusers keeps the configuration, as JSON with keys such as unet.r.
const metadataKey = "lora_adapter_metadata"

// FileError reports a file that is no usable adapter.
type FileError struct {
	File string
	Err  error
}

func (e *FileError) Error() string { return fmt.Sprintf("adapter file %s: %v", e.File, e.Err) }

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// Config is PEFT's adapter_config.json, and what diffusers' metadata has under the prefix "unet.".
type Config struct {
	Rank         int                `json:"r"`
	Alpha        float64            `json:"lora_alpha"`
	Targets      []string           `json:"target_modules,omitempty"`
	AlphaPattern map[string]float64 `json:"alpha_pattern,omitempty"`
}

// Read reads the UNet's adapter from f, in whichever layout it is. modules are the network's module paths, which
// Kohya's names with underscores are found among. config is what adapter_config.json beside the file says, or nil.
//
// It returns a *FileError when the file is of another kind, a module is not whole, shapes do not fit each other, two
// layouts are mixed, or a module is not among modules.
func Read(f *safetensors.File, modules []string, config *Config) (Adapter, Layout, error) {
	a, l, err := read(f, modules, config)
	if err != nil {
		return Adapter{}, "", &FileError{File: f.Name(), Err: err}
	}
	return a, l, nil
}

func read(f *safetensors.File, modules []string, config *Config) (Adapter, Layout, error) {
	names := pathsByName(modules)
	a := Adapter{Modules: map[string]Module{}}
	var layout Layout
	for _, info := range f.Infos() {
		written, p, l, err := split(info.Name)
		if err != nil {
			return a, "", err
		}
		if layout != "" && l != layout {
			return a, "", fmt.Errorf("tensor %q is named in layout %s, others in %s: a file has one", info.Name, l, layout)
		}
		layout = l
		path, ok := names[written]
		if !ok {
			return a, "", fmt.Errorf("tensor %q adapts a module that the network does not have; is it of another model family?", info.Name)
		}
		m := a.Modules[path]
		if err := m.set(f, info, p); err != nil {
			return a, "", err
		}
		a.Modules[path] = m
	}
	if len(a.Modules) == 0 {
		return a, "", errors.New("it has no tensors")
	}
	if config == nil {
		var err error
		if config, err = configOf(f); err != nil {
			return a, "", err
		}
	}
	return a, layout, a.finish(config)
}

// pathsByName finds a module by its path, and by Kohya's form of it.
func pathsByName(modules []string) map[string]string {
	names := map[string]string{}
	for _, m := range modules {
		names[m] = m
		names[strings.ReplaceAll(m, ".", "_")] = m
	}
	return names
}

// set reads one tensor of the module.
func (m *Module) set(f *safetensors.File, info safetensors.Info, p part) error {
	n := 1
	for _, d := range info.Shape {
		n *= d
	}
	x := make([]float32, n) // The reader has held the shape to the file's size.
	if err := f.Float32(info.Name, x); err != nil {
		return err
	}
	switch p {
	case down:
		m.Down, m.DownShape = x, info.Shape
	case up:
		m.Up, m.UpShape = x, info.Shape
	case alpha:
		if n != 1 {
			return fmt.Errorf("tensor %q has %d elements, want 1", info.Name, n)
		}
		m.Alpha = float64(x[0])
	}
	return nil
}

// finish gives the modules their alpha, where no tensor did, and checks them.
func (a Adapter) finish(c *Config) error {
	for path, m := range a.Modules {
		if m.Alpha == 0 && len(m.DownShape) > 0 {
			m.Alpha = c.alpha(path, m.Rank())
		}
		if err := m.check(); err != nil {
			return fmt.Errorf("module %s %w", path, err)
		}
		a.Modules[path] = m
	}
	return nil
}

// alpha is that of a module of the given rank. c may be nil.
func (c *Config) alpha(path string, rank int) float64 {
	if c == nil || c.Alpha == 0 {
		return float64(rank)
	}
	for _, pattern := range slices.Sorted(maps.Keys(c.AlphaPattern)) {
		if path == pattern || strings.HasSuffix(path, "."+pattern) {
			return c.AlphaPattern[pattern]
		}
	}
	return c.Alpha
}

// configOf reads the configuration in a file's metadata; nil when there is none.
func configOf(f *safetensors.File) (*Config, error) {
	text, ok := f.Metadata()[metadataKey]
	if !ok {
		return nil, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		return nil, fmt.Errorf("metadata key %s: %w", metadataKey, err)
	}
	var c Config
	for key, dst := range map[string]any{"r": &c.Rank, "lora_alpha": &c.Alpha, "alpha_pattern": &c.AlphaPattern} {
		value, ok := fields[diffusersPrefix+key]
		if !ok {
			value, ok = fields[key] // As save_lora_adapter of one network writes it.
		}
		if !ok {
			continue
		}
		if err := json.Unmarshal(value, dst); err != nil {
			return nil, fmt.Errorf("metadata key %s, %s: %w", metadataKey, key, err)
		}
	}
	return &c, nil
}

// ParseConfig reads adapter_config.json. Keys that do not concern the UNet's adapter are passed over.
func ParseConfig(data []byte) (*Config, error) {
	var c Config
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("adapter_config.json: %w", err)
	}
	return &c, nil
}

// FileName is what diffusers calls an adapter's file in a folder.
const FileName = "pytorch_lora_weights.safetensors"

// PEFT's names of an adapter's file and of the configuration beside it.
const (
	PEFTFileName   = "adapter_model.safetensors"
	ConfigFileName = "adapter_config.json"
)

// ReadFolder reads the adapter in a folder, as diffusers or PEFT left it. See Read for modules and errors.
func ReadFolder(f *checkpoint.Folder, modules []string) (Adapter, error) {
	name := FileName
	if !f.Has(name) && f.Has(PEFTFileName) {
		name = PEFTFileName
	}
	return ReadIn(f, name, modules)
}

// ReadPath reads the adapter at path, a file or a folder.
func ReadPath(path string, modules []string) (Adapter, error) {
	if info, err := os.Stat(path); err != nil {
		return Adapter{}, fmt.Errorf("open adapter: %w", err)
	} else if !info.IsDir() {
		f, err := checkpoint.OpenFolder(filepath.Dir(path))
		if err != nil {
			return Adapter{}, err
		}
		return ReadIn(f, filepath.Base(path), modules)
	}
	f, err := checkpoint.OpenFolder(path)
	if err != nil {
		return Adapter{}, err
	}
	return ReadFolder(f, modules)
}

// ReadIn reads the adapter in the named file of a folder, with adapter_config.json beside it, if there is one.
func ReadIn(f *checkpoint.Folder, name string, modules []string) (Adapter, error) {
	file, err := f.OpenTensors(name)
	if err != nil {
		return Adapter{}, fmt.Errorf("open adapter: %w", err)
	}
	defer file.Close() // Only read.
	var config *Config
	if f.Has(ConfigFileName) {
		data, err := f.ReadFile(ConfigFileName)
		if err != nil {
			return Adapter{}, err
		}
		if config, err = ParseConfig(data); err != nil {
			return Adapter{}, err
		}
	}
	a, _, err := Read(file, modules, config)
	return a, err
}
