package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"yohaku/cmd/internal/cli"
	"yohaku/coordinator"
	"yohaku/coordinator/config"
	"yohaku/coordinator/runstore"
	"yohaku/dataset/brand"
	"yohaku/dataset/palette"
	"yohaku/internal/wire"
	"yohaku/model/demo"
)

// evalFlags are the values of `coordinator eval`.
type evalFlags struct {
	base, tuned, lora, prompts, judge, palette, encoder, out, logFormat string
	models                                                              []string
	workers, threads, seeds, steps                                      int
	guidance                                                            float64
	seed                                                                uint64
}

func evalCommand() *cobra.Command {
	var f evalFlags
	c := &cobra.Command{
		Use:   "eval",
		Short: "Compare models on the same prompts and seeds, with intervals",
		Long: `Sample a base model, a tuned one and perhaps others on the same prompts and seeds, score the pictures, and write
report.json, report.md and report.html to --out. Workers on this machine do the work; the same command goes on with what
one that was cut off has done.`,
		Args: cli.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c.Context(), c.OutOrStdout()) },
	}
	flags := c.Flags()
	flags.StringVar(&f.base, "base", "", "diffusers pipeline folder to compare with; empty is the built-in base model")
	flags.StringVar(&f.tuned, "tuned", "", "diffusers pipeline folder to judge, such as a run's `final`")
	flags.StringVar(&f.lora, "lora", "", "low-rank adapter of the base: without --tuned the model to judge, otherwise one more")
	flags.StringArrayVar(&f.models, "model", nil, "one more model, as NAME=DIR; may be given several times")
	flags.StringVar(&f.prompts, "prompts", "", "file of prompts, one a line; empty takes the brand set's held-out ones")
	flags.IntVar(&f.seeds, "seeds", 4, "pictures per prompt and model")
	flags.StringVar(&f.judge, "judge", "palette", "palette, brand, clip:DIR or pickscore:DIR, with the folder of a CLIPModel")
	flags.StringVar(&f.palette, "palette", "", "colours of the palette judge: a JSON file, or a list such as '#0f8b8d,#f2a65a'; empty is the built-in brand's")
	flags.StringVar(&f.encoder, "encoder", "", "folder of a CLIPModel for consistency and diversity, beside the palette judge")
	flags.StringVar(&f.out, "out", "", "folder for the report and the pictures")
	flags.IntVar(&f.workers, "workers", 2, "workers to start on this machine")
	flags.IntVar(&f.threads, "threads", 0, "kernel threads of each worker; 0 shares the cores out")
	flags.IntVar(&f.steps, "num-inference-steps", 20, "sampler steps")
	flags.Float64Var(&f.guidance, "guidance-scale", 5, "classifier-free guidance")
	flags.Uint64Var(&f.seed, "seed", 0, "seed of the pictures' noise and of the bootstrap")
	flags.StringVar(&f.logFormat, "log-format", "auto", "auto, json or console; auto is console on a terminal")
	return c
}

func (f *evalFlags) check() error {
	switch {
	case f.out == "":
		return errors.New("--out is empty: name the folder for the report")
	case f.tuned == "" && f.lora == "":
		return errors.New("--tuned is empty: name the pipeline folder to judge, or an adapter with --lora")
	case f.seeds < 1 || f.seeds > 64:
		return fmt.Errorf("--seeds must be from 1 to 64, got %d", f.seeds)
	case f.workers < 1 || f.workers > 64:
		return fmt.Errorf("--workers must be from 1 to 64, got %d", f.workers)
	case f.steps < 1:
		return fmt.Errorf("--num-inference-steps must be at least 1, got %d", f.steps)
	case f.threads < 0:
		return fmt.Errorf("--threads must be at least 0, got %d", f.threads)
	case !(f.guidance >= 0):
		return fmt.Errorf("--guidance-scale must be at least 0, got %v", f.guidance)
	}
	return nil
}

func (f *evalFlags) run(ctx context.Context, out io.Writer) error {
	if err := f.check(); err != nil {
		return cli.UsageError{Err: err}
	}
	contest, err := f.contest()
	if err != nil {
		return err
	}
	o, err := f.options()
	if err != nil {
		return err
	}
	var local processes
	stop, release := cli.Interrupts(local.kill)
	defer release()
	o.Stop, o.LocalStarted = stop, local.add
	e, err := coordinator.Evaluate(ctx, o, contest)
	if errors.Is(err, coordinator.ErrStopped) {
		_, err = fmt.Fprintln(out, "stopped; the same command goes on with what is done")
		return err
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\nreport: %s\npictures side by side: %s\n", e.Headline(), filepath.Join(f.out, "report.json"), filepath.Join(f.out, "report.html"))
	return err
}

// options are those of the cluster that does the work.
func (f *evalFlags) options() (coordinator.Options, error) {
	base, err := openModelOf("base", f.base)
	if err != nil {
		return coordinator.Options{}, err
	}
	c := config.Defaults()
	c.Out, c.RunID, c.LocalWorkers, c.Threads, c.EvalSeeds, c.Seed, c.LogFormat = f.out, coordinator.WorkFolder, f.workers, f.threads, f.seeds, f.seed, f.logFormat
	c.NumInferenceSteps, c.GuidanceScale = f.steps, f.guidance
	o := coordinator.Options{Config: c, Version: cli.Version(), UnpackModel: demo.Extract, ModelDir: base.dir, ModelName: base.name, EvalScheduler: base.sampler(), Announce: func(_, _ string, _ *runstore.Run) {}}
	o.EvalPrompts = brand.HeldOutPrompts()
	if f.prompts != "" {
		if o.EvalPrompts, err = readPrompts("prompts", f.prompts); err != nil {
			return o, err
		}
	}
	return o, logTo(&o)
}

// entryName is what a model may be called: it names a folder, too.
var entryName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// contest is what the flags compare.
func (f *evalFlags) contest() (coordinator.Contest, error) {
	c := coordinator.Contest{Models: []coordinator.Entry{{Name: "base"}}}
	if f.tuned != "" {
		c.Models = append(c.Models, coordinator.Entry{Name: "tuned", Dir: f.tuned})
	}
	if f.lora != "" {
		if _, err := os.Stat(f.lora); err != nil {
			return c, fmt.Errorf("--lora: %w; give the file of an adapter, or the folder that holds it", err)
		}
		c.Models = append(c.Models, coordinator.Entry{Name: "lora", LoRA: f.lora})
	}
	for _, text := range f.models {
		name, dir, ok := strings.Cut(text, "=")
		if !ok || !entryName.MatchString(name) || dir == "" {
			return c, cli.UsageError{Err: fmt.Errorf("--model must be NAME=DIR with a name of letters, digits, '.', '-' and '_', got %q", text)}
		}
		c.Models = append(c.Models, coordinator.Entry{Name: name, Dir: dir})
	}
	names := map[string]bool{}
	for _, e := range c.Models {
		if names[e.Name] {
			return c, cli.UsageError{Err: fmt.Errorf("--model: two models are called %q; give another name", e.Name)}
		}
		names[e.Name] = true
		if e.Dir == "" {
			continue
		}
		if _, err := openModelOf(flagOf(e.Name), e.Dir); err != nil {
			return c, err
		}
	}
	return c, f.setJudge(&c)
}

func flagOf(entry string) string {
	if entry == "tuned" {
		return entry
	}
	return "model " + entry
}

// setJudge reads --judge, --palette and --encoder.
func (f *evalFlags) setJudge(c *coordinator.Contest) error {
	kind, dir, _ := strings.Cut(f.judge, ":")
	c.Judge, c.Encoder = wire.JudgePalette, f.encoder
	switch {
	case (kind == "clip" || kind == "pickscore") && dir != "":
		c.Judge, c.Encoder, c.Name = wire.JudgeEncoder, dir, kind
	case f.judge == "brand":
		c.Name = "brand"
		if f.palette != "" {
			return cli.UsageError{Err: errors.New("--palette is of the palette judge; --judge brand has its own")}
		}
	case f.judge == "palette":
		c.Name = "palette"
	default:
		return cli.UsageError{Err: fmt.Errorf("--judge must be palette, brand, clip:DIR or pickscore:DIR, got %q", f.judge)}
	}
	if c.Encoder != "" {
		if _, err := os.Stat(filepath.Join(c.Encoder, "preprocessor_config.json")); err != nil {
			return fmt.Errorf("folder %s holds no CLIPModel: %w", c.Encoder, err)
		}
	}
	var err error
	c.Palette, err = readPalette(f.palette)
	return err
}

// readPalette is the JSON of a palette file, or of a list of colours with equal shares.
func readPalette(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	data, err := paletteBytes(text)
	if err != nil {
		return "", fmt.Errorf("--palette: %w; give a JSON file, or colours as in '#0f8b8d,#f2a65a'", err)
	}
	if _, err := palette.Read(strings.NewReader(string(data))); err != nil {
		return "", fmt.Errorf("--palette: %w", err)
	}
	return string(data), nil
}

func paletteBytes(text string) ([]byte, error) {
	if !strings.HasPrefix(text, "#") {
		return os.ReadFile(text)
	}
	type colour struct {
		Name  string  `json:"name"`
		Hex   string  `json:"hex"`
		Share float64 `json:"share"`
	}
	list := strings.Split(text, ",")
	var colours []colour
	for _, hex := range list {
		colours = append(colours, colour{strings.TrimSpace(hex), strings.TrimSpace(hex), 1 / float64(len(list))})
	}
	return json.Marshal(map[string]any{"name": "given", "colours": colours})
}
