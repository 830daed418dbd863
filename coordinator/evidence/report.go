package evidence

// Report is report.json. Win rate and its bounds are null when there was no evaluation, with the
// reason in Notes.
type Report struct {
	RunID            string   `json:"run_id"`
	Version          string   `json:"version"`
	Complete         bool     `json:"complete"` // False when stopped on request.
	Steps            int      `json:"steps"`
	Items            int      `json:"items"`
	WorldSizes       []int    `json:"world_sizes"`
	Generations      uint64   `json:"generations"`
	CheckpointSHA256 string   `json:"checkpoint_sha256"`
	KernelSet        string   `json:"kernel_set"`
	Loss             float64  `json:"loss"`
	LogOdds          float64  `json:"log_odds"`
	WinnerMSE        float64  `json:"winner_mse"`
	LoserMSE         float64  `json:"loser_mse"`
	WinRate          *float64 `json:"win_rate"`
	WinRateLow       *float64 `json:"win_rate_low"`
	WinRateHigh      *float64 `json:"win_rate_high"`
	Comparisons      int      `json:"comparisons"`
	ComparisonTies   int      `json:"comparison_ties"`
	Judge            string   `json:"judge,omitempty"`
	Pairs            int      `json:"pairs"`
	Ties             int      `json:"ties"`
	RejectedRows     int      `json:"rejected_rows"`
	Seconds          float64  `json:"seconds"`
	TrainingSeconds  float64  `json:"training_seconds"`
	Checkpoint       string   `json:"checkpoint"`
	Released         *bool    `json:"released,omitempty"` // By the gate, if there is one; its verdict is gate.json.
	Grid             string   `json:"grid,omitempty"`
	Notes            []string `json:"notes"`

	Evaluation *Evaluation `json:"evaluation,omitempty"`
}

// Set fills in the evaluation, the tuned model against the base.
func (r *Report) Set(e Evaluation) {
	r.Evaluation, r.Judge, r.Comparisons, r.ComparisonTies = &e, e.Judge, e.Comparisons, e.Ties
	r.WinRate, r.WinRateLow, r.WinRateHigh = e.WinRate, e.WinRateLow, e.WinRateHigh
}
