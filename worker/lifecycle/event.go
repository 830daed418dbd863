package lifecycle

// Event is what happened: one of the types below.
type Event interface{ event() }

// Started begins the generation.
type Started struct{}

// Synced reports that parameters and optimizer state are those of FirstStep.
type Synced struct{}

// Computed reports that the gradient of a micro-batch is in the partial sums, all of it.
type Computed struct{ Step, Attempt, MicroBatch int }

// Dropped reports that the compute of a micro-batch ended without its gradient; the generation is
// over for this rank.
type Dropped struct {
	Step, Attempt, MicroBatch int

	Err  error
	Torn bool // The partial sums hold part of it.
}

// Answered reports which micro-batch another rank gave to this one; None is a refusal by all asked.
type Answered struct{ Step, Attempt, MicroBatch int }

// Claim is another rank's wish for a micro-batch that this one has not begun. Seconds count from now.
type Claim struct {
	Step, Attempt int
	ID, Rank      int     // Of the claim, and whose it is; for its answer.
	Done          float64 // Seconds until the claimant would have computed one more.
	Rest          float64 // Seconds that this rank needs for the micro-batch under way,
	Each          float64 // and for each of the others.
}

// Exchanged reports what the ranks said of themselves before the reduction.
type Exchanged struct {
	Step, Attempt int
	Shares        [][]int   // Micro-batches that the sums of each rank hold, by rank.
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

// Committed reports that the step is on its way to the coordinator, or that another rank tells it.
type Committed struct{ Step int }

// Saved reports that the checkpoint after Step steps is kept, to be handed over.
type Saved struct{ Step int }

// Failed reports that another effect than a Compute failed; the generation is over for this rank,
// once the micro-batch under way has ended.
type Failed struct {
	Err  error
	Lost bool // The state in memory is not to be trusted any more.
	Void bool // Nor are the partial sums.
}

func (Started) event()   {}
func (Synced) event()    {}
func (Computed) event()  {}
func (Dropped) event()   {}
func (Answered) event()  {}
func (Claim) event()     {}
func (Exchanged) event() {}
func (Reduced) event()   {}
func (Applied) event()   {}
func (Confirmed) event() {}
func (Committed) event() {}
func (Saved) event()     {}
func (Failed) event()    {}

// Effect is what the shell must do next: one of the types below. All but Clear, Recalibrate,
// Revert, Give and Finish are answered by an event. A Compute goes on while Ask, Exchange and
// Reduce do; everything else happens alone.
type Effect interface{ effect() }

// Sync gets the state of FirstStep from Source.
type Sync struct{ Source Source }

// Clear empties the partial sums.
type Clear struct{}

// Compute adds the gradient of one micro-batch to the partial sums.
type Compute struct{ Step, Attempt, MicroBatch int }

// Ask asks the ranks, one after the other, for a micro-batch that they have not begun, until one gives it.
type Ask struct {
	Step, Attempt int
	Ranks         []int
}

// Give answers a claim: with a micro-batch, or None.
type Give struct{ ID, Rank, MicroBatch int }

// Exchange tells all ranks which micro-batches the sums of this one hold, counting the one under
// way, and hears theirs.
type Exchange struct {
	Step, Attempt int
	MicroBatches  []int
}

// Reduce sends the partial sums round the ring, each part as soon as the micro-batch under way has
// added to it. The complete sums of the step before go.
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

// Commit reports that Step, the number of steps applied, is committed. Nobody waits for the coordinator.
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
func (Ask) effect()         {}
func (Give) effect()        {}
func (Exchange) effect()    {}
func (Reduce) effect()      {}
func (Recalibrate) effect() {}
func (Revert) effect()      {}
func (Apply) effect()       {}
func (Confirm) effect()     {}
func (Commit) effect()      {}
func (Save) effect()        {}
func (Finish) effect()      {}
