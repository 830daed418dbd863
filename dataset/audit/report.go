package audit

import "yohaku/internal/statistics"

// Report is audit.json. What could not be measured is null, with the reason in Notes.
type Report struct {
	Source string `json:"source"`
	Pairs  int    `json:"pairs"` // With a preference.
	Ties   int    `json:"ties"`

	Annotators   []Annotator `json:"annotators"`
	Alpha        *float64    `json:"krippendorff_alpha"` // Nominal: first, second, neither.
	SharedUnits  int         `json:"shared_units"`       // Units that two or more judged.
	Judge        string      `json:"judge"`
	JudgeAgrees  *Share      `json:"judge_agrees"`
	JudgeUnsure  int         `json:"judge_ties"`
	Contradicted int         `json:"contradicted_units"` // Units with both labels.

	MarginsOf      string      `json:"margins_of,omitempty"`
	NegativeMargin *Share      `json:"negative_margin"`
	Suspects       []Suspect   `json:"suspects"` // Those of negative margin, most suspect first.
	Duplicates     []Duplicate `json:"duplicates"`
	Leaks          []Duplicate `json:"leaks"`

	Kept    int      `json:"kept"`
	Removed int      `json:"removed"`
	Notes   []string `json:"notes"`
}

// Share is a proportion with its 95 % interval.
type Share struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	Of    int     `json:"of"`
}

func share(n, of int) *Share {
	if of == 0 {
		return nil
	}
	i := statistics.Wilson(float64(n)/float64(of), of)
	return &Share{i.Value, i.Low, i.High, of}
}

// Annotator is one who judged. Agrees is the share of their judgements that are those of most others on the same unit.
type Annotator struct {
	Name   string `json:"name"`
	Labels int    `json:"labels"`
	Ties   int    `json:"ties"`
	Agrees *Share `json:"agrees"`
}

// Place is a row.
type Place struct {
	File string `json:"file"`
	Row  int    `json:"row"`
	ID   string `json:"id"`
	at   int    // Among the pairs.
}

// Suspect is a label that the model finds turned round.
type Suspect struct {
	Place
	Prompt string  `json:"prompt"`
	Margin float64 `json:"margin"`
}

// Duplicate is a picture that is nearly another row's. Of a leak, First is the held-out one.
type Duplicate struct {
	First      Place   `json:"first"`
	Second     Place   `json:"second"`
	Side       string  `json:"side"` // Of the second: winner or loser.
	PHashBits  int     `json:"phash_bits"`
	DHashBits  int     `json:"dhash_bits"`
	Features   float64 `json:"features"`
	SamePrompt bool    `json:"same_prompt"`
	firstSide  string
}

// Decision is one row of the lists of kept and removed rows.
type Decision struct {
	Place
	Prompt string `json:"prompt"`
	Reason string `json:"reason,omitempty"`
}
