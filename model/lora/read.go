package lora

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
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

// Config is PEFT's adapter_config.json, and what diffusers' metadata has under the network's name and a dot.
type Config struct {
	Rank         int                `json:"r"`
	Alpha        float64            `json:"lora_alpha"`
	Targets      []string           `json:"target_modules,omitempty"`
	AlphaPattern map[string]float64 `json:"alpha_pattern,omitempty"`
}

// Read reads the adapters from f, in whichever layout it is. networks are the modules that may be adapted, which
// Kohya's names with underscores are found among. config is what adapter_config.json beside the file says, or nil.
//
// It returns a *FileError when the file is of another kind, a module is not whole, shapes do not fit each other, two
// layouts are mixed, or a module is not among the networks'.
func Read(f *safetensors.File, networks Networks, config *Config) (Set, Layout, error) {
	s, l, err := read(f, networks, config)
	if err != nil {
		return nil, "", &FileError{File: f.Name(), Err: err}
	}
	return s, l, nil
}

func read(f *safetensors.File, networks Networks, config *Config) (Set, Layout, error) {
	places := networks.places()
	s := Set{}
	var layout Layout
	for _, info := range f.Infos() {
		name, err := split(info.Name)
		if err != nil {
			return nil, "", err
		}
		if layout != "" && name.layout != layout {
			return nil, "", fmt.Errorf("tensor %q is named in layout %s, others in %s: a file has one", info.Name, name.layout, layout)
		}
		layout = name.layout
		at, err := find(places, info.Name, name)
		if err != nil {
			return nil, "", err
		}
		if s[at.network].Modules == nil {
			s[at.network] = Adapter{Modules: map[string]Module{}}
		}
		m := s[at.network].Modules[at.path]
		if err := m.set(f, info, name.part); err != nil {
			return nil, "", err
		}
		s[at.network].Modules[at.path] = m
	}
	if len(s) == 0 {
		return nil, "", errors.New("it has no tensors")
	}
	return s, layout, s.finish(f, config)
}

// finish gives all modules their alpha, where no tensor did, and checks them.
func (s Set) finish(f *safetensors.File, config *Config) error {
	for _, network := range s.Names() {
		c := config
		if c == nil {
			var err error
			if c, err = configOf(f, network); err != nil {
				return err
			}
		}
		if err := s[network].finish(c); err != nil {
			return err
		}
	}
	return nil
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

// configOf reads a network's configuration in a file's metadata; nil when there is none.
func configOf(f *safetensors.File, network string) (*Config, error) {
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
		value, ok := fields[network+"."+key]
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

// ReadFolder reads the adapters in a folder, as diffusers or PEFT left it; PEFT's also in folders with the networks' names.
// See Read for networks and errors.
func ReadFolder(f *checkpoint.Folder, networks Networks) (Set, error) {
	if f.Has(FileName) {
		return ReadIn(f, FileName, networks)
	}
	s := Set{}
	for _, network := range slices.Sorted(maps.Keys(networks)) {
		if !f.Has(path.Join(network, PEFTFileName)) {
			continue
		}
		sub, err := f.Sub(network)
		if err != nil {
			return nil, err
		}
		one, err := ReadIn(sub, PEFTFileName, Networks{network: networks[network]})
		if err != nil {
			return nil, err
		}
		maps.Copy(s, one)
	}
	if len(s) > 0 {
		return s, nil
	}
	return ReadIn(f, PEFTFileName, networks)
}

// ReadPath reads the adapters at path, a file or a folder.
func ReadPath(path string, networks Networks) (Set, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open adapter: %w", err)
	} else if !info.IsDir() {
		f, err := checkpoint.OpenFolder(filepath.Dir(path))
		if err != nil {
			return nil, err
		}
		return ReadIn(f, filepath.Base(path), networks)
	}
	f, err := checkpoint.OpenFolder(path)
	if err != nil {
		return nil, err
	}
	return ReadFolder(f, networks)
}

// ReadIn reads the adapters in the named file of a folder, with adapter_config.json beside it, if there is one.
func ReadIn(f *checkpoint.Folder, name string, networks Networks) (Set, error) {
	file, err := f.OpenTensors(name)
	if err != nil {
		return nil, fmt.Errorf("open adapter: %w", err)
	}
	defer file.Close() // Only read.
	var config *Config
	if f.Has(ConfigFileName) {
		data, err := f.ReadFile(ConfigFileName)
		if err != nil {
			return nil, err
		}
		if config, err = ParseConfig(data); err != nil {
			return nil, err
		}
	}
	s, _, err := Read(file, networks, config)
	return s, err
}
