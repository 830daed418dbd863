package clip

import (
	"fmt"
	"os"
	"testing"

	"yohaku/internal/golden"
	"yohaku/model/internal/nettest"
	"yohaku/model/op"
)

func TestGoldenText(t *testing.T) {
	golden.Run(t, "04a_clip_text_quickgelu", func(t *testing.T, c *golden.Case) {
		checkFolder(t, c, "model")
		checkFolder(t, c, "model_hub_keys")
	})
	if os.Getenv("YOHAKU_GOLDEN") == "" {
		return // The next ones are not in the repository's subset.
	}
	golden.Run(t, "04b_clip_text_eos2_legacy", func(t *testing.T, c *golden.Case) { checkFolder(t, c, "model") })
	golden.Run(t, "04c_clip_text_projection", func(t *testing.T, c *golden.Case) { checkFolder(t, c, "model") })
}

func checkFolder(t *testing.T, c *golden.Case, folder string) {
	t.Run(folder, func(t *testing.T) {
		cfg, err := ReadConfig(os.DirFS(c.Dir), folder)
		if err != nil {
			t.Fatal(err)
		}
		b := op.NewBuilder()
		ids := inputIDs(t, c)
		out, err := BuildText(b, cfg, Inputs{IDs: b.Input("ids", len(ids), len(ids[0])), Pool: b.Input("pool", len(ids))})
		if err != nil {
			t.Fatal(err)
		}
		weights := c.Tensors(t, folder, "model.safetensors")
		nettest.CheckParams(t, b, weights, Rename)
		outputs := append([]op.Node{out.Last, out.Pooled}, out.Hidden...)
		if cfg.HasProjection() {
			outputs = append(outputs, out.Embeds)
		}
		p := nettest.Compile(t, b, weights, Rename, outputs, nil)
		fill(p, cfg, ids)
		p.Run()
		check(t, c, p, cfg)
	})
}

// check compares the results that the case has.
func check(t *testing.T, c *golden.Case, p nettest.Program, cfg Config) {
	want := c.Outputs(t)
	near := func(key string, i int) {
		if _, ok := want.Info(key); ok {
			c.Near(t, key, p.Output(i), golden.Float32(t, want, key))
		}
	}
	c.Near(t, "last_hidden_state", p.Output(0), golden.Float32(t, want, "last_hidden_state"))
	near("pooler_output", 1)
	near("hidden_states_m2", 2+cfg.NumHiddenLayers-1)
	for i := range cfg.NumHiddenLayers + 1 {
		near(fmt.Sprintf("hidden_states.%d", i), 2+i)
	}
	if cfg.HasProjection() {
		c.Near(t, "text_embeds", p.Output(2+cfg.NumHiddenLayers+1), golden.Float32(t, want, "text_embeds"))
	}
}

func fill(p nettest.Program, cfg Config, ids [][]int) {
	for i, seq := range ids {
		for j, id := range seq {
			p.Input("ids")[i*len(seq)+j] = float32(id)
		}
	}
	copy(p.Input("pool"), cfg.PoolPositions(ids))
}

func inputIDs(t *testing.T, c *golden.Case) [][]int {
	t.Helper()
	in := c.Inputs(t)
	shape := golden.Shape(t, in, "input_ids")
	flat, err := in.Int64s("input_ids")
	if err != nil {
		t.Fatal(err)
	}
	ids := make([][]int, shape[0])
	for i, id := range flat {
		ids[i/shape[1]] = append(ids[i/shape[1]], int(id))
	}
	return ids
}
