package record

import "testing"

// TestAJobLeavesTheQueueWhenItIsDone, and not before: one that is given back is taken again, by somebody.
func TestAJobLeavesTheQueueWhenItIsDone(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Queue(5); err != nil { // What a coordinator before left.
		t.Fatal(err)
	}
	q, err := s.Queue(3)
	if err != nil {
		t.Fatal(err)
	}
	tries := map[int]int{}
	for {
		job, ok, err := q.Take()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		tries[job]++
		if job == 1 && tries[job] == 1 {
			err = q.Again(job)
		} else {
			err = q.Done(job)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(tries) != 3 || tries[0] != 1 || tries[1] != 2 || tries[2] != 1 {
		t.Errorf("jobs were taken %v times, want 0, 1 and 2 once, and 1 twice", tries)
	}
}
