package config

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"yohaku/internal/strictyaml"

	"github.com/goccy/go-yaml"
	"github.com/spf13/pflag"
)

// maxFileBytes bounds a configuration file.
const maxFileBytes = 1 << 20

// Flags are the command line's values, bound to a flag set.
type Flags struct {
	set    *pflag.FlagSet
	values Config
	file   string
}

// Bind adds a flag for every key of Config, and --config, to set.
func Bind(set *pflag.FlagSet) *Flags {
	f := &Flags{set: set, values: Defaults()}
	set.StringVar(&f.file, "config", "", "YAML file with these settings; its keys are the flags in snake_case")
	eachField(&f.values, func(key, help string, field reflect.Value) {
		name := flagName(key)
		switch p := field.Addr().Interface().(type) {
		case *string:
			set.StringVar(p, name, *p, help)
		case *bool:
			set.BoolVar(p, name, *p, help)
		case *int:
			set.IntVar(p, name, *p, help)
		case *uint64:
			set.Uint64Var(p, name, *p, help)
		case *float64:
			set.Float64Var(p, name, *p, help)
		default:
			panic(fmt.Sprintf("no flag type for key %s of type %T", key, p))
		}
	})
	return f
}

// Load returns the configuration: defaults, then the file of --config, then the flags given.
// It checks every rule that needs nothing but the configuration itself.
func (f *Flags) Load() (Config, error) {
	given, err := f.decode(Config{})
	if err != nil {
		return Config{}, err
	}
	base := Defaults()
	if given.Model == "" && (given.Data == "" || given.Data == Brand) {
		base = DemoDefaults()
	}
	c, err := f.decode(base)
	if err != nil {
		return Config{}, err
	}
	if c.Form == FormPaper && given.BetaMaPO == 0 {
		c.BetaMaPO = 0 // The paper's beta has no default: Validate asks for it.
	}
	return c, c.Validate()
}

// LoadOver is Load over the configuration of a run to continue.
func (f *Flags) LoadOver(saved Config) (Config, error) {
	c, err := f.decode(saved)
	if err != nil {
		return Config{}, err
	}
	return c, c.Validate()
}

// Parse reads what MarshalJSON wrote. A key that was not known then has its default.
func Parse(data []byte) (Config, error) {
	c := Defaults()
	err := yaml.UnmarshalWithOptions(data, &c, yaml.Strict()) // JSON is YAML.
	return c, err
}

// MarshalJSON writes the configuration under its keys, in order.
func (c Config) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	eachField(&c, func(key, _ string, field reflect.Value) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		value, err := json.Marshal(field.Interface())
		if err != nil {
			panic(fmt.Sprintf("encode key %s: %v", key, err)) // Validated: all floats are finite.
		}
		out = append(append(strconv.AppendQuote(out, key), ':'), value...)
	})
	return append(out, '}'), nil
}

// freeKeys may change when a run is continued: they decide no bit of the checkpoint.
var freeKeys = []string{
	"out", "run_id", "resume", "dry_run", "threads", "memory_limit", "profile", "allow_mixed_kernels", "local_workers", "min_workers", "listen", "advertise", "http", "nats_url",
	"takeover", "force", "coordinator_absence_limit", "log_format", "checkpointing_steps", "checkpoints_total_limit", "no_eval", "gate", "gate_stage", "eval_prompts", "eval_seeds",
	"num_inference_steps", "guidance_scale", "max_rejected_ratio", "audit_ratio", "model", "data", "steps",
}

// FirstChange is the flag of the first key that decides the result and differs in d, or "". Model
// and data may lie elsewhere now; their digests are compared instead.
func (c Config) FirstChange(d Config) string {
	found := ""
	other := reflect.ValueOf(d)
	index := 0
	eachField(&c, func(key, _ string, field reflect.Value) {
		if found == "" && !slices.Contains(freeKeys, key) && !field.Equal(other.Field(index)) {
			found = flagName(key)
		}
		index++
	})
	return found
}

// callKeys say how a run is called, not what it is.
var callKeys = []string{"out", "run_id", "resume", "dry_run", "takeover", "force", "log_format"}

// FirstDifference is the first key whose value is another one in d, with the two values, or "": a
// command with the same settings takes an unfinished run up.
func (c Config) FirstDifference(d Config) (flag string, value, other any) {
	others := reflect.ValueOf(d)
	index := 0
	eachField(&c, func(key, _ string, field reflect.Value) {
		if flag == "" && !slices.Contains(callKeys, key) && !field.Equal(others.Field(index)) {
			flag, value, other = flagName(key), field.Interface(), others.Field(index).Interface()
		}
		index++
	})
	return flag, value, other
}

// decode lays the file and the given flags over base.
func (f *Flags) decode(base Config) (Config, error) {
	if f.file != "" {
		if err := readFile(f.file, &base); err != nil {
			return Config{}, err
		}
	}
	values := reflect.ValueOf(f.values)
	index := 0
	eachField(&base, func(key, _ string, field reflect.Value) {
		if f.set.Changed(flagName(key)) {
			field.Set(values.Field(index))
		}
		index++
	})
	return base, nil
}

// readFile reads a YAML file strictly over c.
func readFile(path string, c *Config) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("--config: %w; give the path of a YAML file", err)
	}
	defer file.Close() // Only read.
	data, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err != nil {
		return fmt.Errorf("--config: read %s: %w", path, err)
	}
	if len(data) > maxFileBytes {
		return fmt.Errorf("--config: %s is larger than %d bytes; it holds settings only", path, maxFileBytes)
	}
	if err := strictyaml.Unmarshal(data, c); err != nil {
		return fmt.Errorf("--config: %s: %w; see `coordinator up --help` for the keys", path, err)
	}
	return nil
}

// eachField visits the keys of c in order.
func eachField(c *Config, visit func(key, help string, field reflect.Value)) {
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		visit(tag.Get("yaml"), tag.Get("help"), v.Field(i))
	}
}

// flagName is the kebab-case flag of a snake_case key.
func flagName(key string) string { return strings.ReplaceAll(key, "_", "-") }
