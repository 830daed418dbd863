package rendezvous

// Holding is what a member said it has in memory when its part in a generation ended.
type Holding struct {
	Loaded  bool
	Applied int   // Steps in the parameters.
	Sums    bool  // Of the last of these, the complete sums are there too.
	Partial []int // Micro-batches of the next step that are in the partial sums.
}

// Source says where a rank gets the state of the generation's first step.
type Source string

// The sources.
const (
	Keep      Source = "keep"  // It is in memory.
	TakeSums  Source = "sums"  // The step before is in memory; the donor hands the complete sums over.
	LoadState Source = "state" // From what the donor handed over, or the last checkpoint.
)

// Event is what happened: one of the types below.
type Event interface{ event() }

// Joined reports a worker that is ready for jobs. It has nothing in memory, unless a coordinator
// before this one had it train.
type Joined struct {
	Node    string
	Holding Holding
}

// Prepared reports that a member is ready to be a rank without delay, or why it cannot be one.
type Prepared struct {
	Node      string
	Following bool // It has the state of the ring, and applies each step of it.
	Err       error
}

// Left reports that a member is gone, whether it said so or not.
type Left struct{ Node string }

// Leaving reports that a member wants to go, once its work is handed over.
type Leaving struct{ Node string }

// TrainingReady reports that everything the first generation needs is prepared.
type TrainingReady struct{}

// Progressed reports that a generation has committed steps up to Step.
type Progressed struct {
	Generation uint64
	Step       int
	Digest     string    // Of the state after Step steps.
	Seconds    []float64 // Time of one micro-batch, by rank; 0 is unknown.
}

// Checkpointed reports that the checkpoint of Step is kept.
type Checkpointed struct{ Step int }

// RankDone reports that a rank's part in a generation has ended.
type RankDone struct {
	Generation uint64
	Node       string
	Holding    Holding
	Err        error // Why it failed; nil when complete, paused or called back.
}

// Differed reports that ranks of a generation hold different states, as one of them found; its
// RankDone follows.
type Differed struct {
	Generation uint64
	Step       int       // Steps in the states.
	Wrong      []Suspect // Known to be wrong.
	Undecided  []Suspect // Some of these are, and there is no majority.
	Gradient   string    // The micro-batch whose gradient differs, not the state; "" otherwise.
}

// Suspect is a member whose state differs.
type Suspect struct {
	Node   string
	Rank   int    // In the generation where that was found.
	Digest string // Of its state.
	Want   string // Of what is right; "" while that is not known.
	Parts  string // Which parts of the state differ.
}

// Unreached reports that a member did not say that it took an order: it may have, or not.
type Unreached struct {
	Node string
	Err  error
}

// Donated reports that a donor has handed over what it was asked for, or why it could not.
type Donated struct {
	Node    string
	Holding *Holding // What it has in memory now, when it said so.
	Err     error
}

// StopRequested asks to end at the next step boundary.
type StopRequested struct{}

func (Joined) event()        {}
func (Prepared) event()      {}
func (Left) event()          {}
func (Leaving) event()       {}
func (TrainingReady) event() {}
func (Progressed) event()    {}
func (Checkpointed) event()  {}
func (RankDone) event()      {}
func (Differed) event()      {}
func (Unreached) event()     {}
func (Donated) event()       {}
func (StopRequested) event() {}

// Effect is what the shell must do: one of the types below.
type Effect interface{ effect() }

// Prepare has a member get ready to be a rank, while the others go on. Prepared answers it.
type Prepare struct{ Node string }

// Donate has a member hand over its state of Step, the complete sums of the step before, or both.
// Donated answers it.
type Donate struct {
	Node        string
	Step        int
	State, Sums bool
}

// Form starts a generation at FirstStep.
type Form struct {
	Generation uint64
	Nodes      []string // By rank.
	FirstStep  int
	LastStep   int       // It is complete once so many steps are applied.
	Sources    []Source  // By rank.
	Checkpoint bool      // LoadState is from the last checkpoint, which is of FirstStep.
	Save       bool      // The checkpoint of FirstStep is due, and was lost.
	First      [][]int   // Micro-batches of the first step, by rank.
	Shares     [][]int   // Of the next ones.
	Seconds    []float64 // Time of one micro-batch by rank as it was known; 0 is unknown.
}

// Pause asks the generation to end at the next step boundary.
type Pause struct {
	Generation uint64
	Save       bool // With a checkpoint.
}

// CallBack cancels the generation at the nodes still in it. RankDone answers it, also from a node that
// never began.
type CallBack struct {
	Generation uint64
	Nodes      []string
}

// PutOut tells that a member's state was wrong after Step steps. It has been put out, and comes back
// as a joiner unless Final.
type PutOut struct {
	Suspect
	Gradient string // What it computed wrongly; "" when its state was wrong.
	Step     int
	Final    bool // It was wrong shortly before, too: it is no rank any more.
}

// Undecided tells that the states of members differ after Step steps, and that no majority tells
// which is right: the steps since the last checkpoint are computed again, which will.
type Undecided struct {
	Gradient string // As in PutOut; that step is computed again.
	Step     int
	Suspects []Suspect
}

// Release lets a member go that wanted to leave.
type Release struct{ Node string }

// Wait tells how many workers are there and how many are wanted.
type Wait struct{ Have, Want int }

// Finish ends training: complete, stopped on request, or with an error.
type Finish struct {
	Complete bool
	Err      error
}

func (Prepare) effect()   {}
func (Donate) effect()    {}
func (Form) effect()      {}
func (Pause) effect()     {}
func (CallBack) effect()  {}
func (Release) effect()   {}
func (PutOut) effect()    {}
func (Undecided) effect() {}
func (Wait) effect()      {}
func (Finish) effect()    {}
