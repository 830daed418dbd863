package dataset

import (
	"fmt"
	"math"
)

// Preference reads label_0: 1 says that image 0 won, 0 that image 1 did, ½ that neither did; image
// 0 then stands in as the winner.
func Preference(label0 float64) (firstWins, tie bool, err error) {
	switch {
	case math.IsNaN(label0):
		return false, false, fmt.Errorf("label_0 is NaN")
	case label0 == 1:
		return true, false, nil
	case label0 == 0:
		return false, false, nil
	case label0 == 0.5:
		return true, true, nil
	}
	return false, false, fmt.Errorf("label_0 is %v; it must be 0, 0.5 or 1", label0)
}
