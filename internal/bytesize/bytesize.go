// Package bytesize reads and writes amounts of memory as people do: 8GiB, 15GB, 500MB.
package bytesize

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// units by their names, the longer names first so that "GiB" is not taken for "B".
var units = []struct {
	name  string
	bytes float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// Parse returns the bytes of a number with a unit: B, KB, MB, GB, TB, or KiB, MiB, GiB, TiB. The empty text is 0. It
// returns an error that names the text and the rule when there is no unit, or the number is negative or not finite.
func Parse(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	for _, u := range units {
		number, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(n >= 0) || n*u.bytes >= math.MaxInt64 {
			break
		}
		return int64(n * u.bytes), nil
	}
	return 0, fmt.Errorf("must be a number with a unit, such as 8GiB, 15GB or 500MB, got %q", text)
}

// Format writes n with three digits and a decimal unit.
func Format(n int64) string {
	v, unit := float64(n), "B"
	for _, next := range []string{"KB", "MB", "GB", "TB"} {
		if math.Abs(v) < 999.5 {
			break
		}
		v, unit = v/1000, next
	}
	return strconv.FormatFloat(v, 'g', 3, 64) + " " + unit
}
