// Package config reads the config.json files of diffusers and transformers models strictly.
//
// A key is honoured or refused by name: a key that the model's Config struct does not have is an error, and so is a
// value of the wrong type or a null where the library has none. Keys that begin with an underscore are the libraries'
// own notes (_class_name, _diffusers_version, _name_or_path) and are skipped. Keys that are absent keep the defaults
// that the caller put into the struct: the defaults of the library's constructor.
package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"reflect"
	"sort"
	"strings"
)

// maxBytes bounds a config file; the largest that diffusers writes are a few kilobytes.
const maxBytes = 1 << 20

// FileName is the name of a model's configuration inside its folder.
const FileName = "config.json"

// KeyError reports a key that cannot be honoured. The caller shows it: the model file needs another program or an edit.
type KeyError struct {
	Class string // diffusers or transformers class, such as "UNet2DConditionModel".
	Key   string
	Value string // As written in the file.
	Rule  string // What is supported, or what is wrong.
}

func (e *KeyError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("%s config: key %q: %s", e.Class, e.Key, e.Rule)
	}
	return fmt.Sprintf("%s config: key %q: value %s: %s", e.Class, e.Key, e.Value, e.Rule)
}

// Read reads config.json in the folder dir of fsys and parses it. Errors name the file.
func Read[C any](fsys fs.FS, dir string, parse func(data []byte) (C, error)) (C, error) {
	return ReadFile(fsys, path.Join(dir, FileName), parse)
}

// ReadFile is Read for a configuration under another name.
func ReadFile[C any](fsys fs.FS, name string, parse func(data []byte) (C, error)) (C, error) {
	var none C
	data, err := readFile(fsys, name)
	if err != nil {
		return none, err
	}
	c, err := parse(data)
	if err != nil {
		return none, fmt.Errorf("read %s: %w", name, err)
	}
	return c, nil
}

// readFile returns the bytes of the file, at most 1 MiB.
func readFile(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open model config: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > maxBytes {
		return nil, fmt.Errorf("read %s: larger than %d bytes: not a model config", name, maxBytes)
	}
	return data, nil
}

// Decode fills dst, a pointer to a struct whose fields carry `json:"key"` tags and hold the defaults, from data.
//
// A pointer field takes null as nil; a type with its own UnmarshalJSON sees null itself; anything else refuses null.
// Keys named in inert are accepted whatever their value is. The first key in alphabetical order that cannot be honoured
// gives a KeyError.
func Decode(class string, data []byte, dst any, inert ...string) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return fmt.Errorf("%s config: %w", class, describe(err))
	}
	if err := checkClass(class, raw["_class_name"]); err != nil {
		return err
	}
	fields, skip := fieldsOf(dst), setOf(inert)
	for _, key := range sortedKeys(raw) {
		if strings.HasPrefix(key, "_") || skip[key] {
			continue
		}
		field, ok := fields[key]
		if !ok {
			return &KeyError{Class: class, Key: key, Value: short(raw[key]), Rule: "this key is not known; remove it if the model does not need it"}
		}
		if err := setField(field, raw[key]); err != nil {
			return &KeyError{Class: class, Key: key, Value: short(raw[key]), Rule: err.Error()}
		}
	}
	return nil
}

// checkClass refuses a file that says it is for another class; files without _class_name pass.
func checkClass(class string, raw json.RawMessage) error {
	var name string
	if raw == nil || json.Unmarshal(raw, &name) != nil || name == class {
		return nil
	}
	return &KeyError{Class: class, Key: "_class_name", Value: short(raw), Rule: fmt.Sprintf("the file is for another class, want %q", class)}
}

// setField decodes one value into one struct field.
func setField(field reflect.Value, raw json.RawMessage) error {
	target := field.Addr().Interface()
	_, own := target.(json.Unmarshaler)
	if string(bytes.TrimSpace(raw)) == "null" && field.Kind() != reflect.Pointer && !own {
		return errors.New("null is not supported here")
	}
	if err := json.Unmarshal(raw, target); err != nil {
		return describe(err)
	}
	return nil
}

// describe says what encoding/json expected without naming Go types or this program's structs.
func describe(err error) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return err
	}
	return fmt.Errorf("want %s, got a JSON %s", kindName(wrong.Type), wrong.Value)
}

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return kindName(t.Elem())
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Float64, reflect.Float32:
		return "a number"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "a list, each entry " + kindName(t.Elem())
	default:
		return "an object"
	}
}

func fieldsOf(dst any) map[string]reflect.Value {
	v := reflect.ValueOf(dst).Elem()
	fields := make(map[string]reflect.Value, v.NumField())
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if name != "" && name != "-" {
			fields[name] = v.Field(i)
		}
	}
	return fields
}

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, n := range names {
		set[n] = true
	}
	return set
}

func sortedKeys(m map[string]json.RawMessage) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// short cuts a value for an error message.
func short(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	if b.Len() > 80 {
		return b.String()[:77] + "..."
	}
	return b.String()
}
