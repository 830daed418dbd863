package lora

import (
	"bytes"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yohaku/internal/rng"
	"yohaku/internal/safetensors"
	"yohaku/model/checkpoint"
	"yohaku/model/layer"
)

const (
	query   = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
	project = "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj"
	conv    = "down_blocks.0.resnets.0.conv1"
)

const textQuery = "encoder.layers.0.self_attn.q_proj"

var networks = Networks{
	UNet:         {query, project, conv, "conv_in"},
	TextEncoder:  {textQuery, "encoder.layers.0.mlp.fc1"},
	TextEncoder2: {textQuery, "encoder.layers.0.mlp.fc1", "text_projection"},
}

// unetOnly is an adapter of the UNet; whole is one of all networks.
func unetOnly() Set { return Set{UNet: example()} }

func whole() Set {
	text := func(item uint64, paths ...string) Adapter {
		a := Adapter{Modules: map[string]Module{}}
		for i, path := range paths {
			a.Modules[path] = Module{Down: random(item+uint64(i), 4), DownShape: []int{1, 4}, Up: random(item+10+uint64(i), 3), UpShape: []int{3, 1}, Alpha: 5}
		}
		return a
	}
	return Set{UNet: example(), TextEncoder: text(20, networks[TextEncoder]...), TextEncoder2: text(40, networks[TextEncoder2]...)}
}

func random(item uint64, n int) []float32 {
	x := make([]float32, n)
	rng.New(rng.Key{Seed: 5, Item: item}).FillNormal(x)
	return x
}

// example has linear maps and a convolution, of rank 2 and alpha 3.
func example() Adapter {
	return Adapter{Modules: map[string]Module{
		query:   {Down: random(1, 2*4), DownShape: []int{2, 4}, Up: random(2, 3*2), UpShape: []int{3, 2}, Alpha: 3},
		project: {Down: random(3, 2*3), DownShape: []int{2, 3}, Up: random(4, 5*2), UpShape: []int{5, 2}, Alpha: 3},
		conv:    {Down: random(5, 2*2*9), DownShape: []int{2, 2, 3, 3}, Up: random(6, 4*2), UpShape: []int{4, 2, 1, 1}, Alpha: 3},
	}}
}

func parse(t *testing.T, data []byte) *safetensors.File {
	t.Helper()
	f, err := safetensors.Parse(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestEveryLayoutReadsBackKeyByKey(t *testing.T) {
	oneText := whole()
	delete(oneText, TextEncoder2)
	for _, test := range []struct {
		name   string
		layout Layout
		set    Set
	}{
		{"unet", Diffusers, unetOnly()}, {"unet", PEFT, unetOnly()}, {"unet", Kohya, unetOnly()},
		{"sdxl", Diffusers, whole()}, {"sdxl", Kohya, whole()}, {"sd", Kohya, oneText}, {"sd", Diffusers, oneText},
	} {
		t.Run(test.name+" "+string(test.layout), func(t *testing.T) {
			var out bytes.Buffer
			if err := test.set.Write(&out, test.layout, "abc"); err != nil {
				t.Fatal(err)
			}
			var config *Config
			if test.layout == PEFT { // Its alpha is in a file of its own.
				data, err := example().ConfigFile()
				if err != nil {
					t.Fatal(err)
				}
				if config, err = ParseConfig(data); err != nil {
					t.Fatal(err)
				}
			}
			f := parse(t, out.Bytes())
			got, layout, err := Read(f, networks, config)
			if err != nil {
				t.Fatal(err)
			}
			if layout != test.layout {
				t.Errorf("read as layout %s", layout)
			}
			if diff := cmp.Diff(test.set, got); diff != "" {
				t.Errorf("adapters (-written +read):\n%s", diff)
			}
			if f.Metadata()[baseKey] != "abc" {
				t.Errorf("metadata %v lacks the base's digest", f.Metadata())
			}
		})
	}
	if err := whole().Write(&bytes.Buffer{}, PEFT, ""); err == nil || !strings.Contains(err.Error(), "one network in a file") {
		t.Errorf("three networks in PEFT's layout: error %v", err)
	}
}

// TestPEFTFolders: text encoders' adapters lie in folders of their names, and are ambiguous elsewhere.
func TestPEFTFolders(t *testing.T) {
	dir := t.TempDir()
	write := func(folder string, s Set, network string) {
		t.Helper()
		var out bytes.Buffer
		config, err := s[network].ConfigFile()
		if err == nil {
			err = s.Write(&out, PEFT, "")
		}
		to := filepath.Join(dir, folder)
		if err := errors.Join(err, os.MkdirAll(to, 0o755), os.WriteFile(filepath.Join(to, PEFTFileName), out.Bytes(), 0o600), os.WriteFile(filepath.Join(to, ConfigFileName), config, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	want := whole()
	for _, network := range want.Names() {
		write(network, Set{network: want[network]}, network)
	}
	got, err := ReadPath(dir, networks)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("adapters (-written +read):\n%s", diff)
	}
	write("alone", Set{TextEncoder: want[TextEncoder]}, TextEncoder)
	if _, err := ReadPath(filepath.Join(dir, "alone"), networks); err == nil || !strings.Contains(err.Error(), "text_encoder and text_encoder_2 both have") {
		t.Errorf("a text encoder's adapter without its folder: error %v", err)
	}
}

func TestKeys(t *testing.T) {
	oneText := Set{TextEncoder: {}}
	for _, test := range []struct {
		set     Set
		layout  Layout
		network string
		path    string
		want    string
	}{
		{nil, Diffusers, UNet, query, "unet." + query + ".lora.down.weight"},
		{nil, Diffusers, UNet, project, "unet." + project + ".lora_A.weight"},
		{nil, PEFT, UNet, query, "base_model.model." + query + ".lora_A.weight"},
		{nil, Kohya, UNet, query, "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight"},
		{oneText, Diffusers, TextEncoder, textQuery, "text_encoder.text_model." + textQuery + ".lora_linear_layer.down.weight"},
		{whole(), Diffusers, TextEncoder2, "text_projection", "text_encoder_2.text_projection.lora_linear_layer.down.weight"},
		{oneText, Kohya, TextEncoder, textQuery, "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight"},
		{whole(), Kohya, TextEncoder, textQuery, "lora_te1_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight"},
		{whole(), Kohya, TextEncoder2, textQuery, "lora_te2_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight"},
	} {
		if got := test.set.key(test.layout, test.network, test.path, down); got != test.want {
			t.Errorf("%s: key %q, want %q", test.layout, got, test.want)
		}
	}
}

func TestAFileWithoutAlphaMeansScaleOne(t *testing.T) {
	var out bytes.Buffer
	if err := unetOnly().Write(&out, PEFT, ""); err != nil {
		t.Fatal(err)
	}
	a, _, err := Read(parse(t, out.Bytes()), networks, nil)
	if err != nil {
		t.Fatal(err)
	}
	if m := a[UNet].Modules[query]; m.Scale() != 1 {
		t.Errorf("scale %v, want 1", m.Scale())
	}
}

// TestMergeIsTheAdapter holds W + scale·Up·Down to its definition, for a linear map and a convolution.
func TestMergeIsTheAdapter(t *testing.T) {
	a := example()
	linear := checkpoint.Param{Name: query + ".weight", Shape: []int{3, 4}, Data: random(7, 12)}
	kernel := checkpoint.Param{Name: conv + ".weight", Shape: []int{3, 3, 2, 4}, Data: random(8, 72)}
	other := checkpoint.Param{Name: project + ".weight", Shape: []int{5, 3}, Data: random(9, 15)}
	params := []checkpoint.Param{linear, kernel, other}
	want := map[string][]float64{}
	for _, p := range params {
		path := strings.TrimSuffix(p.Name, ".weight")
		m, w := a.Modules[path], checkpoint.ToFile(p)
		in := len(m.Down) / 2
		for o := range m.UpShape[0] {
			for i := range in {
				v := float64(w[o*in+i])
				for r := range 2 {
					v += 0.5 * 1.5 * float64(m.Up[o*2+r]) * float64(m.Down[r*in+i])
				}
				want[path] = append(want[path], v)
			}
		}
	}
	if err := a.Merge(params, 0.5); err != nil {
		t.Fatal(err)
	}
	for _, p := range params {
		for i, v := range checkpoint.ToFile(p) {
			if w := want[strings.TrimSuffix(p.Name, ".weight")][i]; math.Abs(float64(v)-w) > 1e-6 {
				t.Errorf("%s[%d] = %v, want %v", p.Name, i, v, w)
			}
		}
	}
}

func TestParamsThereAndBack(t *testing.T) {
	l := layer.LoRA{Rank: 2, Alpha: 3, Targets: []string{"to_q", "conv1"}}
	params := []checkpoint.Param{
		{Name: query + ".lora_A.weight", Shape: []int{2, 4}, Data: random(1, 8)}, {Name: query + ".lora_B.weight", Shape: []int{3, 2}, Data: random(2, 6)},
		{Name: conv + ".lora_A.weight", Shape: []int{3, 3, 2, 2}, Data: random(3, 36)}, {Name: conv + ".lora_B.weight", Shape: []int{1, 1, 2, 4}, Data: random(4, 8)},
	}
	a := FromParams(params, l)
	back := make([]checkpoint.Param, len(params))
	for i, p := range params {
		back[i] = checkpoint.Param{Name: p.Name, Shape: p.Shape, Data: make([]float32, len(p.Data))}
	}
	if err := a.Fill(back, l); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(params, back); diff != "" {
		t.Errorf("parameters (-before +after):\n%s", diff)
	}
	if err := a.Fill(back[:2], l); err == nil || !strings.Contains(err.Error(), conv) {
		t.Errorf("a module too many: error %v", err)
	}
	if err := a.Fill(back, layer.LoRA{Rank: 2, Alpha: 2}); err == nil || !strings.Contains(err.Error(), "lora_alpha 2") {
		t.Errorf("another alpha: error %v", err)
	}
}

func TestBadFilesAreNamed(t *testing.T) {
	good := func() map[string]safetensors.Entry {
		entries := map[string]safetensors.Entry{}
		for _, e := range unetOnly().entries(Kohya, UNet) {
			entries[e.Name] = e
		}
		return entries
	}
	q := "lora_unet_" + strings.ReplaceAll(query, ".", "_")
	for name, test := range map[string]struct {
		change func(map[string]safetensors.Entry)
		want   string
	}{
		"one matrix": {func(e map[string]safetensors.Entry) { delete(e, q+".lora_up.weight") }, "only one of its two matrices"},
		"ranks": {func(e map[string]safetensors.Entry) {
			e[q+".lora_up.weight"] = safetensors.Entry{Name: q + ".lora_up.weight", DType: safetensors.F32, Shape: []int{2, 3}, Data: random(1, 6)}
		}, "rank 2 is not rank 3"},
		"unknown module": {func(e map[string]safetensors.Entry) {
			e["lora_unet_x.alpha"] = safetensors.Entry{Name: "lora_unet_x.alpha", DType: safetensors.F32, Shape: []int{}, Data: []float32{1}}
		}, "does not have"},
		"no adapter": {func(e map[string]safetensors.Entry) {
			e["conv_in.weight"] = safetensors.Entry{Name: "conv_in.weight", DType: safetensors.F32, Shape: []int{1}, Data: []float32{1}}
		}, `"conv_in.weight" is no part`},
		"text encoder": {func(e map[string]safetensors.Entry) {
			e["lora_te_x.alpha"] = safetensors.Entry{Name: "lora_te_x.alpha", DType: safetensors.F32, Shape: []int{}, Data: []float32{1}}
		}, "lora_te_x.alpha\" adapts a module that the network does not have"},
		"mixed": {func(e map[string]safetensors.Entry) {
			e["unet.conv_in.lora_A.weight"] = safetensors.Entry{Name: "unet.conv_in.lora_A.weight", DType: safetensors.F32, Shape: []int{1, 1}, Data: []float32{1}}
		}, "a file has one"},
		"negative alpha": {func(e map[string]safetensors.Entry) {
			e[q+".alpha"] = safetensors.Entry{Name: q + ".alpha", DType: safetensors.F32, Shape: []int{}, Data: []float32{-1}}
		}, "alpha -1"},
		"empty": {func(e map[string]safetensors.Entry) { clear(e) }, "no tensors"},
	} {
		t.Run(name, func(t *testing.T) {
			entries := good()
			test.change(entries)
			var out bytes.Buffer
			if err := safetensors.Write(&out, slices.Collect(maps.Values(entries)), nil); err != nil {
				t.Fatal(err)
			}
			_, _, err := Read(parse(t, out.Bytes()), networks, nil)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want one line with %q", err, test.want)
			}
		})
	}
}

// FuzzRead: a file gives one error, or an adapter whose modules fit together.
func FuzzRead(f *testing.F) {
	for _, l := range Layouts {
		var out bytes.Buffer
		if err := unetOnly().Write(&out, l, ""); err != nil {
			f.Fatal(err)
		}
		f.Add(out.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := safetensors.Parse(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		set, _, err := Read(file, networks, nil)
		if err != nil {
			return
		}
		for network, a := range set {
			checkModules(t, network, a)
		}
	})
}

func checkModules(t *testing.T, network string, a Adapter) {
	for path, m := range a.Modules {
		if len(m.Down) != m.Rank()*len(m.Down)/m.Rank() || len(m.Up) != m.UpShape[0]*m.Rank() || !(m.Scale() > 0) {
			t.Fatalf("module %s of %s: %+v", path, network, m)
		}
	}
}
