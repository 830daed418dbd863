package epoch_test

import (
	"testing"

	"yohaku/internal/epoch"
)

func TestNext(t *testing.T) {
	first := epoch.Next(0, 7)
	a, b := epoch.Next(first, 7), epoch.Next(first, 1<<60|8)
	if first != epoch.First || epoch.String(first) != "1" {
		t.Errorf("the first epoch is %d, %s", first, epoch.String(first))
	}
	if epoch.Count(a) != 2 || epoch.Count(b) != 2 || a >= b || epoch.String(b) != "2-000008" {
		t.Errorf("two owners after the first: %s and %s", epoch.String(a), epoch.String(b))
	}
	if later := epoch.Next(b, 0); later <= b || epoch.Count(later) != 3 {
		t.Errorf("%s after %s", epoch.String(later), epoch.String(b))
	}
	if a>>53 != 0 {
		t.Errorf("%d is not exact as a float64", a)
	}
}
