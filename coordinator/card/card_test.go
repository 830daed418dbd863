package card

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func TestTheCardSaysWhatIsKnownAndWhatIsNot(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Make(dir); err == nil {
		t.Error("a folder without a run has a card")
	}
	write("manifest.json", `{"run_id":"r","version":"v1","config":{"model":"/home/me/sd15","form":"reference_code","beta_mapo":0.1,"lora_rank":8},"data_name":"/data/pairs","pairs":10,"licenses":{"CC-BY-4.0":7},"origins":{"studio: a\nb":3}}`)
	write("report.json", `{"checkpoint_sha256":"abc","win_rate":0.7,"win_rate_low":0.5,"win_rate_high":0.8,"comparisons":20,"judge":"palette","notes":["a note"]}`)
	write("copycheck.json", `{"checkpoint_sha256":"old","copy_rate":0}`)
	write("ledger.jsonl", "")
	data, err := Make(dir)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.SplitN(string(data), "---\n", 3)
	var front frontMatter
	if err := yaml.UnmarshalWithOptions([]byte(parts[1]), &front, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	if front.BaseModel != "sd15" || front.LicenseName != "" || front.License != "other" || front.Datasets[0] != "pairs" || front.Tags[len(front.Tags)-1] != "lora" {
		t.Errorf("front matter %+v", front)
	}
	for _, want := range []string{
		"CC-BY-4.0 (7), not stated (3)", "studio: a b (3)", "0.700 (95 % interval 0.500 to 0.800, 20 comparisons, judge palette)", "| copies | not measured |", "- a note",
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	} {
		if !strings.Contains(parts[2], want) {
			t.Errorf("%q is not in\n%s", want, parts[2])
		}
	}
	if strings.Contains(string(data), "/home") {
		t.Error("the card names a path of the machine")
	}
}
