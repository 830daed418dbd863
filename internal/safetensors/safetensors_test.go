package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func file(header string, dataBytes int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, dataBytes)...)
}

func TestRoundTrip(t *testing.T) {
	entries := []Entry{
		{"b.weight", F32, []int{2, 2}, []float32{1, -2.5, 3, float32(math.Inf(1))}},
		{"half", F16, []int{3}, []float32{1, 0.5, 65504}},
		{"brain", BF16, []int{2}, []float32{1, -3}},
		{"double", F64, []int{2}, []float64{math.Pi, -1e300}},
		{"ids", I64, []int{3}, []int64{1, -5, math.MaxInt64}},
		{"sums", I32, []int{2}, []int32{7, math.MinInt32}},
		{"exponents", I8, []int{2}, []byte{0xff, 3}},
		{"scalar<&>", F32, nil, []float32{9}},
		{"empty", F32, []int{0, 4}, []float32{}},
		{"stream", U8, []int{2}, func(w io.Writer) error { _, err := w.Write([]byte("hi")); return err }},
	}
	var buf, again bytes.Buffer
	if err := Write(&buf, entries, map[string]string{"format": "pt", "a": "<b>"}); err != nil {
		t.Fatal(err)
	}
	reversed := make([]Entry, 0, len(entries))
	for i := range entries {
		reversed = append(reversed, entries[len(entries)-1-i])
	}
	if err := Write(&again, reversed, map[string]string{"a": "<b>", "format": "pt"}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(buf.Bytes(), again.Bytes()) {
		t.Error("the bytes depend on the order of entries")
	}
	f, err := OpenFS(fstest.MapFS{"m.safetensors": {Data: buf.Bytes()}}, "m.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if diff := cmp.Diff(f.Metadata(), map[string]string{"format": "pt", "a": "<b>"}); diff != "" {
		t.Error("metadata got, want:", diff)
	}
	for name, want := range map[string][]float32{
		"b.weight": {1, -2.5, 3, float32(math.Inf(1))}, "half": {1, 0.5, 65504}, "brain": {1, -3},
		"double": {math.Pi, float32(math.Inf(-1))}, "scalar<&>": {9}, "empty": {},
	} {
		got := make([]float32, len(want))
		if err := f.Float32(name, got); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Error(name, "got, want:", diff)
		}
	}
	for name, want := range map[string][]int64{"ids": {1, -5, math.MaxInt64}, "sums": {7, math.MinInt32}, "exponents": {-1, 3}} {
		got, err := f.Int64s(name)
		if diff := cmp.Diff(got, want); diff != "" || err != nil {
			t.Error(name, err, "got, want:", diff)
		}
	}
	if got, err := f.Float64s("double"); err != nil || got[0] != math.Pi {
		t.Error("double:", got, err)
	}
	if got, err := f.Bytes("stream"); err != nil || string(got) != "hi" {
		t.Errorf("stream: %q, %v", got, err)
	}
}

// TestLargeTensor crosses several read chunks with every width.
func TestLargeTensor(t *testing.T) {
	const n = chunkBytes + 13
	want := make([]float32, n)
	for i := range want {
		want[i] = float32(i % 251)
	}
	for _, d := range []DType{F64, F32, F16, BF16} {
		var buf bytes.Buffer
		if err := Write(&buf, []Entry{{"x", d, []int{n}, want}}, nil); err != nil {
			t.Fatal(err)
		}
		f, err := Parse(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
		if err != nil {
			t.Fatal(err)
		}
		got := make([]float32, n)
		if err := f.Float32("x", got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Error(d, "got, want:", diff[:min(len(diff), 400)])
		}
	}
}

func TestRefuses(t *testing.T) {
	long := binary.LittleEndian.AppendUint64(nil, MaxHeaderBytes+1)
	past := binary.LittleEndian.AppendUint64(nil, 500)
	negative := binary.LittleEndian.AppendUint64(nil, math.MaxUint64)
	one := `"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}`
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":            {nil, "has 0 bytes"},
		"short":            {[]byte{1, 2, 3}, "has 3 bytes"},
		"huge header":      {append(long, '{', '}'), "the limit is 100000000"},
		"header past end":  {append(past, '{', '}'), "claims 500 bytes, the file has 2"},
		"header 2^64":      {append(negative, '{', '}'), "the limit"},
		"no header":        {file("", 0), "must begin with '{'"},
		"not JSON":         {file("{nonsense", 0), "not JSON"},
		"unclosed":         {file("{"+one, 4), "not JSON"},
		"an array":         {file(`[1]`, 0), "must begin"},
		"trailing":         {file("{"+one+"} {}", 4), "after its closing brace"},
		"twice":            {file("{"+one+","+one+"}", 4), `"a": the name is in the header twice`},
		"truncated data":   {file("{"+one+"}", 3), `tensor "a": data_offsets [0, 4] must lie within the file's 3 data bytes`},
		"trailing data":    {file("{"+one+"}", 5), "end at data byte 4, the file has 5"},
		"negative offset":  {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}`, 4), "must lie within"},
		"reversed offsets": {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}`, 4), "must lie within"},
		"three offsets":    {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}`, 4), "must be [begin, end]"},
		"fraction":         {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4.5]}}`, 4), "does not decode"},
		"wrong size":       {file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4), "shape [2] of F32 needs 8 bytes"},
		"overlap":          {file("{"+one+`,"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}`, 6), `"b": data_offsets [2, 6] overlap`},
		"same range":       {file("{"+one+`,"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4), "overlap"},
		"hole":             {file("{"+one+`,"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}`, 12), "leave a hole after byte 4"},
		"unknown dtype":    {file(`{"a":{"dtype":"F3","shape":[1],"data_offsets":[0,4]}}`, 4), `dtype "F3" is not known`},
		"no dtype":         {file(`{"a":{"shape":[1],"data_offsets":[0,4]}}`, 4), "needs dtype, shape and data_offsets"},
		"unknown field":    {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}`, 4), "does not decode"},
		"null entry":       {file(`{"a":null}`, 0), "needs dtype"},
		"negative dim":     {file(`{"a":{"dtype":"F32","shape":[-1,-1],"data_offsets":[0,4]}}`, 4), "dimension outside"},
		"overflow":         {file(`{"a":{"dtype":"F32","shape":[2147483647,2147483647,2147483647],"data_offsets":[0,4]}}`, 4), "overflows"},
		"metadata":         {file(`{"__metadata__":{"a":1},`+one+"}", 4), "must map strings to strings"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := OpenFS(fstest.MapFS{"bad.safetensors": {Data: c.data}}, "bad.safetensors")
			var format *FormatError
			if !errors.As(err, &format) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "bad.safetensors") {
				t.Errorf("got error %v, want one about %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("error has more than one line: %q", err)
			}
		})
	}
}

func TestMisuse(t *testing.T) {
	data := file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"I32","shape":[1],"data_offsets":[4,8]}}`, 8)
	f, err := Parse(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"Float32 of I32":         f.Float32("b", make([]float32, 1)),
		"Float32 too long":       f.Float32("a", make([]float32, 2)),
		"Float32 of no tensor":   f.Float32("c", make([]float32, 1)),
		"Int64s of F32":          second(f.Int64s("a")),
		"Float64s of I32":        second(f.Float64s("b")),
		"Bytes of no tensor":     second(f.Bytes("c")),
		"Open of a missing file": second(Open(t.TempDir() + "/x")),
		"Open of a folder":       second(Open(t.TempDir())),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	for _, e := range []Entry{
		{"short", F32, []int{2}, []float32{1}},
		{"type", I64, []int{1}, []float32{1}},
		{"dtype", "F31", []int{1}, []float32{1}},
		{"__metadata__", F32, []int{1}, []float32{1}},
		{"negative", F32, []int{-1}, []float32{}},
	} {
		if err := Write(io.Discard, []Entry{e}, nil); err == nil {
			t.Errorf("%s: no error", e.Name)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestHalfPrecision compares all 65,536 values with their own definition and the way back.
func TestHalfPrecision(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		got := Float16ToFloat32(h)
		sign, e, m := 1-2*float64(h>>15), int(h>>10&31), float64(h&1023)
		want := sign * math.Ldexp(1+m/1024, e-15)
		if e == 0 {
			want = sign * math.Ldexp(m/1024, -14)
		}
		if e == 31 {
			want = math.Inf(int(sign))
			if m != 0 {
				want = math.NaN()
			}
		}
		if float64(got) != want && !(math.IsNaN(want) && got != got) || math.Signbit(float64(got)) != (h>>15 == 1) {
			t.Fatalf("float16 %#x: got %v, want %v", h, got, want)
		}
		if back := Float32ToFloat16(got); back != h && got == got {
			t.Fatalf("float16 %#x came back as %#x", h, back)
		}
		if b := BFloat16ToFloat32(h); b == b && Float32ToBFloat16(b) != h {
			t.Fatalf("bfloat16 %#x came back as %#x", h, Float32ToBFloat16(b))
		}
	}
	for _, c := range []struct {
		in   float32
		f16  uint16
		bf16 uint16
	}{
		{1 + 0x1p-11, 0x3c00, 0x3f80}, {1 + 3*0x1p-11, 0x3c02, 0x3f80}, {1 + 0x1p-11 + 0x1p-20, 0x3c01, 0x3f80},
		{65519, 0x7bff, 0x4780}, {65520, 0x7c00, 0x4780}, {0x1p-25, 0, 0x3300}, {0x1.8p-25, 1, 0x3340},
		{0x1p-14 - 0x1p-26, 0x0400, 0x3880}, {1 + 0x1p-8, 0x3c04, 0x3f80}, {1 + 3*0x1p-8, 0x3c0c, 0x3f82}, {math.MaxFloat32, 0x7c00, 0x7f80},
	} {
		if got := Float32ToFloat16(c.in); got != c.f16 {
			t.Errorf("float16(%v) = %#x, want %#x", c.in, got, c.f16)
		}
		if got := Float32ToBFloat16(c.in); got != c.bf16 {
			t.Errorf("bfloat16(%v) = %#x, want %#x", c.in, got, c.bf16)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4))
	f.Add(file(`{"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[2,0],"data_offsets":[0,0]}}`, 0))
	f.Add(file(`{}`, 0))
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 127, '{'})
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		var total int64
		var entries []Entry
		for _, info := range file.Infos() {
			b, err := file.Bytes(info.Name)
			if err != nil {
				t.Fatal("an accepted tensor does not read:", err)
			}
			total += int64(len(b))
			entries = append(entries, Entry{info.Name, info.DType, info.Shape, b})
		}
		if total > int64(len(data)) {
			t.Fatal(fmt.Sprint("tensors hold ", total, " bytes of a file of ", len(data)))
		}
		if err := Write(io.Discard, entries, file.Metadata()); err != nil {
			t.Fatal("an accepted file cannot be written again:", err)
		}
	})
}
