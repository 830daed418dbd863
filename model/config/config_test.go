package config

import (
	"strings"
	"testing"
)

type sample struct {
	Width    int           `json:"width"`
	Eps      float64       `json:"eps"`
	Name     *string       `json:"name"`
	Heads    PerBlock[int] `json:"heads"`
	Size     Size          `json:"size"`
	Channels []int         `json:"channels"`
}

func defaults() sample { return sample{Width: 7, Eps: 1e-5, Heads: All(8)} }

func TestDecode(t *testing.T) {
	got := defaults()
	err := Decode("Sample", []byte(`{"_class_name":"Sample","_note":3,"eps":1,"heads":[2,4],"name":null,"size":[3,4],"ignored":{}}`), &got, "ignored")
	if err != nil {
		t.Fatal(err)
	}
	if got.Width != 7 || got.Eps != 1 || got.Heads.At(1) != 4 || got.Name != nil || got.Size != (Size{3, 4}) {
		t.Errorf("got %+v", got)
	}
	if err := got.Heads.CheckLength(3); err == nil {
		t.Error("a list of 2 passed for 3 blocks")
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, tt := range []struct{ name, json, want string }{
		{"unknown key", `{"colour": 3}`, `key "colour": value 3: this key is not known`},
		{"wrong type", `{"width": "x"}`, `key "width": value "x": want a whole number`},
		{"fraction", `{"width": 1.5}`, `key "width": value 1.5: want a whole number`},
		{"null", `{"width": null}`, `key "width": value null: null is not supported`},
		{"null list", `{"heads": null}`, `key "heads": value null`},
		{"wrong class", `{"_class_name": "Other"}`, `want "Sample"`},
		{"three sides", `{"size": [1,2,3]}`, `want a whole number, a list of two, or null`},
		{"list entry", `{"channels": ["a"]}`, `key "channels"`},
		{"no object", `[1]`, `Sample config`},
		{"cut", `{"width": 1`, `Sample config`},
		{"infinity", `{"eps": -Infinity}`, `Sample config`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := defaults()
			err := Decode("Sample", []byte(tt.json), &got)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want it to contain %q", err, tt.want)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"width":1,"heads":[1],"size":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got := defaults()
		_ = Decode("Sample", data, &got)
	})
}
