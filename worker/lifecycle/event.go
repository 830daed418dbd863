package lifecycle

// Event is what happened: one of the types below.
type Event interface{ event() }

// Started begins the generation.
type Started struct{}

// Synced reports that parameters and optimizer state are those of FirstStep.
type Synced struct{}

// Computed reports that the gradient of a micro-batch is in the partial sums, all of it.
type Computed struct{ Step, Attempt, MicroBatch int }

// Exchanged reports what the ranks said of themselves before the reduction.
type Exchanged struct {
	Step, Attempt int
	Shares        [][]int   // Micro-batches in the partial sums, by rank.
	Seconds       []float64 // Time of one micro-batch, by rank; 0 is unknown.
	Pause         bool      // A rank was asked to pause: end after this step.
	Save          bool      // With a checkpoint.
}

// Reduced reports that this rank has the complete sums of the attempt.
type Reduced struct {
	Step, Attempt int
	Overflowed    bool // A block needed a larger exponent: the attempt is void.
	NonFinite     bool // Some gradient was not finite.
}

// Applied reports that the update of Step is in the parameters.
type Applied struct{ Step int }

// Confirmed reports that every rank of the generation has the sums of Step.
type Confirmed struct{ Step int }

// Committed reports that the coordinator has the step, or that another rank tells it.
type Committed struct{ Step int }

// Saved reports that the checkpoint after Step steps was handed over.
type Saved struct{ Step int }

// Failed reports that an effect failed; the generation is over for this rank.
type Failed struct {
	Err  error
	Torn bool // The partial sums hold part of a micro-batch.
}

func (Started) event()   {}
func (Synced) event()    {}
func (Computed) event()  {}
func (Exchanged) event() {}
func (Reduced) event()   {}
func (Applied) event()   {}
func (Confirmed) event() {}
func (Committed) event() {}
func (Saved) event()     {}
func (Failed) event()    {}

// Effect is what the shell must do next: one of the types below. All but Clear, Recalibrate,
// Revert and Finish are answered by an event.
type Effect interface{ effect() }

// Sync gets the state of FirstStep from Source.
type Sync struct{ Source Source }

// Clear empties the partial sums.
type Clear struct{}

// Compute adds the gradient of one micro-batch to the partial sums.
type Compute struct{ Step, Attempt, MicroBatch int }

// Exchange tells all ranks which micro-batches the partial sums of this one hold, and hears theirs.
type Exchange struct {
	Step, Attempt int
	MicroBatches  []int
}

// Reduce sends the partial sums round the ring. The complete sums of the step before go.
type Reduce struct{ Step, Attempt int }

// Recalibrate raises the exponents to what the last reduction found they need.
type Recalibrate struct{}

// Revert takes the exponents back to those at the beginning of the step.
type Revert struct{}

// Apply updates the parameters by the complete sums of Step, or skips the update.
type Apply struct {
	Step, Attempt int
	Skip          bool
}

// Confirm tells all ranks that this one has the complete sums of Step, and waits to hear it of all.
type Confirm struct{ Step, Attempt int }

// Commit reports that Step, the number of steps applied, is committed.
type Commit struct{ Step int }

// Save hands over a checkpoint of the state after Step steps.
type Save struct{ Step int }

// Finish ends the generation at this rank with Step steps applied.
type Finish struct {
	Step   int
	Paused bool
	Err    error
}

func (Sync) effect()        {}
func (Clear) effect()       {}
func (Compute) effect()     {}
func (Exchange) effect()    {}
func (Reduce) effect()      {}
func (Recalibrate) effect() {}
func (Revert) effect()      {}
func (Apply) effect()       {}
func (Confirm) effect()     {}
func (Commit) effect()      {}
func (Save) effect()        {}
func (Finish) effect()      {}
