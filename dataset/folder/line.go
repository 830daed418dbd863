package folder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"yohaku/dataset"
)

// entry is one line: two pictures by name, and which of them won.
type entry struct {
	prompt         string
	first, second  string
	firstWins, tie bool

	annotator, license, origin string
}

// parseLine reads one line of metadata.
func parseLine(line []byte) (entry, error) {
	if !utf8.Valid(line) {
		return entry{}, errors.New("the line is not UTF-8")
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil {
		return entry{}, describe(err, line)
	}
	if fields == nil {
		return entry{}, errors.New("the line is no JSON object")
	}
	var e entry
	var err error
	if e.prompt, err = text(fields, "prompt", "caption", "text"); err != nil {
		return entry{}, err
	}
	e.annotator, e.license, e.origin = note(fields, "annotator"), note(fields, "license"), note(fields, "source")
	if has(fields, pictureKeys("winner")) || has(fields, pictureKeys("loser")) {
		return e.fromWinner(fields)
	}
	return e.fromLabel(fields)
}

// fromWinner reads the form with winner and loser.
func (e entry) fromWinner(fields map[string]json.RawMessage) (entry, error) {
	var err error
	if e.first, err = text(fields, pictureKeys("winner")...); err != nil {
		return entry{}, err
	}
	if e.second, err = text(fields, pictureKeys("loser")...); err != nil {
		return entry{}, err
	}
	e.firstWins = true
	return e, nil
}

// fromLabel reads the form with image_0, image_1 and label_0.
func (e entry) fromLabel(fields map[string]json.RawMessage) (entry, error) {
	first, second := pictureKeys("image_0", "jpg_0"), pictureKeys("image_1", "jpg_1")
	if !has(fields, first) && !has(fields, second) {
		if has(fields, []string{"file_name"}) {
			return entry{}, errors.New("file_name names one picture; a pair needs winner and loser, or image_0, image_1 and label_0")
		}
		return entry{}, errors.New("the line has neither winner and loser nor image_0, image_1 and label_0")
	}
	var err error
	if e.first, err = text(fields, first...); err != nil {
		return entry{}, err
	}
	if e.second, err = text(fields, second...); err != nil {
		return entry{}, err
	}
	label, ok, err := number(fields, "label_0")
	if err != nil {
		return entry{}, err
	}
	if !ok {
		return entry{}, errors.New("label_0 is missing")
	}
	other, ok, err := number(fields, "label_1")
	if err != nil {
		return entry{}, err
	}
	if ok && math.Abs(label+other-1) > 1e-6 {
		return entry{}, fmt.Errorf("label_0 is %v and label_1 is %v; they must add up to 1", label, other)
	}
	e.firstWins, e.tie, err = dataset.Preference(label)
	return e, err
}

// pictureKeys returns the keys that a picture may have.
func pictureKeys(names ...string) []string {
	keys := names
	for _, n := range names {
		keys = append(keys, n+"_file_name")
	}
	return keys
}

// has says whether one of the keys is there, null or not.
func has(fields map[string]json.RawMessage, keys []string) bool {
	for _, k := range keys {
		if _, ok := fields[k]; ok {
			return true
		}
	}
	return false
}

// isNull says whether a value is absent or null.
func isNull(raw json.RawMessage) bool { return raw == nil || string(raw) == "null" }

// text returns the string under the first of the keys that is there.
func text(fields map[string]json.RawMessage, keys ...string) (string, error) {
	for _, k := range keys {
		raw := fields[k]
		if isNull(raw) {
			continue
		}
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return "", fmt.Errorf("%s must be a string, got %s", k, short(raw))
		}
		return s, nil
	}
	if keys[0] == "prompt" {
		return "", errors.New("the caption is missing (prompt or caption)")
	}
	return "", fmt.Errorf("%s is missing", keys[0])
}

// note returns the string under key, cut to a length that a report can show; anything else is no note.
func note(fields map[string]json.RawMessage, key string) string {
	var s string
	if json.Unmarshal(fields[key], &s) != nil {
		return ""
	}
	const most = 200
	if r := []rune(s); len(r) > most {
		return string(r[:most])
	}
	return s
}

// number returns the number under key, and whether it is there.
func number(fields map[string]json.RawMessage, key string) (float64, bool, error) {
	raw := fields[key]
	if isNull(raw) {
		return 0, false, nil
	}
	var v float64
	if err := json.Unmarshal(raw, &v); err != nil {
		return 0, false, fmt.Errorf("%s must be a number, got %s", key, short(raw))
	}
	return v, true, nil
}

// short cuts a value for a message.
func short(raw []byte) string {
	const most = 40
	if len(raw) <= most {
		return string(raw)
	}
	return string(bytes.ToValidUTF8(raw[:most], nil)) + "…"
}

// describe turns an error of encoding/json into a reason.
func describe(err error, line []byte) error {
	var typeError *json.UnmarshalTypeError
	switch {
	case errors.As(err, &typeError):
		return fmt.Errorf("the line is no JSON object: %s", short(line))
	case bytes.Contains(line, []byte("NaN")) || bytes.Contains(line, []byte("Infinity")):
		return fmt.Errorf("the line is not JSON (NaN and Infinity are not allowed): %w", err)
	}
	return fmt.Errorf("the line is not JSON: %w", err)
}
