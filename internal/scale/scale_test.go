package scale

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"testing"
	"time"

	"yohaku/internal/sim"
)

var (
	update  = flag.Bool("update", false, "write the tables of docs/scale.md")
	workers = flag.Int("scale.workers", 40, "workers of the simulated cluster with churn")
)

const page = "../../docs/scale.md"

// TestPage: the tables of docs/scale.md are the model's.
func TestPage(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	want := text
	for name, table := range tables() {
		block := regexp.MustCompile(`(?s)(<!-- table ` + name + ` -->\n).*?(<!-- end -->)`)
		if !block.Match(want) {
			t.Fatalf("docs/scale.md has no table %q", name)
		}
		want = block.ReplaceAll(want, append(append([]byte("${1}\n"), table...), "\n${2}"...))
	}
	if bytes.Equal(text, want) {
		return
	}
	if *update {
		if err := os.WriteFile(page, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Error("the tables of docs/scale.md are not the model's: go test ./internal/scale -run Page -update")
}

// TestChurn: simulated workers that die and join take as long as the model says, for the ranks that took part in each
// step.
func TestChurn(t *testing.T) {
	const steps, mb = 30, 2 * time.Second
	n := *workers
	job := Example(n, 1e10)
	job.MicroBatch, job.Update = mb, 0
	operations := func(ranks int) time.Duration {
		s := Measured.Flat(job, ranks)
		return time.Duration((s.Words + s.Exposed) / 3 * float64(time.Second))
	}
	result := sim.Run(sim.Config{
		Seed: 1, Workers: n, Steps: steps, MicroBatches: job.MicroBatches, MicroBatchTime: mb, OperationTime: operations,
		Kills: churn, Joins: churn, Slows: 1, SaveEvery: 10,
	})
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	got := (result.Duration - result.Began).Seconds()
	want := 0.0
	for _, world := range result.Worlds {
		s := Measured.Flat(job, world)
		want += s.Total + 0.08*s.Compute // A micro-batch takes up to a tenth longer there, and the last of all ranks counts.
	}
	lost := Measured.Lost(job, n)
	want += churn * (lost.InHand + lost.Again + simForm + simJoin)
	t.Logf("%d workers, %d killed and %d joined within %d steps: %.0f s simulated, %.0f s by the model (%+.0f %%); %d generations, %d step reports, %d other reports, %d orders",
		n, churn, churn, len(result.Worlds), got, want, 100*(got/want-1), result.Generations, result.StepReports, result.Reports, result.Orders)
	if got < 0.85*want || got > 1.15*want {
		t.Errorf("%.0f s simulated, %.0f s by the model: more than 15 %% apart", got, want)
	}
}

// What package sim's network and workers take, in seconds: three messages to form, and a donation of up to 0.3 s
// and a sync of up to 0.4 s.
const (
	churn   = 10
	simForm = 0.06
	simJoin = 0.45
)

// TestOneRingStopsPaying: the figures that the page names.
func TestOneRingStopsPaying(t *testing.T) {
	for _, link := range Links {
		for _, n := range Sizes {
			flat := Measured.Flat(Example(n, link), n)
			sites, s := Measured.Sites(Example(n, link), n)
			if sites.Total > flat.Total*1.0001 {
				t.Errorf("%d workers at %g bit/s: %.2f s in %d sites, %.2f s in one, though one site may be the best", n, link, sites.Total, s, flat.Total)
			}
		}
	}
	if got := fmt.Sprint(Measured.Flat(Example(1, 1e9), 1).Total); got != fmt.Sprint(Measured.Flat(Example(1, 1e11), 1).Total) {
		t.Error("a worker alone depends on its link")
	}
}
