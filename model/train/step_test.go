package train

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yohaku/internal/rng"
	"yohaku/model/backend/cpu"
	"yohaku/model/diffusion"
	"yohaku/model/objective"
	"yohaku/model/unet"
)

const tinyUNet = `{"block_out_channels":[16,32],"norm_num_groups":8,"attention_head_dim":4,"cross_attention_dim":12,"layers_per_block":1,
	"down_block_types":["CrossAttnDownBlock2D","DownBlock2D"],"up_block_types":["UpBlock2D","CrossAttnUpBlock2D"]}`

func tinyConfig(t *testing.T, items int) Config {
	t.Helper()
	u, err := unet.ParseConfig([]byte(tinyUNet))
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		UNet: u, Schedule: diffusion.Default("DDPMScheduler").Schedule(), Items: items, Height: 8, Width: 4, ContextLength: 5,
		Objective: objective.Config{Form: objective.ReferenceCode, Beta: 0.1, SNR: 0.5, Scale: 1000},
	}
}

// tiny returns a step with random parameters, the same for any number of items and threads.
func tiny(t *testing.T, items, threads int) *Step {
	t.Helper()
	be := cpu.New(threads)
	t.Cleanup(be.Close)
	s, err := New(tinyConfig(t, items), be)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range s.Params() {
		x := s.ParamSlab()[p.Offset : p.Offset+p.Len]
		copy(x, normal(uint64(100+i), p.Len))
		for j := range x {
			x[j] *= 0.2
		}
	}
	return s
}

func normal(seed uint64, n int) []float32 {
	x := make([]float32, n)
	rng.New(rng.Key{Seed: seed, Domain: rng.Noise}).FillNormal(x)
	return x
}

func tinyItems(n int) []Item {
	items := make([]Item, n)
	for i := range items {
		k := uint64(10 * i)
		items[i] = Item{Winner: normal(k, 4*8*4), Loser: normal(k+1, 4*8*4), Noise: normal(k+2, 4*8*4), Timestep: 100 + 300*i, Context: normal(k+3, 5*12)}
	}
	return items
}

// gradients runs one micro-batch and returns its gradients in GradOrder.
func gradients(t *testing.T, s *Step, items []Item) ([][]float32, Result) {
	t.Helper()
	if err := s.Fill(items); err != nil {
		t.Fatal(err)
	}
	grads := make([][]float32, len(s.GradOrder()))
	r, err := s.Run(func(i int, g []float32) { grads[i] = slices.Clone(g) })
	if err != nil {
		t.Fatal(err)
	}
	return grads, r
}

// TestMicroBatchIsASum: items do not see each other, so that a micro-batch's gradient is the sum over its items.
func TestMicroBatchIsASum(t *testing.T) {
	items := tinyItems(3)
	got, result := gradients(t, tiny(t, 3, 2), items)
	want := make([][]float64, len(got))
	one := tiny(t, 1, 1)
	for i, it := range items {
		part, r := gradients(t, one, []Item{it})
		if diff := cmp.Diff(result.Items[i], r.Items[0]); diff != "" {
			t.Errorf("item %d alone differs (-together +alone):\n%s", i, diff)
		}
		for j, g := range part {
			if want[j] == nil {
				want[j] = make([]float64, len(g))
			}
			for k, v := range g {
				want[j][k] += float64(v)
			}
		}
	}
	for j, g := range got {
		scale := 0.0
		for _, w := range want[j] {
			scale = max(scale, math.Abs(w))
		}
		for k, v := range g {
			if d := math.Abs(float64(v) - want[j][k]); d > 2e-5*scale+1e-7 {
				t.Fatalf("gradient of %s[%d]: got %g, want %g", one.GradOrder()[j].Name, k, v, want[j][k])
			}
		}
	}
}

// TestThreadsChangeNoBit: gradients and figures have the same bits on one thread and on three.
func TestThreadsChangeNoBit(t *testing.T) {
	items := tinyItems(2)
	one, r1 := gradients(t, tiny(t, 2, 1), items)
	three, r3 := gradients(t, tiny(t, 2, 3), items)
	if diff := cmp.Diff(r1, r3); diff != "" {
		t.Errorf("figures differ (-1 +3 threads):\n%s", diff)
	}
	for i := range one {
		if !slices.Equal(one[i], three[i]) {
			t.Errorf("gradient %d differs between 1 and 3 threads", i)
		}
	}
}

func TestGradientsAreOfEveryParameter(t *testing.T) {
	s := tiny(t, 1, 1)
	names := map[string]bool{}
	for _, g := range s.GradOrder() {
		names[g.Name] = true
	}
	for _, p := range s.Params() {
		if !names[p.Name] {
			t.Errorf("no gradient of %s", p.Name)
		}
	}
}

func TestFillRefuses(t *testing.T) {
	s := tiny(t, 2, 1)
	for _, tt := range []struct {
		name   string
		change func([]Item) []Item
		want   string
	}{
		{"too few items", func(it []Item) []Item { return it[:1] }, "micro-batch of 2 items: got 1"},
		{"short latents", func(it []Item) []Item { it[1].Loser = it[1].Loser[1:]; return it }, "item 1: winner, loser and noise"},
		{"short context", func(it []Item) []Item { it[0].Context = nil; return it }, "context has 0"},
		{"timestep", func(it []Item) []Item { it[0].Timestep = 1000; return it }, "timestep 1000, want 0 to 999"},
		{"negative timestep", func(it []Item) []Item { it[0].Timestep = -1; return it }, "timestep -1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := s.Fill(tt.change(tinyItems(2))); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	be := cpu.New(1)
	t.Cleanup(be.Close)
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no items", func(c *Config) { c.Items = 0 }, "train_batch_size must be at least 1, got 0"},
		{"odd height", func(c *Config) { c.Height = 7 }, "multiples of 2"},
		{"no tokens", func(c *Config) { c.ContextLength = 0 }, "tokens"},
		{"no schedule", func(c *Config) { c.Schedule = nil }, "noise schedule"},
		{"no beta", func(c *Config) { c.Objective.Beta = 0 }, "beta_mapo"},
		{"channels", func(c *Config) { c.UNet.OutChannels = 8 }, "out_channels 8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := tinyConfig(t, 2)
			tt.change(&c)
			if _, err := New(c, be); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
