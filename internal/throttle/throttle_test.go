package throttle

import (
	"fmt"
	"testing"
	"time"
)

func TestOneAMinuteWithTheCount(t *testing.T) {
	now := time.Unix(1e9, 0)
	var th Throttle[string]
	var got []int
	for i := range 300 {
		if n := th.Count("a", now.Add(time.Duration(i)*time.Second)); n > 0 {
			got = append(got, n)
		}
	}
	if fmt.Sprint(got) != "[1 60 60 60 60]" {
		t.Errorf("let through %v, want one a minute with the count", got)
	}
}

func TestKindsAreBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	var th Throttle[int]
	lines := 0
	for i := range 10 * most {
		if th.Count(i%(2*most), now) > 0 {
			lines++
		}
	}
	if len(th.kinds) > most+1 || lines > most+1 {
		t.Errorf("%d kinds and %d lines, want at most %d", len(th.kinds), lines, most+1)
	}
	th.Count(1, now.Add(2*window)) // Quiet kinds are forgotten when there is no room.
	th.Count(-1, now.Add(2*window))
	if len(th.kinds) > 3 {
		t.Errorf("%d kinds after two quiet windows", len(th.kinds))
	}
}
