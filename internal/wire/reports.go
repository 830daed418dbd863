package wire

// Report is what a worker sends to the coordinator. Exactly one part is set.
type Report struct {
	Node       string       `json:"node"`
	JobID      string       `json:"job_id"`
	Steps      []StepReport `json:"steps,omitempty"` // Committed, in order.
	Held       []StepReport `json:"held,omitempty"`  // Applied, and perhaps not committed, in order.
	Checkpoint *TrainState  `json:"checkpoint,omitempty"`
	Done       *Done        `json:"done,omitempty"`
	Leaving    bool         `json:"leaving,omitempty"` // The worker wants to go once its work is handed over.
}

// The codes of refusals.
const (
	// CodeUnknownNode refuses a report from a worker that was given up: it says hello again, and
	// holds nothing.
	CodeUnknownNode = "unknown_node"
	// CodeLater refuses what the coordinator cannot take yet: the worker tries again.
	CodeLater = "later"
	// CodeFenced refuses an order of a coordinator that another one has replaced.
	CodeFenced = "fenced"
)

// StepReport tells of one step. Rank 0 tells of it once it is committed; the figures are the same on
// all ranks, so any of them can.
type StepReport struct {
	Epoch          uint64  `json:"epoch"`
	Generation     uint64  `json:"generation"`
	Step           int     `json:"step"` // 1 after the first update.
	Loss           float64 `json:"loss"`
	LossMSE        float64 `json:"loss_mse"`
	LossRatio      float64 `json:"loss_ratio"`
	WinnerMSE      float64 `json:"winner_mse"`
	LoserMSE       float64 `json:"loser_mse"`
	LogOdds        float64 `json:"log_odds"`
	GradNorm       float64 `json:"grad_norm"`
	LearningRate   float64 `json:"learning_rate"`
	Items          int     `json:"items"`
	Recomputed     int     `json:"recomputed"` // Attempts voided by an exponent overflow.
	Skipped        bool    `json:"skipped"`    // A non-finite gradient, skipped by policy.
	NonFinite      string  `json:"nonfinite,omitempty"`
	DurationMS     float64 `json:"duration_ms"`
	RingMS         float64 `json:"ring_ms"`         // From the first bucket on its way to the complete sums.
	RingExposedMS  float64 `json:"ring_exposed_ms"` // Of that, after the end of the last backward pass.
	RingBytes      int64   `json:"ring_bytes"`
	SumsSHA256     string  `json:"sums_sha256"`
	ParamsSHA256   string  `json:"params_sha256"`
	Replica        string  `json:"replica"`          // Digest of the whole state; see Suspect.
	ItemsPerSecond float64 `json:"items_per_second"` // Of the whole ring.

	Nodes   []string  `json:"nodes"`               // By rank.
	Shares  [][]int   `json:"shares"`              // Micro-batches by rank.
	Seconds []float64 `json:"micro_batch_seconds"` // Time of one micro-batch, by rank, smoothed; 0 is unknown.
}

// Holding is what a rank has in memory.
type Holding struct {
	Loaded  bool  `json:"loaded"`
	Applied int   `json:"applied"`           // Steps in the parameters.
	Sums    bool  `json:"sums,omitempty"`    // Of the last of these, the complete sums are there too.
	Partial []int `json:"partial,omitempty"` // Micro-batches of the next step that are in the partial sums.
}

// Done ends a job.
type Done struct {
	Error  string         `json:"error,omitempty"`
	Shard  *Ref           `json:"shard,omitempty"`  // Of an encode job.
	Images []SampleImage  `json:"images,omitempty"` // Of a sample job, in the order of its requests.
	Scores []PictureScore `json:"scores,omitempty"` // Of a score job, in the order of its pictures.
	Step   int            `json:"step,omitempty"`   // Of a train job: the last committed step.
	State  *TrainState    `json:"state,omitempty"`  // Of a donate job.
	Sums   *Ref           `json:"sums,omitempty"`   // Of a donate job.

	Following bool `json:"following,omitempty"` // Of a prepare job: it has the ring's state, and follows it.

	Anew    bool        `json:"anew,omitempty"`    // Of a train job: what is held was loaded in it.
	Holding *Holding    `json:"holding,omitempty"` // Of a train job.
	Differ  *Difference `json:"differ,omitempty"`  // Of a train or donate job that ended because replicas differ.
}

// Difference tells that ranks hold different states after the same number of steps.
type Difference struct {
	Epoch      uint64 `json:"epoch"` // Of the generation in which it was found,
	Generation uint64 `json:"generation"`

	Steps     int       `json:"steps"`
	Wrong     []Suspect `json:"wrong,omitempty"`     // Known to be wrong.
	Undecided []Suspect `json:"undecided,omitempty"` // Some of these are, and there is no majority.
	Want      string    `json:"want,omitempty"`      // The digest of what is right, where it is known.
	Gradient  string    `json:"gradient,omitempty"`  // The micro-batch whose gradient differs, with its items; "" for a state.
}

// Suspect is a rank whose state differs.
type Suspect struct {
	Node   string `json:"node"`
	Rank   int    `json:"rank"`
	Digest string `json:"digest"`
	Parts  string `json:"parts,omitempty"` // Which parts of the state differ.
}

// SampleImage is one picture, as PNG.
type SampleImage struct {
	Prompt string `json:"prompt"`
	Seed   uint64 `json:"seed"`
	Ref    Ref    `json:"ref"`
}

// PictureScore is what a score job says of a picture.
type PictureScore struct {
	Score       float64   `json:"score"`                 // The judge's, higher is better.
	Consistency *float64  `json:"consistency,omitempty"` // Cosine of prompt and picture, where there is an encoder.
	Features    []float32 `json:"features"`              // Pictures compare by their Euclidean distance.
	Look        Look      `json:"look"`
}

// Look are a picture's statistics; see package dataset/look.
type Look struct {
	Saturation float64    `json:"saturation"`
	Clipping   float64    `json:"clipping"`
	Mean       [3]float64 `json:"mean"`
	Deviation  [3]float64 `json:"deviation"`
}
