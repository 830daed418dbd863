package pickapic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/parquet-go/parquet-go"

	"yohaku/dataset"
)

// eachRow yields the rows of one row group. row counts them within the file.
func eachRow(ctx context.Context, group parquet.RowGroup, c *columns, name string, row *int, yield func(dataset.Record) error) error {
	r := newRowReader(group, c)
	defer r.close()
	for range group.NumRows() {
		if err := context.Cause(ctx); err != nil {
			return stop{err}
		}
		values, err := r.next()
		if err != nil {
			return fmt.Errorf("read %s row %d: %w: the file is damaged", c.file, *row, err)
		}
		if err := yield(record(values, name, *row)); err != nil {
			return stop{err}
		}
		*row++
	}
	return nil
}

// rowValues are the cells of one row. The memory of strings belongs to the reader until its next
// row; cells of absent columns are nil.
type rowValues struct {
	jpg0, jpg1, label0, label1, caption, present *parquet.Value
}

// record turns a row into a pair or a reject.
func record(v rowValues, name string, row int) dataset.Record {
	first, tie, err := preference(v)
	if err == nil && v.caption.IsNull() {
		err = errors.New("the caption is missing")
	}
	for _, picture := range []struct {
		name  string
		value *parquet.Value
	}{{"jpg_0", v.jpg0}, {"jpg_1", v.jpg1}} {
		if err == nil && picture.value.IsNull() {
			err = fmt.Errorf("%s holds no bytes", picture.name)
		}
	}
	if err != nil {
		return dataset.Record{Reject: &dataset.Reject{File: name, Row: row, Reason: err.Error()}}
	}
	p := &dataset.Pair{
		File: name, Row: row, Tie: tie, Prompt: string(v.caption.ByteArray()),
		Winner: bytes.Clone(v.jpg0.ByteArray()), Loser: bytes.Clone(v.jpg1.ByteArray()),
	}
	if !first {
		p.Swap()
	}
	return dataset.Record{Pair: p}
}

// preference reads the labels: whether picture 0 won (it stands in for the winner of a tie).
func preference(v rowValues) (first, tie bool, err error) {
	if v.present != nil && !v.present.IsNull() && !v.present.Boolean() {
		return false, false, errors.New("the row has no label (has_label is false)")
	}
	if v.label0.IsNull() {
		return false, false, errors.New("label_0 is missing")
	}
	label := number(*v.label0)
	if v.label1 != nil && !v.label1.IsNull() {
		if other := number(*v.label1); math.Abs(label+other-1) > 1e-6 {
			return false, false, fmt.Errorf("label_0 is %v and label_1 is %v; they must add up to 1", label, other)
		}
	}
	return dataset.Preference(label)
}

// number returns a numeric cell.
func number(v parquet.Value) float64 {
	switch v.Kind() {
	case parquet.Boolean:
		if v.Boolean() {
			return 1
		}
		return 0
	case parquet.Int32:
		return float64(v.Int32())
	case parquet.Int64:
		return float64(v.Int64())
	case parquet.Float:
		return float64(v.Float())
	}
	return v.Double()
}

// rowReader reads the wanted columns of a row group side by side.
type rowReader struct {
	cursors []*cursor
	values  rowValues
}

func newRowReader(group parquet.RowGroup, c *columns) *rowReader {
	r := &rowReader{}
	chunks := group.ColumnChunks()
	for _, column := range []struct {
		index int
		value **parquet.Value
	}{
		{c.jpg0, &r.values.jpg0}, {c.jpg1, &r.values.jpg1}, {c.label0, &r.values.label0},
		{c.label1, &r.values.label1}, {c.caption, &r.values.caption}, {c.present, &r.values.present},
	} {
		if column.index >= 0 {
			r.cursors = append(r.cursors, &cursor{pages: chunks[column.index].Pages(), value: column.value})
		}
	}
	return r
}

// next returns the next row; its memory is valid until the following call.
func (r *rowReader) next() (rowValues, error) {
	for _, c := range r.cursors {
		v, err := c.next()
		if err != nil {
			return rowValues{}, err
		}
		*c.value = v
	}
	return r.values, nil
}

func (r *rowReader) close() {
	for _, c := range r.cursors {
		c.release()
		_ = c.pages.Close() // Read only.
	}
}

// cursor goes through the values of one column, a page at a time.
type cursor struct {
	pages  parquet.Pages
	value  **parquet.Value
	page   parquet.Page
	reader parquet.ValueReader
	buffer [16]parquet.Value
	ready  []parquet.Value
}

// next returns the next value of the column.
func (c *cursor) next() (*parquet.Value, error) {
	for len(c.ready) == 0 {
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
	v := &c.ready[0]
	c.ready = c.ready[1:]
	return v, nil
}

// fill reads values of the current page, or opens the next page when it is used up.
func (c *cursor) fill() error {
	if c.reader != nil {
		n, err := c.reader.ReadValues(c.buffer[:])
		c.ready = c.buffer[:n]
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if n > 0 {
			return nil
		}
		c.release()
	}
	page, err := c.pages.ReadPage()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	c.page, c.reader = page, page.Values()
	return nil
}

func (c *cursor) release() {
	if c.page != nil {
		parquet.Release(c.page)
	}
	c.page, c.reader, c.ready = nil, nil, nil
}
