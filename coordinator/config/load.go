package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

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
	if err := yaml.UnmarshalWithOptions(data, c, yaml.Strict()); err != nil {
		return fmt.Errorf("--config: %s: %s; see `coordinator up --help` for the keys", path, yamlMessage(err))
	}
	return nil
}

// yamlMessage is the parser's message on one line, without the source excerpt.
func yamlMessage(err error) string {
	var y yaml.Error
	if !errors.As(err, &y) {
		return strings.ReplaceAll(err.Error(), "\n", " ")
	}
	line := 0
	if t := y.GetToken(); t != nil && t.Position != nil {
		line = t.Position.Line
	}
	return fmt.Sprintf("line %d: %s", line, y.GetMessage())
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
