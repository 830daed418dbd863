package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
)

// chunkBytes is how much of a tensor is read and converted at a time.
const chunkBytes = 64 << 10

// File is an open safetensors file. Its methods may be called from several goroutines at once.
type File struct {
	name     string
	r        io.ReaderAt
	closer   io.Closer
	base     int64  // Offset of the data part.
	mapped   []byte // The whole file, where it could be mapped; nil otherwise.
	infos    []Info
	index    map[string]int
	metadata map[string]string
}

// Open reads the header of the file at path. The caller closes the File.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open safetensors: %w", err)
	}
	return fromFile(path, f, f)
}

// OpenFS is Open within fsys. A file system whose files cannot be read at an offset has the file
// read into memory.
func OpenFS(fsys fs.FS, path string) (*File, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open safetensors: %w", err)
	}
	if r, ok := f.(io.ReaderAt); ok {
		return fromFile(path, f, r)
	}
	defer func() { _ = f.Close() }() // Only read from.
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return parse(path, bytes.NewReader(data), int64(len(data)))
}

func fromFile(path string, f fs.File, r io.ReaderAt) (*File, error) {
	stat, err := f.Stat()
	if err != nil {
		_ = f.Close() // Only read from.
		return nil, fmt.Errorf("stat %s: %w", path, err)
	}
	if stat.IsDir() {
		_ = f.Close() // Only read from.
		return nil, fmt.Errorf("open safetensors: %s is a folder, it must be a file", path)
	}
	file, err := parse(path, r, stat.Size())
	if err != nil {
		_ = f.Close() // Only read from.
		return nil, err
	}
	file.closer = f
	if disk, ok := f.(*os.File); ok {
		file.mapped = mapFile(disk, stat.Size())
	}
	return file, nil
}

// Parse reads the header of a file of size bytes that is already open.
func Parse(r io.ReaderAt, size int64) (*File, error) { return parse("data", r, size) }

func parse(name string, r io.ReaderAt, size int64) (*File, error) {
	if size < 8 {
		return nil, &FormatError{File: name, Fault: fmt.Sprintf("it has %d bytes, a header length alone needs 8 (empty or truncated file)", size)}
	}
	var length [8]byte
	if err := readAt(name, r, length[:], 0); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > MaxHeaderBytes {
		return nil, &FormatError{File: name, Fault: fmt.Sprintf("its header claims %d bytes, the limit is %d", n, MaxHeaderBytes)}
	}
	if int64(n) > size-8 {
		return nil, &FormatError{File: name, Fault: fmt.Sprintf("its header claims %d bytes, the file has %d after the length (truncated file)", n, size-8)}
	}
	header := make([]byte, n)
	if err := readAt(name, r, header, 8); err != nil {
		return nil, err
	}
	infos, metadata, err := parseHeader(name, header, size-8-int64(n))
	if err != nil {
		return nil, err
	}
	f := &File{name: name, r: r, base: 8 + int64(n), infos: infos, metadata: metadata, index: make(map[string]int, len(infos))}
	for i, info := range infos {
		f.index[info.Name] = i
	}
	return f, nil
}

// readAt fills dst from offset at, whatever way the reader reports its end.
func readAt(name string, r io.ReaderAt, dst []byte, at int64) error {
	n, err := r.ReadAt(dst, at)
	if n == len(dst) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %s at byte %d: %w", name, at, err)
}

// Close releases the file. The Infos stay valid.
func (f *File) Close() error {
	if f.closer == nil {
		return nil
	}
	unmapped := unmapFile(f.mapped)
	f.mapped = nil
	return errors.Join(unmapped, f.closer.Close())
}

// Name returns the path that the file was opened by.
func (f *File) Name() string { return f.name }

// Infos returns all tensors, sorted by Begin. The caller may keep and change the slice, not the shapes.
func (f *File) Infos() []Info { return slices.Clone(f.infos) }

// Info returns the tensor of that name.
func (f *File) Info(name string) (Info, bool) {
	i, ok := f.index[name]
	if !ok {
		return Info{}, false
	}
	return f.infos[i], true
}

// Metadata returns the header's free strings, nil when there are none. It must not be changed.
func (f *File) Metadata() map[string]string { return f.metadata }

func (f *File) find(name string) (Info, error) {
	info, ok := f.Info(name)
	if !ok {
		return Info{}, fmt.Errorf("%s has no tensor %q", f.name, name)
	}
	return info, nil
}

// Bytes returns a copy of the tensor's bytes, little endian.
func (f *File) Bytes(name string) ([]byte, error) {
	info, err := f.find(name)
	if err != nil {
		return nil, err
	}
	data := make([]byte, info.End-info.Begin) // Bounded by the file's size, see parseHeader.
	return data, f.each(info, 0, info.Elements(), func(i int, src []byte) error {
		copy(data[i*info.DType.Size():], src)
		return nil
	})
}

// Copy writes the tensor's bytes, little endian, to w.
func (f *File) Copy(w io.Writer, name string) error {
	info, err := f.find(name)
	if err != nil {
		return err
	}
	return f.each(info, 0, info.Elements(), func(_ int, src []byte) error {
		_, err := w.Write(src)
		return err
	})
}

// Float32 fills dst, whose length must be the tensor's, and converts F64 (rounded), F16 and BF16.
func (f *File) Float32(name string, dst []float32) error {
	info, err := f.find(name)
	if err == nil {
		err = info.holds(f.name, len(dst))
	}
	if err != nil {
		return err
	}
	return f.Float32From(name, 0, dst)
}

// Float32From is Float32 for the elements from first on, as many as dst takes. It returns an error when there are not
// so many.
func (f *File) Float32From(name string, first int, dst []float32) error {
	info, err := f.find(name)
	if err != nil {
		return err
	}
	if !info.DType.IsFloat() {
		return fmt.Errorf("%s: tensor %q is %s, it must be F64, F32, F16 or BF16", f.name, name, info.DType)
	}
	return f.each(info, first, len(dst), func(i int, src []byte) error {
		convertFloat32(dst[i:], src, info.DType)
		return nil
	})
}

// convertFloat32 widens or narrows the whole of src into dst.
func convertFloat32(dst []float32, src []byte, d DType) {
	switch d {
	case F64:
		for i := range len(src) / 8 {
			dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
		}
	case F32:
		for i := range len(src) / 4 {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	case F16:
		for i := range len(src) / 2 {
			dst[i] = Float16ToFloat32(binary.LittleEndian.Uint16(src[2*i:]))
		}
	case BF16:
		for i := range len(src) / 2 {
			dst[i] = BFloat16ToFloat32(binary.LittleEndian.Uint16(src[2*i:]))
		}
	}
}

// Float64s returns an F64 tensor, or an F32, F16 or BF16 one widened.
func (f *File) Float64s(name string) ([]float64, error) {
	info, err := f.find(name)
	if err != nil {
		return nil, err
	}
	out := make([]float64, info.Elements())
	if info.DType == F64 {
		return out, f.each(info, 0, len(out), func(i int, src []byte) error {
			for j := range len(src) / 8 {
				out[i+j] = math.Float64frombits(binary.LittleEndian.Uint64(src[8*j:]))
			}
			return nil
		})
	}
	narrow := make([]float32, len(out))
	if err := f.Float32(name, narrow); err != nil {
		return nil, err
	}
	for i, v := range narrow {
		out[i] = float64(v)
	}
	return out, nil
}

// Int64s returns an integer or boolean tensor widened to int64.
func (f *File) Int64s(name string) ([]int64, error) {
	info, err := f.find(name)
	if err != nil {
		return nil, err
	}
	if info.DType.IsFloat() || info.DType == U64 {
		return nil, fmt.Errorf("%s: tensor %q is %s, it must be an integer type up to I64", f.name, name, info.DType)
	}
	out := make([]int64, info.Elements())
	size := info.DType.Size()
	return out, f.each(info, 0, len(out), func(i int, src []byte) error {
		for j := range len(src) / size {
			out[i+j] = integer(src[size*j:], info.DType)
		}
		return nil
	})
}

func integer(src []byte, d DType) int64 {
	switch d {
	case I64:
		return int64(binary.LittleEndian.Uint64(src))
	case I32:
		return int64(int32(binary.LittleEndian.Uint32(src)))
	case U32:
		return int64(binary.LittleEndian.Uint32(src))
	case I16:
		return int64(int16(binary.LittleEndian.Uint16(src)))
	case U16:
		return int64(binary.LittleEndian.Uint16(src))
	case I8:
		return int64(int8(src[0]))
	}
	return int64(src[0])
}
