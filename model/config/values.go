package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// PerBlock is a setting that diffusers writes as one value for all blocks or as a list with one value a block.
type PerBlock[T any] struct {
	Values []T
	List   bool // The file had a list.
}

// All returns the setting with one value for every block.
func All[T any](v T) PerBlock[T] { return PerBlock[T]{Values: []T{v}} }

// UnmarshalJSON takes a value or a list of values.
func (p *PerBlock[T]) UnmarshalJSON(data []byte) error {
	data = bytes.TrimSpace(data)
	if string(data) == "null" {
		return errors.New("null is not supported here")
	}
	if len(data) > 0 && data[0] == '[' {
		p.List, p.Values = true, nil
		return json.Unmarshal(data, &p.Values)
	}
	var one T
	if err := json.Unmarshal(data, &one); err != nil {
		return err
	}
	p.List, p.Values = false, []T{one}
	return nil
}

// At returns the value of block i.
func (p PerBlock[T]) At(i int) T {
	if !p.List {
		return p.Values[0]
	}
	return p.Values[i]
}

// CheckLength refuses a list that does not have one entry for each of n blocks.
func (p PerBlock[T]) CheckLength(n int) error {
	if p.List && len(p.Values) != n {
		return fmt.Errorf("has %d entries, want one for each of the %d blocks", len(p.Values), n)
	}
	return nil
}

// String prints the setting as the file has it.
func (p PerBlock[T]) String() string {
	var v any = p.Values
	if !p.List && len(p.Values) == 1 {
		v = p.Values[0]
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// Size is sample_size: a side, or height and width; zero when the file has null.
type Size struct{ Height, Width int }

// UnmarshalJSON takes a number, a list of two numbers, or null.
func (s *Size) UnmarshalJSON(data []byte) error {
	if string(bytes.TrimSpace(data)) == "null" {
		*s = Size{}
		return nil
	}
	var side int
	if json.Unmarshal(data, &side) == nil {
		*s = Size{Height: side, Width: side}
		return nil
	}
	var pair []int
	if err := json.Unmarshal(data, &pair); err != nil || len(pair) != 2 {
		return errors.New("want a whole number, a list of two, or null")
	}
	*s = Size{Height: pair[0], Width: pair[1]}
	return nil
}
