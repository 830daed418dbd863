package scorer

import (
	"os"
	"testing"

	"yohaku/internal/golden"
	"yohaku/internal/picture"
	"yohaku/model/backend/cpu"
	"yohaku/model/checkpoint"
)

func TestGoldenScore(t *testing.T) { golden.Run(t, "04d_clip_model_pickscore", checkScores) }

// checkScores: each prompt's picture has PickScore's score. The case has ids instead of a tokenizer.
func checkScores(t *testing.T, c *golden.Case) {
	var args struct{ Images, Prompts []string }
	c.Args(t, &args)
	be := cpu.New(1)
	t.Cleanup(be.Close)
	folder, err := checkpoint.OpenFolder(c.Path("model"))
	if err != nil {
		t.Fatal(err)
	}
	s := &Scorer{prompts: map[string][]float32{}}
	if err := s.openModel(folder, be); err != nil {
		t.Fatal(err)
	}
	flat, err := c.Inputs(t).Int64s("input_ids")
	if err != nil {
		t.Fatal(err)
	}
	length := len(flat) / len(args.Prompts)
	var scores []float32
	for i, prompt := range args.Prompts {
		ids := make([]int, length)
		for k := range ids {
			ids[k] = int(flat[i*length+k])
		}
		if _, err := s.embed(prompt, ids); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(c.Path("images", args.Images[i]))
		if err != nil {
			t.Fatal(err)
		}
		m, err := picture.Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		said, err := s.Score(prompt, m)
		if err != nil {
			t.Fatal(err)
		}
		scores = append(scores, float32(said.Logit))
	}
	c.Near(t, "score", scores, golden.Float32(t, c.Outputs(t), "score"))
}
