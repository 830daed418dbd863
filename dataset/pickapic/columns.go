package pickapic

import (
	"fmt"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"
)

// columns are the leaf columns of one file by number; −1 stands for an optional one that is absent.
type columns struct {
	file             string
	jpg0, jpg1       int
	label0, label1   int
	caption, present int // present is has_label.
}

// findColumns looks the columns up and checks their types, unless there are no rows: writers give
// an empty column any type.
func findColumns(f *parquet.File, file string) (*columns, error) {
	schema := f.Schema()
	c := &columns{file: file}
	for _, want := range []struct {
		at       *int
		name     string
		kinds    []parquet.Kind
		what     string
		optional bool
	}{
		{&c.jpg0, "jpg_0", pictureKinds, "binary or a struct with bytes", false},
		{&c.jpg1, "jpg_1", pictureKinds, "binary or a struct with bytes", false},
		{&c.label0, "label_0", numberKinds, "a number", false},
		{&c.label1, "label_1", numberKinds, "a number", true},
		{&c.caption, "caption", pictureKinds, "a string", false},
		{&c.present, "has_label", []parquet.Kind{parquet.Boolean}, "a boolean", true},
	} {
		leaf, ok := lookup(schema, want.name)
		if !ok && want.optional && !hasField(schema, want.name) {
			*want.at = -1
			continue
		}
		if !ok && !hasField(schema, want.name) {
			return nil, fmt.Errorf("%s has no column %s; it has %s: rename its columns to Pick-a-Pic's "+
				"jpg_0, jpg_1, label_0, label_1, caption, or give a folder with metadata.jsonl", file, want.name, names(schema))
		}
		if f.NumRows() == 0 {
			continue
		}
		if !ok || leaf.MaxRepetitionLevel > 0 || !slices.Contains(want.kinds, leaf.Node.Type().Kind()) {
			return nil, fmt.Errorf("%s: column %s has the type %s, but %s is needed: convert it", file, want.name, typeOf(schema, want.name), want.what)
		}
		*want.at = leaf.ColumnIndex
	}
	return c, nil
}

var (
	pictureKinds = []parquet.Kind{parquet.ByteArray}
	numberKinds  = []parquet.Kind{parquet.Boolean, parquet.Int32, parquet.Int64, parquet.Float, parquet.Double}
)

// lookup returns the leaf name or name.bytes.
func lookup(schema *parquet.Schema, name string) (parquet.LeafColumn, bool) {
	if leaf, ok := schema.Lookup(name); ok {
		return leaf, true
	}
	return schema.Lookup(name, "bytes")
}

func hasField(schema *parquet.Schema, name string) bool {
	return slices.ContainsFunc(schema.Fields(), func(f parquet.Field) bool { return f.Name() == name })
}

// names lists the columns of a file.
func names(schema *parquet.Schema) string {
	var all []string
	for _, f := range schema.Fields() {
		all = append(all, f.Name())
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

// typeOf describes the type of a column for an operator.
func typeOf(schema *parquet.Schema, name string) string {
	for _, f := range schema.Fields() {
		switch {
		case f.Name() != name:
		case f.Repeated():
			return "list"
		case f.Leaf():
			return strings.ToLower(f.Type().String())
		default:
			var fields []string
			for _, g := range f.Fields() {
				fields = append(fields, g.Name())
			}
			return "struct{" + strings.Join(fields, ", ") + "}"
		}
	}
	return "unknown"
}
