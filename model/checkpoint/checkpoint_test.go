package checkpoint

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"yohaku/internal/safetensors"
)

// tensors encodes a safetensors file of zeros but for a first element that is the tensor's number.
func tensors(t *testing.T, shapes map[string][]int) []byte {
	t.Helper()
	var entries []safetensors.Entry
	for name, shape := range shapes {
		p := Param{Shape: shape}
		data := make([]float32, p.elements())
		for i := range data {
			data[i] = float32(i) + float32(len(name))/16
		}
		entries = append(entries, safetensors.Entry{Name: name, DType: safetensors.F32, Shape: shape, Data: data})
	}
	var b bytes.Buffer
	if err := safetensors.Write(&b, entries, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var convolution = map[string][]int{"conv.weight": {5, 3, 2, 4}, "conv.bias": {5}, "linear.weight": {3, 2}}

func convolutionParams() []Param {
	return []Param{
		{"conv.weight", []int{2, 4, 3, 5}, make([]float32, 120)},
		{"conv.bias", []int{5}, make([]float32, 5)},
		{"linear.weight", []int{3, 2}, make([]float32, 6)},
	}
}

func open(t *testing.T, files map[string][]byte) *Folder {
	t.Helper()
	m := fstest.MapFS{}
	for name, data := range files {
		m[name] = &fstest.MapFile{Data: data}
	}
	f, err := FolderFS(m, ".")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func load(t *testing.T, f *Folder, params []Param, o LoadOptions) error {
	t.Helper()
	w, err := f.Weights("")
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	return w.Load(params, o)
}

func TestLoadTurnsConvolutions(t *testing.T) {
	f := open(t, map[string][]byte{"model.safetensors": tensors(t, convolution)})
	params := convolutionParams()
	if err := load(t, f, params, LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	const o, i, y, x = 3, 2, 1, 3
	inFile := float32(((o*3+i)*2+y)*4+x) + float32(len("conv.weight"))/16
	if got := params[0].Data[((y*4+x)*3+i)*5+o]; got != inFile {
		t.Errorf("engine element [%d %d %d %d] = %v, want the file's %v", y, x, i, o, got, inFile)
	}
	var again bytes.Buffer
	slices.Reverse(params)
	if err := WriteWeights(&again, params, ""); err != nil {
		t.Fatal(err)
	}
	back := open(t, map[string][]byte{"model.safetensors": again.Bytes()})
	w, err := back.Weights("")
	if err != nil {
		t.Fatal(err)
	}
	original, err := f.Weights("")
	if err != nil {
		t.Fatal(err)
	}
	for name, shape := range convolution {
		if diff := cmp.Diff(w.Shape(name), shape); diff != "" {
			t.Errorf("%s came back with another shape: %s", name, diff)
		}
	}
	a, errA := w.Digest()
	b, errB := original.Digest()
	if a != b || errA != nil || errB != nil {
		t.Errorf("weights came back with digest %s, want %s (%v, %v)", a, b, errA, errB)
	}
}

func TestLoadNamesWhatDoesNotFit(t *testing.T) {
	f := open(t, map[string][]byte{"model.safetensors": tensors(t, convolution)})
	params := convolutionParams()
	params[0].Shape, params[0].Data = []int{2, 4, 3, 4}, make([]float32, 96)
	params[1].Name = "conv.offset"
	err := load(t, f, params, LoadOptions{})
	var mismatch *MismatchError
	if !errors.As(err, &mismatch) {
		t.Fatalf("got %v, want a MismatchError", err)
	}
	want := &MismatchError{Folder: ".", Missing: []string{"conv.offset"}, Extra: []string{"conv.bias"},
		WrongShape: []string{"conv.weight is [5 3 2 4] in model.safetensors, the network needs [4 3 2 4]"}}
	if diff := cmp.Diff(mismatch, want); diff != "" {
		t.Error("got, want:", diff)
	}
	if params[2].Data[1] != 0 {
		t.Error("something was read in spite of the mismatch")
	}
	if err := load(t, f, convolutionParams()[:1], LoadOptions{Partial: true}); err != nil {
		t.Error("partial:", err)
	}
	if err := load(t, f, convolutionParams(), LoadOptions{Rename: func(string) string { return "one" }}); err == nil || !strings.Contains(err.Error(), "are both parameter one") {
		t.Error("two tensors for one parameter:", err)
	}
}

func TestLoadTakesLinearsWrittenAsConvolutions(t *testing.T) {
	f := open(t, map[string][]byte{"diffusion_pytorch_model.safetensors": tensors(t, map[string][]int{"query.weight": {3, 2, 1, 1}, "position_ids": {7}})})
	params := []Param{{"to_q.weight", []int{3, 2}, make([]float32, 6)}}
	rename := func(name string) string { return map[string]string{"query.weight": "to_q.weight"}[name] }
	if err := load(t, f, params, LoadOptions{Rename: rename}); err != nil {
		t.Fatal(err)
	}
	if want := float32(5) + float32(len("query.weight"))/16; params[0].Data[5] != want {
		t.Errorf("last element %v, want %v", params[0].Data[5], want)
	}
}

func TestWeightsAreFound(t *testing.T) {
	one := tensors(t, map[string][]int{"a": {1}})
	index := func(s string) []byte { return []byte(`{"metadata":{},"weight_map":{` + s + `}}`) }
	for name, c := range map[string]struct {
		files   map[string][]byte
		variant string
		want    string // "" for no error.
	}{
		"single":            {map[string][]byte{"model.safetensors": one, "config.json": nil}, "", ""},
		"plain over fp16":   {map[string][]byte{"model.safetensors": one, "model.fp16.safetensors": one}, "", ""},
		"fp16 asked for":    {map[string][]byte{"model.safetensors": one, "model.fp16.safetensors": one}, "fp16", ""},
		"fp16 only":         {map[string][]byte{"diffusion_pytorch_model.fp16.safetensors": one}, "", ""},
		"shards":            {map[string][]byte{"model.safetensors.index.json": index(`"a":"model-00001-of-00001.safetensors"`), "model-00001-of-00001.safetensors": one}, "", ""},
		"variant shards":    {map[string][]byte{"model.safetensors.index.fp16.json": index(`"a":"model.fp16-00001-of-00001.safetensors"`), "model.fp16-00001-of-00001.safetensors": one}, "", ""},
		"missing variant":   {map[string][]byte{"model.safetensors": one}, "bf16", `no weights of variant "bf16", but of [""]`},
		"two variants":      {map[string][]byte{"model.fp16.safetensors": one, "model.bf16.safetensors": one}, "", `but of ["bf16" "fp16"]`},
		"single and shards": {map[string][]byte{"model.safetensors": one, "model.safetensors.index.json": index("")}, "", "keep only one"},
		"pickled":           {map[string][]byte{"pytorch_model.bin": one}, "", "only pickled weights (pytorch_model.bin)"},
		"nothing":           {map[string][]byte{"config.json": nil}, "", "has no weights"},
		"not safetensors":   {map[string][]byte{"model.safetensors": []byte("rubbish, and more")}, "", "not a valid safetensors file"},
		"index not JSON":    {map[string][]byte{"model.safetensors.index.json": []byte("{")}, "", "decode model.safetensors.index.json"},
		"index empty":       {map[string][]byte{"model.safetensors.index.json": index("")}, "", "weight_map names 0 files"},
		"index leaves":      {map[string][]byte{"model.safetensors.index.json": index(`"a":"../../etc/model.safetensors"`)}, "", "same folder"},
		"index absolute":    {map[string][]byte{"model.safetensors.index.json": index(`"a":"/etc/x.safetensors"`)}, "", "same folder"},
		"index drive":       {map[string][]byte{"model.safetensors.index.json": index(`"a":"c:x.safetensors"`)}, "", "same folder"},
		"index odd file":    {map[string][]byte{"model.safetensors.index.json": index(`"a":"passwd"`)}, "", "same folder"},
		"shard missing":     {map[string][]byte{"model.safetensors.index.json": index(`"a":"model-1.safetensors"`)}, "", "model-1.safetensors"},
		"index lies": {map[string][]byte{"model.safetensors.index.json": index(`"a":"model-1.safetensors","b":"model-1.safetensors"`),
			"model-1.safetensors": one}, "", `tensor "b" must be in model-1.safetensors`},
		"index swaps": {map[string][]byte{"model.safetensors.index.json": index(`"a":"model-2.safetensors","b":"model-1.safetensors"`),
			"model-1.safetensors": one, "model-2.safetensors": tensors(t, map[string][]int{"b": {1}})}, "", `tensor "a" must be in model-2.safetensors`},
		"twice": {map[string][]byte{"model.safetensors.index.json": index(`"a":"model-2.safetensors","c":"model-1.safetensors"`),
			"model-1.safetensors": one, "model-2.safetensors": one}, "", `both hold tensor "a"`},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := open(t, c.files).Weights(c.variant)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(w.Names(), []string{"a"}); diff != "" {
					t.Error("names:", diff)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line about %q", err, c.want)
			}
		})
	}
}

// pipelineFiles is a pipeline whose VAE has only an fp16 variant, with things to leave behind.
func pipelineFiles(t *testing.T) map[string][]byte {
	one := tensors(t, map[string][]int{"a": {1}})
	return map[string][]byte{
		IndexFile: []byte(`{"_class_name":"StableDiffusionPipeline","requires_safety_checker":false,"safety_checker":[null,null],
			"unet":["diffusers","UNet2DConditionModel"],"vae":["diffusers","AutoencoderKL"],"text_encoder":["transformers","CLIPTextModel"],
			"tokenizer":["transformers","CLIPTokenizer"],"scheduler":["diffusers","PNDMScheduler"]}`),
		"unet/config.json": []byte("{}"), "unet/diffusion_pytorch_model.safetensors": tensors(t, convolution), "unet/diffusion_pytorch_model.bin": one,
		"vae/config.json": []byte("{}"), "vae/diffusion_pytorch_model.fp16.safetensors": one,
		"text_encoder/config.json": []byte("{}"), "text_encoder/pytorch_model.bin": one, "text_encoder/model.fp16.safetensors": one,
		"text_encoder/model.safetensors.index.json":     []byte(`{"weight_map":{"a":"model-00001-of-00001.safetensors"}}`),
		"text_encoder/model-00001-of-00001.safetensors": one,
		"tokenizer/vocab.json":                          []byte("{}"),
		"tokenizer/merges.txt":                          []byte("#version: 0.2\n"),
		"scheduler/scheduler_config.json":               []byte(`{"lambda_min_clipped":-Infinity}`),
		"sd-v1-4.ckpt":                                  one,
		"README.md":                                     []byte("not copied"),
	}
}

func TestWritePipeline(t *testing.T) {
	p, err := open(t, pipelineFiles(t)).Pipeline()
	if err != nil {
		t.Fatal(err)
	}
	params := convolutionParams()
	unet, err := p.Sub("unet")
	if err != nil {
		t.Fatal(err)
	}
	if err := load(t, unet, params, LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	state := State{Step: 7, M: convolutionParams(), V: convolutionParams(), Exponents: []int8{-128, 0, 127}, Metadata: map[string]string{"seed": "1"}}
	state.M[0].Data[17], state.V[2].Data[3] = 0.5, 0.25
	dst := filepath.Join(t.TempDir(), "step-000007")
	content := Content{Weights: map[string]Replacement{"unet": {Params: params}}, State: &state}
	for range 2 { // The second takes the place of the first.
		if err := p.Write(dst, content); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	if err := filepath.WalkDir(filepath.Dir(dst), func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			name, err = filepath.Rel(dst, name)
			got = append(got, filepath.ToSlash(name))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{SumsFile, IndexFile, "scheduler/scheduler_config.json", "text_encoder/config.json",
		"text_encoder/model-00001-of-00001.safetensors", "text_encoder/model.safetensors.index.json",
		"tokenizer/merges.txt", "tokenizer/vocab.json", StateFile, "unet/config.json", "unet/" + DefaultWeightsFile,
		"vae/config.json", "vae/" + DefaultWeightsFile}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Error("files got, want:", diff)
	}

	written, err := OpenPipeline(dst)
	if err != nil {
		t.Fatal(err)
	}
	if err := written.VerifySums(); err != nil {
		t.Error(err)
	}
	m, v := convolutionParams(), convolutionParams()
	back, err := written.ReadState(m, v)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(back, state); diff != "" {
		t.Error("state got, want:", diff)
	}
	weights := convolutionParams()
	unet, err = written.Sub("unet")
	if err != nil {
		t.Fatal(err)
	}
	if err := load(t, unet, weights, LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	if Digest(weights, back) != Digest(params, state) {
		t.Error("the digest changed on disk")
	}
	damage(t, written, dst, m, v)
}

// damage holds that changed, missing and stray files are found.
func damage(t *testing.T, written *Pipeline, dst string, m, v []Param) {
	t.Helper()
	vae := filepath.Join(dst, "vae", DefaultWeightsFile)
	whole, err := os.ReadFile(vae)
	if err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(whole)
	flipped[len(flipped)-1] ^= 1
	for name, data := range map[string][]byte{"one bit": flipped, "truncated": whole[:len(whole)-1], "missing": nil} {
		if err := os.Remove(vae); err != nil {
			t.Fatal(err)
		}
		if data != nil {
			if err := os.WriteFile(vae, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := written.VerifySums(); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), DefaultWeightsFile) {
			t.Errorf("%s: got %v, want ErrDamaged with the file", name, err)
		}
		if data == nil {
			break
		}
	}
	m[1].Name, v[1].Name = "other.bias", "other.bias"
	if _, err := written.ReadState(m, v); err == nil || !strings.Contains(err.Error(), "m.other.bias") {
		t.Errorf("state of another network: got %v", err)
	}
	if err := os.WriteFile(filepath.Join(dst, SumsFile), []byte(strings.Repeat("a", 64)+"  ../x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := written.VerifySums(); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("sums that leave the folder: got %v", err)
	}
}

// TestWriteLeavesNothingBehind: a failed write leaves neither dst nor a temporary folder.
func TestWriteLeavesNothingBehind(t *testing.T) {
	files := pipelineFiles(t)
	p, err := open(t, files).Pipeline()
	if err != nil {
		t.Fatal(err)
	}
	parent := t.TempDir()
	short := convolutionParams()
	short[0].Data = short[0].Data[:5]
	for _, c := range []Content{
		{Weights: map[string]Replacement{"unet": {Params: short}}},
		{Weights: map[string]Replacement{"prior": {}}},
	} {
		if err := p.Write(filepath.Join(parent, "step"), c); err == nil {
			t.Error("no error")
		}
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := p.Write(filepath.Join(parent, "no", "step"), Content{}); err == nil {
		t.Error("no error in a folder that is not there")
	}
}

func TestPipelineRefusesByName(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"StableDiffusionPipeline", "FluxPipeline", `pipeline class "FluxPipeline" is not supported; supported: StableDiffusionPipeline`},
		{`"_class_name":"StableDiffusionPipeline",`, "", "_class_name must be a string"},
		{"UNet2DConditionModel", "UNet2DModel", `part "unet" is a UNet2DModel; supported: UNet2DConditionModel`},
		{`"vae":["diffusers","AutoencoderKL"]`, `"vae":[null,null]`, `part "vae" is missing or null`},
		{`"vae":["diffusers","AutoencoderKL"]`, `"vae":["diffusers"]`, "must be [library, class]"},
		{`"safety_checker":[null,null]`, `"prior":["diffusers","PriorTransformer"]`, `part "prior" (PriorTransformer) is not supported`},
		{`"safety_checker":[null,null]`, `"safety_checker":["x","Y"]`, `names part "safety_checker" (Y), but there is no folder safety_checker`},
		{`{"_class`, `{"_cl`, "_class_name must be a string"},
		{`"scheduler":[`, `"scheduler":[[`, "decode"},
	} {
		files := pipelineFiles(t)
		files[IndexFile] = bytes.ReplaceAll(files[IndexFile], []byte(c.old), []byte(c.new))
		if _, err := open(t, files).Pipeline(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s → %s: got %v, want %q", c.old, c.new, err, c.want)
		}
	}
	if _, err := open(t, map[string][]byte{"x": nil}).Pipeline(); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), IndexFile) {
		t.Errorf("no index: got %v", err)
	}
	if _, err := OpenPipeline(filepath.Join(t.TempDir(), "nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: got %v", err)
	}
}

func TestDigest(t *testing.T) {
	params := convolutionParams()
	params[0].Data[3] = 1
	base := Digest(params, State{})
	reversed := slices.Clone(params)
	slices.Reverse(reversed)
	if Digest(reversed, State{Metadata: map[string]string{"time": "now"}}) != base {
		t.Error("order or metadata changes the digest")
	}
	for name, change := range map[string]func(p []Param, s *State){
		"element":  func(p []Param, _ *State) { p[0].Data[3] = 2 },
		"sign":     func(p []Param, _ *State) { p[0].Data[4] = float32(negativeZero()) },
		"name":     func(p []Param, _ *State) { p[0].Name = "other" },
		"moment":   func(p []Param, s *State) { s.M = p },
		"v":        func(p []Param, s *State) { s.V = p },
		"exponent": func(_ []Param, s *State) { s.Exponents = []int8{1} },
		"step":     func(_ []Param, s *State) { s.Step = 1 },
	} {
		changed, s := convolutionParams(), State{}
		changed[0].Data[3] = 1
		change(changed, &s)
		if Digest(changed, s) == base {
			t.Errorf("%s does not change the digest", name)
		}
	}
}

func negativeZero() float64 { zero := 0.0; return -1 * zero }

func FuzzIndexes(f *testing.F) {
	f.Add([]byte(`{"_class_name":"StableDiffusionPipeline","unet":["diffusers","UNet2DConditionModel"]}`))
	f.Add([]byte(`{"weight_map":{"a":"model-00001-of-00001.safetensors"}}`))
	f.Add([]byte(strings.Repeat("0", 64) + "  unet/config.json\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := parseIndex(data); err == nil && p.Components["unet"].Class != "UNet2DConditionModel" {
			t.Errorf("accepted without a unet: %v", p.Components)
		}
		if sums, err := parseSums(data); err == nil {
			for name := range sums {
				if !filepath.IsLocal(name) {
					t.Errorf("%q leaves the folder", name)
				}
			}
		}
		files := map[string][]byte{"model.safetensors.index.json": data, "model-00001-of-00001.safetensors": tensors(t, map[string][]int{"a": {1}})}
		if w, err := open(t, files).Weights(""); err == nil && !slices.Equal(w.Names(), []string{"a"}) {
			t.Errorf("names %v", w.Names())
		}
	})
}
