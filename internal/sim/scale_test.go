package sim

import (
	"testing"
	"time"
)

// TestAStepIsOneMessage: what the coordinator takes in for a step does not grow with the workers; what it sends
// and takes in for a generation grows as they do.
func TestAStepIsOneMessage(t *testing.T) {
	for _, workers := range []int{4, 32, 256} {
		r := Run(Config{Workers: workers, Steps: 30, MicroBatches: 2 * workers, MicroBatchTime: 100 * time.Millisecond, Kills: 3, Joins: 3})
		if r.Err != nil {
			t.Fatalf("%d workers: %v", workers, r.Err)
		}
		if r.StepReports > 2*30 {
			t.Errorf("%d workers: %d reports of 30 steps", workers, r.StepReports)
		}
		all := int(r.Generations) * (workers + 3)
		if most := 4*all + 20; r.Reports > most || r.Orders > most {
			t.Errorf("%d workers: %d other reports and %d orders in %d generations, want at most %d of each", workers, r.Reports, r.Orders, r.Generations, most)
		}
		t.Logf("%4d workers: %d step reports, %d other reports, %d orders, %d generations, %v", workers, r.StepReports, r.Reports, r.Orders, r.Generations, r.Duration)
	}
}
