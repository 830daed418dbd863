package scale

import (
	"fmt"
	"strings"
	"time"
)

// Sizes and Links are the rows and columns of the page.
var (
	Sizes = []int{2, 4, 8, 16, 64, 256, 1000, 4000, 10000}
	Links = []float64{1e8, 1e9, 1e10, 1e11}
)

// Example is the page's job: the UNet of Stable Diffusion 1.5 (859.5 M parameters), sums as int32, on workers
// that need 4 s for a micro-batch, each with 8 of them: a few accelerators' or a large server's pace.
func Example(n int, link float64) Job {
	const parameters = 859.5e6
	return Job{
		MicroBatch: 4 * time.Second, MicroBatches: 8 * n, Update: 500 * time.Millisecond,
		GradientBytes: 4 * parameters, StateBytes: 12 * parameters, Link: link, Latency: 100 * time.Microsecond, Shards: 100,
	}
}

func tables() map[string]string {
	return map[string]string{"step": stepTable(), "parts": partsTable(), "loss": lossTable(), "traffic": trafficTable()}
}

// table writes rows as Markdown.
func table(head []string, rows [][]string) string {
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(head)
	rule := make([]string, len(head))
	for i := range rule {
		rule[i] = "---:"
	}
	line(rule)
	for _, r := range rows {
		line(r)
	}
	return b.String()
}

func linkName(link float64) string {
	if link < 1e9 {
		return fmt.Sprintf("%g Mbit/s", link/1e6)
	}
	return fmt.Sprintf("%g Gbit/s", link/1e9)
}

// stepTable is the step time in one ring, and in the best number of sites.
func stepTable() string {
	head := []string{"workers"}
	for _, link := range Links {
		head = append(head, linkName(link), "in sites")
	}
	var rows [][]string
	for _, n := range Sizes {
		row := []string{fmt.Sprint(n)}
		for _, link := range Links {
			flat := Measured.Flat(Example(n, link), n)
			sites, s := Measured.Sites(Example(n, link), n)
			row = append(row, fmt.Sprintf("%.1f s", flat.Total), fmt.Sprintf("%.1f s (%d)", sites.Total, s))
		}
		rows = append(rows, row)
	}
	return table(head, rows)
}

// partsTable is what a step consists of, at 10 Gbit/s.
func partsTable() string {
	var rows [][]string
	for _, n := range Sizes {
		s := Measured.Flat(Example(n, 1e10), n)
		hops := 2 * float64(n-1) * Measured.hop(Example(n, 1e10))
		rows = append(rows, []string{fmt.Sprint(n), seconds(s.Compute), seconds(s.Ring), seconds(hops), seconds(s.Exposed), seconds(s.Words), fmt.Sprintf("%.0f %%", 100*s.Compute/s.Total)})
	}
	return table([]string{"workers", "compute", "ring", "of it hops", "not hidden", "words", "computing"}, rows)
}

// lossTable is what churn costs, at 10 Gbit/s.
func lossTable() string {
	var rows [][]string
	for _, n := range Sizes {
		j := Example(n, 1e10)
		l := Measured.Lost(j, n)
		rows = append(rows, []string{
			fmt.Sprint(n), seconds(l.Killed), seconds(l.Frozen), seconds(l.InHand), seconds(l.Form), seconds(l.Again), seconds(Measured.Join(j, n)),
			fmt.Sprintf("%.0f %%", 100*Measured.Churn(j, n, time.Duration(float64(30*24*time.Hour)/float64(n)))),
		})
	}
	return table([]string{"workers", "killed: noticed", "frozen: noticed", "in hand", "next ring", "again", "a join", "left at one loss per worker and month"}, rows)
}

// trafficTable is what the coordinator, the ledger and the gossip handle.
func trafficTable() string {
	var rows [][]string
	for _, n := range Sizes {
		j := Example(n, 1e10)
		rows = append(rows, []string{
			fmt.Sprint(n), "1", size(Measured.LedgerBytes(j, n)), size(Measured.OrderBytes(j, n)), size(Measured.OrderBytes(j, n) * float64(n)),
			fmt.Sprint(3 * n), size(Measured.GossipBytes(n)) + "/s", fmt.Sprint(n - 1),
		})
	}
	return table([]string{"workers", "reports per step", "a report, a ledger line", "an order", "orders of a ring", "messages of a ring's end", "gossip of a node", "routes of a node"}, rows)
}

func seconds(s float64) string {
	if s < 0.995 {
		return fmt.Sprintf("%.0f ms", 1000*s)
	}
	return fmt.Sprintf("%.1f s", s)
}

func size(bytes float64) string {
	switch {
	case bytes < 1e3:
		return fmt.Sprintf("%.0f B", bytes)
	case bytes < 1e6:
		return fmt.Sprintf("%.0f KB", bytes/1e3)
	case bytes < 1e9:
		return fmt.Sprintf("%.0f MB", bytes/1e6)
	}
	return fmt.Sprintf("%.0f GB", bytes/1e9)
}
