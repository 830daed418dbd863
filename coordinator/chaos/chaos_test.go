package chaos

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"yohaku/coordinator/api"
)

func ms(x float64) *float64 { return &x }

// TestMeasure reads what followed a fault from the events of a run.
func TestMeasure(t *testing.T) {
	t0 := time.Unix(100, 0)
	at := func(ms int, kind api.EventKind, node string, generation uint64, nodes ...string) api.Event {
		return api.Event{Time: t0.Add(time.Duration(ms) * time.Millisecond), Kind: kind, Node: node, Generation: generation, Nodes: nodes}
	}
	formedAt := func(ms, step int) api.Event {
		e := at(ms, api.GenerationFormed, "", 5, "a", "b")
		e.Step = step
		return e
	}
	lost := at(30, api.GenerationFormed, "", 4, "b")
	lost.MicroBatches, lost.StepsLost = 3, 2
	goes := at(70, api.GoesOn, "", 4)
	goes.StoodMS = 90
	away := []api.Event{
		at(-5, api.GoesOn, "", 3), at(20, api.WorkerGone, "a", 0), at(21, api.GenerationEnds, "", 3), lost, goes,
	}
	for _, c := range []struct {
		name   string
		o      Outcome
		events []api.Event
		want   Outcome
		done   bool
	}{
		{"killed", Outcome{Fault: Kill, Node: "a"}, away,
			Outcome{DetectMS: ms(20), FormMS: ms(30), ResumeMS: ms(70), StoodMS: 90, StepsAgain: 2, MicroBatchesAgain: 3}, true},
		{"killed, the next ring fails too", Outcome{Fault: Kill, Node: "a"},
			append(away[:4:4], at(40, api.GenerationFormed, "", 5, "b"), at(60, api.GoesOn, "", 5)),
			Outcome{DetectMS: ms(20), FormMS: ms(30), ResumeMS: ms(60), StepsAgain: 2, MicroBatchesAgain: 3}, true},
		{"killed, not resumed", Outcome{Fault: Kill, Node: "a"}, away[:4],
			Outcome{DetectMS: ms(20), FormMS: ms(30), StepsAgain: 2, MicroBatchesAgain: 3}, false},
		{"an old ring's step is no recovery", Outcome{Fault: Kill, Node: "a"}, []api.Event{at(20, api.WorkerGone, "a", 0), at(30, api.GoesOn, "", 3)},
			Outcome{DetectMS: ms(20)}, false},
		{"frozen, still away", Outcome{Fault: Freeze, Node: "a"}, away,
			Outcome{DetectMS: ms(20), FormMS: ms(30), ResumeMS: ms(70), StoodMS: 90, StepsAgain: 2, MicroBatchesAgain: 3}, false},
		{"frozen, back", Outcome{Fault: Freeze, Node: "a"},
			append(away[:5:5], at(80, api.WorkerReady, "a", 0), at(85, api.GenerationFormed, "", 5, "b", "a"), at(95, api.GoesOn, "", 5)),
			Outcome{DetectMS: ms(20), FormMS: ms(30), ResumeMS: ms(70), BackMS: ms(95), StoodMS: 90, StepsAgain: 2, MicroBatchesAgain: 3}, true},
		{"joined", Outcome{Fault: Join},
			[]api.Event{at(9, api.WorkerReady, "b", 0), at(10, api.WorkerReady, "c", 0), at(15, api.GenerationFormed, "", 5, "b"), at(20, api.GenerationFormed, "", 6, "b", "c"), at(25, api.GoesOn, "", 6)},
			Outcome{Node: "c", DetectMS: ms(10), FormMS: ms(20), ResumeMS: ms(25)}, true},
		{"coordinator back", Outcome{Fault: CoordinatorKill, Step: 4},
			[]api.Event{at(-3, api.GoesOn, "", 3), at(12, api.WorkerReady, "a", 0), at(15, api.WorkerReady, "b", 0), formedAt(18, 9), at(25, api.GoesOn, "", 5)},
			Outcome{Step: 4, DetectMS: ms(12), FormMS: ms(18), ResumeMS: ms(25), StepsMeanwhile: 5}, true},
		{"nothing", Outcome{Fault: Partition, Node: "a"}, away[:1], Outcome{}, false},
	} {
		got := c.o
		got.measure(t0, []string{"a", "b"}, c.events)
		c.want.Fault = c.o.Fault
		if c.want.Node == "" {
			c.want.Node = c.o.Node
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if got.done() != c.done {
			t.Errorf("%s: done %v, want %v", c.name, got.done(), c.done)
		}
	}
}

func TestPlanRepeatsFromItsSeed(t *testing.T) {
	c := Config{Kills: 3, Freezes: 2, Joins: 1, Seed: 7, Pause: time.Second}
	a, b := NewPlan(c), NewPlan(c)
	if diff := cmp.Diff(a.Kinds, b.Kinds); diff != "" || len(a.Kinds) != 6 || !cmp.Equal(a.Pauses, b.Pauses) {
		t.Errorf("two plans of one seed differ, or have not 6 faults:\n%v\n%v", a, b)
	}
	c.Seed = 8
	if cmp.Equal(a.Pauses, NewPlan(c).Pauses) {
		t.Error("another seed gives the same pauses")
	}
}

func TestValidate(t *testing.T) {
	good := Config{Kills: 1, FreezeFor: time.Second, PartitionFor: time.Second, Limit: time.Minute}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		flag string
		bad  func(*Config)
	}{
		{"--kill", func(c *Config) { c.Kills = -1 }},
		{"no fault", func(c *Config) { c.Kills = 0 }},
		{"--freeze-for", func(c *Config) { c.FreezeFor = 0 }},
		{"--pause", func(c *Config) { c.Pause = -time.Second }},
		{"--coordinator-kill", func(c *Config) { c.CoordinatorKills = -1 }},
		{"--away-for", func(c *Config) { c.AwayFor = -time.Second }},
		{"--limit", func(c *Config) { c.Limit = time.Hour }},
	} {
		bad := good
		c.bad(&bad)
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), c.flag) {
			t.Errorf("%+v: error %v, want one that names %s", bad, err, c.flag)
		}
	}
}

func TestReport(t *testing.T) {
	faults := []Outcome{
		{Fault: Kill, Node: "a", DetectMS: ms(100), ResumeMS: ms(400), Recovered: true},
		{Fault: Kill, Node: "b", DetectMS: ms(300), ResumeMS: ms(500), Recovered: true},
	}
	r := newReport("r1", 5, 2, faults)
	if diff := cmp.Diff(map[Kind]Median{Kill: {2, 200, 450}}, r.Medians); diff != "" || !r.Recovered {
		t.Errorf("recovered %v, medians (-want +got):\n%s", r.Recovered, diff)
	}
	if newReport("r1", 5, 3, faults).Recovered {
		t.Error("a fault that was never done counts as recovered")
	}
	faults[1].Recovered, faults[1].Note = false, "no recovery within 1m0s"
	r = newReport("r1", 5, 2, faults)
	var b strings.Builder
	if err := r.Print(&b); err != nil || r.Recovered || !strings.Contains(b.String(), "NO: no recovery within 1m0s") || !strings.Contains(b.String(), "recovered from 1 of 2 faults; seed 5") {
		t.Errorf("recovered %v, %v, table:\n%s", r.Recovered, err, b.String())
	}
}
