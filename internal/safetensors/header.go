package safetensors

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// MaxHeaderBytes is the longest header that is read, the limit of the reference implementation.
const MaxHeaderBytes = 100_000_000

const metadataKey = "__metadata__"

// FormatError says which rule of the format a file breaks. The file is not usable as it is: the
// caller reports it and asks for another copy.
type FormatError struct {
	File   string
	Tensor string // Empty when the fault is not one tensor's.
	Fault  string // The value found and the rule it breaks.
}

func (e *FormatError) Error() string {
	if e.Tensor == "" {
		return fmt.Sprintf("%s is not a valid safetensors file: %s; fetch or write the file again", e.File, e.Fault)
	}
	return fmt.Sprintf("%s is not a valid safetensors file: tensor %q: %s; fetch or write the file again", e.File, e.Tensor, e.Fault)
}

// Info describes one tensor. Begin and End are byte offsets within the data part.
type Info struct {
	Name       string
	DType      DType
	Shape      []int
	Begin, End int64
}

// Elements returns the product of the shape; 1 for a scalar.
func (i Info) Elements() int {
	n := 1
	for _, d := range i.Shape {
		n *= d
	}
	return n
}

// rawInfo is one tensor's header entry as it stands in the file.
type rawInfo struct {
	DType   *DType   `json:"dtype"`
	Shape   *[]int64 `json:"shape"`
	Offsets *[]int64 `json:"data_offsets"`
}

// parseHeader decodes the JSON header of a file whose data part is dataBytes long.
func parseHeader(file string, header []byte, dataBytes int64) ([]Info, map[string]string, error) {
	bad := func(format string, args ...any) error {
		return &FormatError{File: file, Fault: fmt.Sprintf(format, args...)}
	}
	if len(header) == 0 || header[0] != '{' {
		return nil, nil, bad("the header must begin with '{'")
	}
	d := json.NewDecoder(bytes.NewReader(header))
	d.DisallowUnknownFields()
	if _, err := d.Token(); err != nil {
		return nil, nil, bad("the header is not JSON: %v", err)
	}
	var infos []Info
	var metadata map[string]string
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, nil, bad("the header is not JSON: %v", err)
		}
		name := token.(string) // Keys of an object are always strings, or Token fails.
		if seen[name] {
			return nil, nil, &FormatError{file, name, "the name is in the header twice"}
		}
		seen[name] = true
		if name == metadataKey {
			if err := d.Decode(&metadata); err != nil {
				return nil, nil, bad("%s must map strings to strings: %v", metadataKey, err)
			}
			continue
		}
		var raw rawInfo
		if err := d.Decode(&raw); err != nil {
			return nil, nil, &FormatError{file, name, fmt.Sprintf("its header entry does not decode: %v", err)}
		}
		info, err := raw.check(name, dataBytes)
		if err != nil {
			return nil, nil, &FormatError{file, name, err.Error()}
		}
		infos = append(infos, info)
	}
	if _, err := d.Token(); err != nil {
		return nil, nil, bad("the header is not JSON: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, nil, bad("the header goes on after its closing brace")
	}
	sortInfos(infos)
	return infos, metadata, checkCover(file, infos, dataBytes)
}

// check turns a raw entry into an Info, or says which rule it breaks.
func (r rawInfo) check(name string, dataBytes int64) (Info, error) {
	if r.DType == nil || r.Shape == nil || r.Offsets == nil {
		return Info{}, errors.New("it needs dtype, shape and data_offsets")
	}
	size := int64(r.DType.Size())
	if size == 0 {
		return Info{}, fmt.Errorf("dtype %q is not known (known: F64 F32 F16 BF16 I64 I32 I16 I8 U64 U32 U16 U8 BOOL)", *r.DType)
	}
	if len(*r.Offsets) != 2 {
		return Info{}, fmt.Errorf("data_offsets %v must be [begin, end]", *r.Offsets)
	}
	begin, end := (*r.Offsets)[0], (*r.Offsets)[1]
	if begin < 0 || end < begin || end > dataBytes {
		return Info{}, fmt.Errorf("data_offsets [%d, %d] must lie within the file's %d data bytes (truncated file, or a header that lies)", begin, end, dataBytes)
	}
	shape := make([]int, len(*r.Shape))
	want := size
	empty := false
	for i, n := range *r.Shape {
		if n < 0 || n > math.MaxInt32 {
			return Info{}, fmt.Errorf("shape %v has a dimension outside 0 to %d", *r.Shape, math.MaxInt32)
		}
		shape[i] = int(n)
		if empty = empty || n == 0; empty {
			continue
		}
		if want > math.MaxInt64/n {
			return Info{}, fmt.Errorf("shape %v overflows", *r.Shape)
		}
		want *= n
	}
	if empty {
		want = 0
	}
	if end-begin != want {
		return Info{}, fmt.Errorf("shape %v of %s needs %d bytes, data_offsets [%d, %d] hold %d", *r.Shape, *r.DType, want, begin, end, end-begin)
	}
	return Info{Name: name, DType: *r.DType, Shape: shape, Begin: begin, End: end}, nil
}

func sortInfos(infos []Info) {
	slices.SortFunc(infos, func(a, b Info) int {
		return cmp.Or(cmp.Compare(a.Begin, b.Begin), cmp.Compare(a.End, b.End), cmp.Compare(a.Name, b.Name))
	})
}

// checkCover holds that the sorted tensors cover the data part once, without a hole.
func checkCover(file string, infos []Info, dataBytes int64) error {
	var at int64
	for _, i := range infos {
		switch {
		case i.Begin < at:
			return &FormatError{file, i.Name, fmt.Sprintf("data_offsets [%d, %d] overlap the tensor before, which ends at %d", i.Begin, i.End, at)}
		case i.Begin > at:
			return &FormatError{file, i.Name, fmt.Sprintf("data_offsets [%d, %d] leave a hole after byte %d", i.Begin, i.End, at)}
		}
		at = i.End
	}
	if at != dataBytes {
		return &FormatError{File: file, Fault: fmt.Sprintf("its tensors end at data byte %d, the file has %d", at, dataBytes)}
	}
	return nil
}
