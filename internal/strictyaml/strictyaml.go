// Package strictyaml reads YAML of known keys only, and says what is wrong in one line.
package strictyaml

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
)

// Unmarshal decodes data over v. A key that v does not know is an error, which names the line.
func Unmarshal(data []byte, v any) error {
	err := yaml.UnmarshalWithOptions(data, v, yaml.Strict())
	if err == nil {
		return nil
	}
	var y yaml.Error
	if !errors.As(err, &y) {
		return errors.New(strings.ReplaceAll(err.Error(), "\n", " "))
	}
	line := 0
	if t := y.GetToken(); t != nil && t.Position != nil {
		line = t.Position.Line
	}
	return fmt.Errorf("line %d: %s", line, y.GetMessage()) // Without the source excerpt.
}
