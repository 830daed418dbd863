package checkpoint

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// IndexFile is the file that makes a folder a pipeline.
const IndexFile = "model_index.json"

// Component names a pipeline's part by the library and class that load it.
type Component struct{ Library, Class string }

// Pipeline is a diffusers pipeline folder.
type Pipeline struct {
	*Folder
	Class      string               // Such as StableDiffusionPipeline.
	Components map[string]Component // By folder name; parts that are null are left out.

	ForceZerosForEmptyPrompt bool // Of StableDiffusionXLPipeline: no negative prompt is an embedding of zeros.
}

// pipelineParts lists, for each pipeline class that is supported, the parts that must be there and
// the classes they may have; nil takes any, and leaves the part's own reader to refuse it.
var pipelineParts = map[string]map[string][]string{
	"StableDiffusionPipeline": {
		"unet":         {"UNet2DConditionModel"},
		"vae":          {"AutoencoderKL"},
		"text_encoder": {"CLIPTextModel"},
		"tokenizer":    {"CLIPTokenizer", "CLIPTokenizerFast"},
		"scheduler":    nil,
	},
	"StableDiffusionXLPipeline": {
		"unet":           {"UNet2DConditionModel"},
		"vae":            {"AutoencoderKL"},
		"text_encoder":   {"CLIPTextModel"},
		"text_encoder_2": {"CLIPTextModelWithProjection"},
		"tokenizer":      {"CLIPTokenizer", "CLIPTokenizerFast"},
		"tokenizer_2":    {"CLIPTokenizer", "CLIPTokenizerFast"},
		"scheduler":      nil,
	},
}

// passengers are parts that bear on neither training nor sampling here, and are copied as they are.
var passengers = []string{"safety_checker", "feature_extractor", "image_encoder"}

// OpenPipeline opens the pipeline folder at path and checks that all its parts are supported and
// have a folder. An error names the part, its class and what is supported.
func OpenPipeline(path string) (*Pipeline, error) {
	f, err := OpenFolder(path)
	if err != nil {
		return nil, err
	}
	return f.Pipeline()
}

// Pipeline opens the folder as a pipeline, see OpenPipeline.
func (f *Folder) Pipeline() (*Pipeline, error) {
	data, err := f.ReadFile(IndexFile)
	if err != nil {
		return nil, fmt.Errorf("%w; a model must be a diffusers pipeline folder with %s", err, IndexFile)
	}
	p, err := parseIndex(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path(IndexFile), err)
	}
	p.Folder = f
	for _, name := range slices.Sorted(maps.Keys(p.Components)) {
		if !f.Has(name) {
			return nil, fmt.Errorf("%s names part %q (%s), but there is no folder %s", f.Path(IndexFile), name, p.Components[name].Class, f.Path(name))
		}
	}
	return p, nil
}

// parseIndex decodes a model_index.json: parts are [library, class] or [null, null], keys that
// begin with an underscore are notes, scalars are the pipeline's options.
func parseIndex(data []byte) (*Pipeline, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	p := &Pipeline{Components: map[string]Component{}}
	if err := json.Unmarshal(raw["_class_name"], &p.Class); err != nil {
		return nil, fmt.Errorf("_class_name must be a string; supported: %s", strings.Join(PipelineClasses(), ", "))
	}
	p.ForceZerosForEmptyPrompt = true
	if value, ok := raw["force_zeros_for_empty_prompt"]; ok {
		if err := json.Unmarshal(value, &p.ForceZerosForEmptyPrompt); err != nil {
			return nil, fmt.Errorf("force_zeros_for_empty_prompt is %s, it must be true or false", value)
		}
	}
	parts, ok := pipelineParts[p.Class]
	if !ok {
		return nil, fmt.Errorf("pipeline class %q is not supported; supported: %s", p.Class, strings.Join(PipelineClasses(), ", "))
	}
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		if strings.HasPrefix(key, "_") || !strings.HasPrefix(strings.TrimSpace(string(raw[key])), "[") {
			continue
		}
		var pair []*string
		if err := json.Unmarshal(raw[key], &pair); err != nil || len(pair) != 2 {
			return nil, fmt.Errorf("part %q is %s, it must be [library, class] or [null, null]", key, raw[key])
		}
		if pair[0] == nil || pair[1] == nil {
			continue
		}
		if err := checkPart(parts, key, *pair[1]); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Class, err)
		}
		p.Components[key] = Component{Library: *pair[0], Class: *pair[1]}
	}
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		if _, ok := p.Components[name]; !ok {
			return nil, fmt.Errorf("%s: part %q is missing or null, it must be there", p.Class, name)
		}
	}
	return p, nil
}

func checkPart(parts map[string][]string, name, class string) error {
	if slices.Contains(passengers, name) {
		return nil
	}
	classes, ok := parts[name]
	if !ok {
		return fmt.Errorf("part %q (%s) is not supported", name, class)
	}
	if classes != nil && !slices.Contains(classes, class) {
		return fmt.Errorf("part %q is a %s; supported: %s", name, class, strings.Join(classes, ", "))
	}
	return nil
}

// PipelineClasses lists the pipeline classes that are supported.
func PipelineClasses() []string { return slices.Sorted(maps.Keys(pipelineParts)) }
