package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// load parses args, and yaml as a file when it is not empty.
func load(t *testing.T, yaml string, args ...string) (Config, error) {
	t.Helper()
	set := pflag.NewFlagSet("up", pflag.ContinueOnError)
	flags := Bind(set)
	if yaml != "" {
		path := filepath.Join(t.TempDir(), "run.yaml")
		if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return flags.Load()
}

func TestPrecedence(t *testing.T) {
	c, err := load(t, "model: m\nsteps: 7\nlearning_rate: 2e-4\n", "--steps", "9")
	if err != nil {
		t.Fatal(err)
	}
	if c.Steps != 9 || c.LearningRate != 2e-4 || c.AdamBeta2 != 0.999 || c.TrainBatchSize != 1 {
		t.Errorf("got %+v, want steps from the flag, learning_rate from the file, the rest as it is", c)
	}
}

func TestDemoDefaultsOnlyWithoutModelAndData(t *testing.T) {
	for _, test := range []struct {
		args []string
		demo bool
	}{
		{nil, true},
		{[]string{"--data", "brand"}, true},
		{[]string{"--steps", "3"}, true},
		{[]string{"--data", "pairs.parquet"}, false},
		{[]string{"--model", "sd15"}, false},
	} {
		c, err := load(t, "", test.args...)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.LearningRate == DemoDefaults().LearningRate; got != test.demo {
			t.Errorf("%v: learning rate %g, demo %v", test.args, c.LearningRate, test.demo)
		}
	}
}

func TestErrorsNameTheFlagTheRuleAndTheValue(t *testing.T) {
	for _, test := range []struct {
		yaml string
		args []string
		want string
	}{
		{args: []string{"--beta-mapo=-1"}, want: "--beta-mapo must be above 0, got -1"},
		{args: []string{"--beta-mapo=NaN"}, want: "--beta-mapo must be above 0, got NaN"},
		{args: []string{"--form", "paper"}, want: "--beta-mapo has no default with --form paper"},
		{args: []string{"--proportion-empty-prompts", "1.5"}, want: "--proportion-empty-prompts must be at least 0 and at most 1, got 1.5"},
		{args: []string{"--use-ema", "--ema-decay", "1"}, want: "--ema-decay must be at least 0 and below 1, got 1"},
		{args: []string{"--ema-decay", "0"}, want: "--ema-decay must be above 0 and below 1"},
		{args: []string{"--use-ema", "--lora-rank", "4"}, want: "--use-ema keeps an average of the UNet"},
		{args: []string{"--steps", "0"}, want: "--steps must be at least 1, got 0"},
		{args: []string{"--lr-scheduler", "step"}, want: `--lr-scheduler must be one of constant, constant_with_warmup, linear, cosine, cosine_with_restarts, polynomial, got "step"`},
		{args: []string{"--http", "0.0.0.0:80"}, want: "--http must be on loopback"},
		{args: []string{"--listen", ":7070"}, want: "--advertise must name"},
		{args: []string{"--allow-mixed-kernels", "--audit-ratio", "0.1"}, want: "--audit-ratio compares bits"},
		{args: []string{"--memory-limit", "8"}, want: `--memory-limit must be a number with a unit, such as 8GiB, 15GB or 500MB, got "8"`},
		{args: []string{"--mixed-precision", "fp16"}, want: `--mixed-precision must be one of no, bf16, got "fp16"`},
		{args: []string{"--run-id", "a.b"}, want: "--run-id must be 1 to 64"},
		{args: []string{"--timesteps-per-pair", "3"}, want: "--timesteps-per-pair must divide the 8 items"},
		{args: []string{"--gradient-accumulation-steps", "300"}, want: "must be at most 256 with --wire-format int32"},
		{args: []string{"--gradient-accumulation-steps", "17", "--wire-format", "int16"}, want: "--gradient-accumulation-steps must be at most 16 with --wire-format int16, so that exact sums keep enough bits, got 17"},
		{args: []string{"--wire-format", "float16"}, want: `--wire-format must be one of int32, int16, got "float16"`},
		{args: []string{"--config", "none.yaml"}, want: "--config: open none.yaml"},
		{yaml: "betamapo: 1\n", want: `line 1: unknown field "betamapo"`},
		{yaml: "steps: many\n", want: "line 1: cannot unmarshal"},
		{yaml: "max_rejected_ratio: 2\n", want: "--max-rejected-ratio must be at least 0 and at most 1, got 2"},
	} {
		_, err := load(t, test.yaml, test.args...)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q %v: error %q, want one line with %q", test.yaml, test.args, err, test.want)
		}
	}
}

func TestWorkers(t *testing.T) {
	for _, test := range []struct{ local, least, want int }{{2, 0, 2}, {0, 0, 1}, {2, 3, 3}, {2, 1, 1}} {
		if got := (Config{LocalWorkers: test.local, MinWorkers: test.least}).Workers(); got != test.want {
			t.Errorf("%+v: waits for %d", test, got)
		}
	}
}

func TestASavedConfigurationContinues(t *testing.T) {
	saved, err := load(t, "", "--steps", "30", "--learning-rate", "3.25e-5", "--prediction-type", "epsilon")
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(saved)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Parse(data)
	if err != nil || back != saved {
		t.Fatalf("%s gives %+v, %v; want %+v", data, back, err, saved)
	}
	more := saved
	more.Steps, more.LocalWorkers = 60, 1
	if got := saved.FirstChange(more); got != "" {
		t.Errorf("more steps and fewer workers are refused for --%s", got)
	}
	more.LearningRate = 1
	if got := saved.FirstChange(more); got != "learning-rate" {
		t.Errorf("another learning rate: got %q", got)
	}
}
