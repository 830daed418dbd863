package safetensors

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
)

// Entry is one tensor to write. Data is one of
//
//	[]float32  for F32, or for F64, F16 and BF16, rounded to nearest even
//	[]float64  for F64
//	[]int64, []int32 for I64, I32
//	[]byte     for any type, little endian
//	func(io.Writer) error, which writes exactly shape × dtype bytes, little endian
type Entry struct {
	Name  string
	DType DType
	Shape []int
	Data  any
}

// Write writes a file. Its bytes depend on the tensors and the metadata alone, not on the order
// of tensors: wider types come first, as in the reference implementation, so that every tensor
// is aligned, and names are sorted within a type.
func Write(w io.Writer, tensors []Entry, metadata map[string]string) error {
	tensors = slices.Clone(tensors)
	slices.SortFunc(tensors, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(b.DType.Size(), a.DType.Size()), cmp.Compare(a.DType, b.DType), cmp.Compare(a.Name, b.Name))
	})
	header, sizes, err := encodeHeader(tensors, metadata)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, chunkBytes)
	if _, err := out.Write(header); err != nil {
		return fmt.Errorf("write safetensors header: %w", err)
	}
	for i, t := range tensors {
		counted := &countingWriter{w: out}
		if err := writeData(counted, t); err != nil {
			return fmt.Errorf("write tensor %q: %w", t.Name, err)
		}
		if counted.n != sizes[i] {
			return fmt.Errorf("write tensor %q: data has %d bytes, shape %v of %s needs %d", t.Name, counted.n, t.Shape, t.DType, sizes[i])
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write safetensors: %w", err)
	}
	return nil
}

// encodeHeader returns length and header, padded with spaces to a multiple of 8, and each tensor's size.
func encodeHeader(tensors []Entry, metadata map[string]string) ([]byte, []int64, error) {
	var b bytes.Buffer
	b.Write(make([]byte, 8))
	b.WriteByte('{')
	if len(metadata) > 0 {
		fmt.Fprintf(&b, "%s:%s", quote(metadataKey), quote(metadata))
	}
	sizes := make([]int64, len(tensors))
	seen := map[string]bool{metadataKey: true}
	var at int64
	for i, t := range tensors {
		if seen[t.Name] {
			return nil, nil, fmt.Errorf("write safetensors: the name %q is taken", t.Name)
		}
		seen[t.Name] = true
		size, err := t.bytes()
		if err != nil {
			return nil, nil, err
		}
		sizes[i] = size
		if b.Len() > 9 {
			b.WriteByte(',')
		}
		shape := t.Shape
		if shape == nil {
			shape = []int{}
		}
		fmt.Fprintf(&b, `%s:{"dtype":%s,"shape":%s,"data_offsets":[%d,%d]}`, quote(t.Name), quote(t.DType), quote(shape), at, at+size)
		at += size
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	if b.Len()-8 > MaxHeaderBytes {
		return nil, nil, fmt.Errorf("write safetensors: the header has %d bytes, the limit is %d", b.Len()-8, MaxHeaderBytes)
	}
	binary.LittleEndian.PutUint64(b.Bytes(), uint64(b.Len()-8))
	return b.Bytes(), sizes, nil
}

// bytes returns shape × dtype.
func (t Entry) bytes() (int64, error) {
	n := int64(t.DType.Size())
	if n == 0 {
		return 0, fmt.Errorf("write tensor %q: dtype %q is not known", t.Name, t.DType)
	}
	for _, d := range t.Shape {
		if d < 0 || d > math.MaxInt32 {
			return 0, fmt.Errorf("write tensor %q: shape %v has a dimension outside 0 to %d", t.Name, t.Shape, math.MaxInt32)
		}
		if d > 0 && n > math.MaxInt64/int64(d) {
			return 0, fmt.Errorf("write tensor %q: shape %v overflows", t.Name, t.Shape)
		}
		n *= int64(d)
	}
	return n, nil
}

// quote encodes v as JSON without HTML escapes.
func quote(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("unreachable: strings, maps of strings and integers encode: " + err.Error())
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func writeData(w io.Writer, t Entry) error {
	switch data := t.Data.(type) {
	case []byte:
		_, err := w.Write(data)
		return err
	case func(io.Writer) error:
		return data(w)
	case []float32:
		return Encode(w, data, t.DType)
	case []float64:
		if t.DType == F64 {
			return encode(w, data, 8, func(b []byte, v float64) { binary.LittleEndian.PutUint64(b, math.Float64bits(v)) })
		}
	case []int64:
		if t.DType == I64 {
			return encode(w, data, 8, func(b []byte, v int64) { binary.LittleEndian.PutUint64(b, uint64(v)) })
		}
	case []int32:
		if t.DType == I32 {
			return encode(w, data, 4, func(b []byte, v int32) { binary.LittleEndian.PutUint32(b, uint32(v)) })
		}
	}
	return fmt.Errorf("data of type %T cannot be written as %s", t.Data, t.DType)
}

// Encode writes data as little-endian elements of the floating-point type d, as Write does.
func Encode(w io.Writer, data []float32, d DType) error {
	if !d.IsFloat() {
		return fmt.Errorf("data of type %T cannot be written as %s", data, d)
	}
	if d == F32 {
		return encodeFloat32(w, data)
	}
	return encode(w, data, d.Size(), floatEncoder(d))
}

// encodeFloat32 is encode for the common type, without a call for each element.
func encodeFloat32(w io.Writer, data []float32) error {
	buf := make([]byte, min(chunkBytes, 4*len(data)))
	for len(data) > 0 {
		n := min(len(data), len(buf)/4)
		for i, v := range data[:n] {
			binary.LittleEndian.PutUint32(buf[4*i:4*i+4], math.Float32bits(v))
		}
		if _, err := w.Write(buf[:4*n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// floatEncoder returns how one element of F64, F16 or BF16 is written.
func floatEncoder(d DType) func([]byte, float32) {
	switch d {
	case F64:
		return func(b []byte, v float32) { binary.LittleEndian.PutUint64(b, math.Float64bits(float64(v))) }
	case F16:
		return func(b []byte, v float32) { binary.LittleEndian.PutUint16(b, Float32ToFloat16(v)) }
	}
	return func(b []byte, v float32) { binary.LittleEndian.PutUint16(b, Float32ToBFloat16(v)) }
}

// encode writes data through a bounded buffer.
func encode[T any](w io.Writer, data []T, size int, put func([]byte, T)) error {
	buf := make([]byte, min(chunkBytes, len(data)*size))
	for len(data) > 0 {
		n := min(len(data), len(buf)/size)
		for i, v := range data[:n] {
			put(buf[size*i:], v)
		}
		if _, err := w.Write(buf[:n*size]); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}
