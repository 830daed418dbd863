package bytesize

import "testing"

func TestParse(t *testing.T) {
	for text, want := range map[string]int64{
		"": 0, "0B": 0, "8GiB": 8 << 30, "15GB": 15e9, "500 MB": 5e8, "1.5KiB": 1536, "7B": 7, "2TiB": 2 << 40,
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("Parse(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"8", "GiB", "-1GB", "NaNGB", "1e30GB", "8gib", "8 G"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("Parse(%q) = %d, want an error", text, got)
		}
	}
}

func TestFormat(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1 KB", 999_600: "1 MB", 15_040_000_000: "15 GB", -2_500_000: "-2.5 MB"} {
		if got := Format(n); got != want {
			t.Errorf("Format(%d) = %q, want %q", n, got, want)
		}
	}
}
