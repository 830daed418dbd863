package tokenizer

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yohaku/internal/golden"
)

func TestGoldenTokenizer(t *testing.T) {
	golden.Run(t, "05_clip_tokenizer", func(t *testing.T, c *golden.Case) {
		var args struct {
			VocabSize int `json:"vocab_size"`
			BOS       int `json:"bos"`
			EOS       int `json:"eos"`
			Pad       int `json:"pad"`
			MaxLength int `json:"model_max_length"`
		}
		c.Args(t, &args)
		data, err := os.ReadFile(c.Path("strings.json"))
		if err != nil {
			t.Fatal(err)
		}
		var rows []struct {
			Text      string `json:"text"`
			IDs       []int  `json:"ids"`
			IDs77     []int  `json:"ids77"`
			Mask77    []int  `json:"mask77"`
			SlowFtfy  []int  `json:"slow_ftfy_ids"`
			SlowBasic []int  `json:"slow_basic_ids"`
		}
		if err := json.Unmarshal(data, &rows); err != nil || len(rows) == 0 {
			t.Fatal(err, len(rows))
		}
		for _, folder := range []string{"tokenizer", "tokenizer_vocab_merges_only", "tokenizer_json_only"} {
			var tok *Tokenizer
			if folder == "tokenizer_json_only" { // What transformers 5 writes.
				tok, err = Load(only(t, c.Path("tokenizer"), "tokenizer.json", "tokenizer_config.json"))
			} else {
				tok, err = LoadDir(c.Path(folder))
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]int{tok.VocabSize(), tok.BOS(), tok.EOS(), tok.Pad(), tok.MaxLength()},
				[]int{args.VocabSize, args.BOS, args.EOS, args.Pad, args.MaxLength}); diff != "" {
				t.Errorf("%s: size, bos, eos, pad, length got, want: %s", folder, diff)
			}
			for _, r := range rows {
				check := func(what string, got, want []int) {
					if diff := cmp.Diff(got, want); diff != "" && want != nil {
						t.Errorf("%s: %s of %q got, want: %s", folder, what, r.Text, diff)
					}
				}
				check("ids", tok.IDs(r.Text, Fast), r.IDs)
				ids, mask := tok.Encode(r.Text, 0, Fast)
				check("ids77", ids, r.IDs77)
				check("mask77", mask, r.Mask77)
				check("slow_ftfy_ids", cut77(tok, r.Text, Slow), r.SlowFtfy)
				check("slow_basic_ids", cut77(tok, r.Text, SlowBasic), r.SlowBasic)
			}
		}
	})
}

// cut77 cuts without padding, as the case's slow ids are.
func cut77(tok *Tokenizer, text string, mode Mode) []int {
	ids, mask := tok.Encode(text, 77, mode)
	n := 0
	for _, m := range mask {
		n += m
	}
	return ids[:n]
}
