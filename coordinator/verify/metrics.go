package verify

import "encoding/json"

const metricsFile = "metrics.jsonl"

// metrics is the state of comparing metrics.jsonl with the ledger.
type metrics struct {
	problems
	ledger *ledger
	last   int
	rates  map[int]float64 // Learning rates by step.
}

// readMetrics compares the metrics of the run in dir with its ledger.
func readMetrics(dir string, l *ledger) (*metrics, error) {
	m := &metrics{problems: problems{file: metricsFile}, ledger: l, rates: map[int]float64{}}
	if err := eachLine(dir, metricsFile, m.line); err != nil {
		return nil, err
	}
	if m.last < l.last {
		m.add(0, "ends at step %d, %s at step %d", m.last, ledgerFile, l.last)
	}
	return m, nil
}

// line compares one line with the ledger's of the same step.
func (m *metrics) line(number int, data []byte, whole bool) {
	if !whole {
		m.add(number, "%s", cutOff)
		return
	}
	var line struct {
		step
		LearningRate float64 `json:"learning_rate"`
	}
	if err := json.Unmarshal(data, &line); err != nil {
		m.add(number, "is no line of metrics: %v", err)
		m.last++
		return
	}
	if line.Step != m.last+1 {
		m.add(number, "step is %d, want %d: steps count from 1 without gap or repeat", line.Step, m.last+1)
	}
	m.last = line.Step
	m.rates[line.Step] = line.LearningRate
	want, there := m.ledger.steps[line.Step]
	switch {
	case there:
		m.compare(number, line.step, want)
	case line.Step == m.ledger.last+1: // A crash fell between the two files, which are written in this order.
	default:
		m.add(number, "is of step %d, which %s does not have: lines of the ledger are gone", line.Step, ledgerFile)
	}
}

func (m *metrics) compare(number int, got, want step) {
	for _, f := range []struct {
		key       string
		got, want any
	}{
		{"epoch", got.Epoch, want.Epoch}, {"generation", got.Generation, want.Generation}, {"items", got.Items, want.Items}, {"skipped", got.Skipped, want.Skipped},
		{"sums_sha256", got.SumsSHA256, want.SumsSHA256}, {"params_sha256", got.ParamsSHA256, want.ParamsSHA256},
	} {
		if f.got != f.want {
			m.add(number, "%s is %v, line %d of %s has %v", f.key, f.got, want.Line, ledgerFile, f.want)
		}
	}
}
