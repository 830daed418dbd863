package wire

import (
	"fmt"
	"strings"
)

// Hello introduces a worker. KernelSet names the kernels that give its bits. A worker that another
// coordinator had train before brings along what it holds, and the generation that it was in.
type Hello struct {
	Protocol  int    `json:"protocol"`
	Node      string `json:"node"`
	Version   string `json:"version"`
	PID       int    `json:"pid"`
	Host      string `json:"host"`
	Device    string `json:"device"`
	KernelSet string `json:"kernel_set"`
	Threads   int    `json:"threads"`
	// AllowChaos tells that the worker takes orders to hurt itself; see Chaos.
	AllowChaos bool `json:"allow_chaos,omitempty"`

	Holding    Holding `json:"holding"`
	Epoch      uint64  `json:"epoch,omitempty"` // Of the last generation that it was in.
	Generation uint64  `json:"generation,omitempty"`

	// Serial counts the worker's hellos: one with a higher number is no repetition, and its worker has left what it had in hand.
	Serial uint64 `json:"serial"`

	Differ *Difference `json:"differ,omitempty"` // The last that this worker found, unless a ring was made since by a coordinator that knew.
}

// Standing answers Order.Ask.
type Standing struct {
	Node        string   `json:"node"`
	Coordinator string   `json:"coordinator"` // Whom the worker belongs to.
	Alive       bool     `json:"alive"`       // It has a route to that one.
	Epoch       uint64   `json:"epoch"`       // The highest that it accepted.
	Generation  uint64   `json:"generation"`
	Ranks       []string `json:"ranks,omitempty"` // Of the last generation that it was in.
}

// Ref names a blob by content.
type Ref struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// ModelFile is one file of a diffusers folder.
type ModelFile struct {
	Path string `json:"path"` // Slash-separated, relative to the folder.
	Ref  Ref    `json:"ref"`
}

// Model is a diffusers pipeline folder as a list of blobs.
type Model struct {
	Files []ModelFile `json:"files"`
}

// With returns the model with files laid over its own: the way a checkpoint's UNet replaces the
// base's, or an adapter is put beside it. Whole component folders are replaced, so no stale shard
// stays behind.
func (m Model) With(files []ModelFile) Model {
	replaced := map[string]bool{}
	for _, f := range files {
		replaced[f.place()] = true
	}
	var out Model
	for _, f := range m.Files {
		if !replaced[f.place()] {
			out.Files = append(out.Files, f)
		}
	}
	out.Files = append(out.Files, files...)
	return out
}

// place is what a file belongs to: its component's folder, or itself where it is in none.
func (f ModelFile) place() string {
	component, _, _ := strings.Cut(f.Path, "/")
	return component
}

// JobKind says what a worker is to do.
type JobKind string

// The kinds of jobs.
const (
	JobEncode JobKind = "encode"
	JobTrain  JobKind = "train"
	JobSample JobKind = "sample"
	JobScore  JobKind = "score"
	// JobPrepare gets everything of a train job ready but the state; its Train has no generation.
	JobPrepare JobKind = "prepare"
	// JobDonate hands what a rank has in memory over to others.
	JobDonate JobKind = "donate"
)

// Job is an order to one worker. Exactly the field of its kind is set.
type Job struct {
	ID     string     `json:"id"`
	Kind   JobKind    `json:"kind"`
	Encode *EncodeJob `json:"encode,omitempty"`
	Train  *TrainJob  `json:"train,omitempty"`
	Sample *SampleJob `json:"sample,omitempty"`
	Score  *ScoreJob  `json:"score,omitempty"`
	Donate *DonateJob `json:"donate,omitempty"`
}

// Validate checks that the job is complete.
func (j Job) Validate() error {
	ok := j.ID != "" && (j.Kind == JobEncode && j.Encode != nil || j.Kind == JobSample && j.Sample != nil || j.Kind == JobScore && j.Score != nil ||
		j.Kind == JobDonate && j.Donate != nil || j.Kind == JobPrepare && j.Train != nil || j.Kind == JobTrain && j.Train != nil)
	if t := j.Train; ok && j.Kind == JobTrain {
		world := len(t.Nodes)
		ok = t.Rank >= 0 && t.Rank < world && len(t.First) == world && len(t.Shares) == world && t.FirstStep >= 0 && t.FirstStep <= t.Until
	}
	if !ok {
		return fmt.Errorf("%w: job %q of kind %q has no such part", ErrMessage, j.ID, j.Kind)
	}
	return nil
}

// Order is what a coordinator sends to one worker: a question, a job to start, a job to cancel, the
// wish that training end at the next step boundary, a change of trust, or the order to leave. A worker
// takes none of a coordinator that a higher epoch has replaced.
type Order struct {
	Coordinator string `json:"coordinator"` // Its node name.
	Epoch       uint64 `json:"epoch"`

	Ask    bool   `json:"ask,omitempty"` // Say where you stand: the answer is a Standing. Any coordinator may ask.
	Job    *Job   `json:"job,omitempty"`
	Cancel string `json:"cancel,omitempty"` // A job's id. Done answers it, even if the job never came.
	// Generation is that of the train job to cancel, which is not to begin any more.
	Generation uint64 `json:"generation,omitempty"`
	Pause      string `json:"pause,omitempty"`    // A train job's id: end at the next step boundary.
	Save       bool   `json:"save,omitempty"`     // With Pause: hand a checkpoint over there.
	Hello      bool   `json:"hello,omitempty"`    // Introduce yourself to the sender, with what you hold.
	Forget     bool   `json:"forget,omitempty"`   // With Hello: you were given up, and hold nothing.
	Recorded   int    `json:"recorded,omitempty"` // With Hello: the last step that the sender has written down.
	Leave      bool   `json:"leave,omitempty"`
	Chaos      *Chaos `json:"chaos,omitempty"`
	Revoked    bool   `json:"revoked,omitempty"` // Your certificate was revoked: end.
	Trust      *Trust `json:"trust,omitempty"`
}

// Trust is what changes in whom and what the nodes of a cluster trust. Its keys are secrets.
type Trust struct {
	Serial     uint64   `json:"serial"`      // Grows with every change: an older word counts no more.
	GossipKeys [][]byte `json:"gossip_keys"` // The first encrypts, all decrypt.
	Revoked    []string `json:"revoked"`     // Names of nodes whose certificates count no more.
}

// EncodeJob asks for the VAE moments and text embeddings of a batch of pairs.
type EncodeJob struct {
	Model       Model  `json:"model"`
	Batch       Ref    `json:"batch"` // See WriteBatch.
	Key         string `json:"key"`   // The shard's content key.
	Resolution  int    `json:"resolution"`
	CenterCrop  bool   `json:"center_crop"`
	RandomFlip  bool   `json:"random_flip"`
	EmptyPrompt bool   `json:"empty_prompt,omitempty"` // Encode the empty prompt too.
	Seed        uint64 `json:"seed"`
}

// SampleJob asks for pictures.
type SampleJob struct {
	Model             Model           `json:"model"`
	Requests          []SampleRequest `json:"requests"`
	NumInferenceSteps int             `json:"num_inference_steps"`
	GuidanceScale     float64         `json:"guidance_scale"`
	Scheduler         string          `json:"scheduler,omitempty"` // Class to sample with instead of the model's.
}

// SampleRequest is one picture to make.
type SampleRequest struct {
	Prompt         string `json:"prompt"`
	NegativePrompt string `json:"negative_prompt,omitempty"`
	Seed           uint64 `json:"seed"`
}

// ScoreJob asks what a judge says of pictures, and what they look like in numbers.
type ScoreJob struct {
	Pictures []ScoreRequest `json:"pictures"`
	Judge    string         `json:"judge"`             // JudgePalette or JudgeEncoder.
	Palette  string         `json:"palette,omitempty"` // JSON of package palette; empty is the built-in brand's.
	Encoder  Model          `json:"encoder"`           // A CLIPModel's folder, for prompt and picture; none has no files.
}

// The judges of a ScoreJob.
const (
	JudgePalette = "palette" // Distance to a palette.
	JudgeEncoder = "encoder" // The scaled cosine of prompt and picture: CLIP's, PickScore's.
)

// ScoreRequest is one picture to score.
type ScoreRequest struct {
	Prompt string `json:"prompt"`
	Ref    Ref    `json:"ref"`
}

// TrainJob asks a worker to be one rank of a generation.
type TrainJob struct {
	Epoch      uint64      `json:"epoch"`
	Generation uint64      `json:"generation"`
	Rank       int         `json:"rank"`
	Nodes      []string    `json:"nodes"`  // By rank.
	First      [][]int     `json:"first"`  // Micro-batches of the first step, by rank.
	Shares     [][]int     `json:"shares"` // Of the next steps, until speeds say otherwise.
	Model      Model       `json:"model"`
	Source     string      `json:"source"`          // Where the state of FirstStep is: "keep", "sums" or "state".
	State      *TrainState `json:"state,omitempty"` // With source "state"; absent: the model at step 0.
	Sums       *Ref        `json:"sums,omitempty"`  // With source "sums".
	Shards     []Ref       `json:"shards"`          // Latents, in the order of the pairs.
	Pairs      int         `json:"pairs"`
	FirstStep  int         `json:"first_step"`
	LastStep   int         `json:"last_step"`      // The step after which training is complete.
	Until      int         `json:"until"`          // The step after which this generation is.
	Save       bool        `json:"save,omitempty"` // The checkpoint of FirstStep is due, and was lost.
	Hyper      Hyper       `json:"hyper"`
	Follow     string      `json:"follow,omitempty"` // Of a prepare job: the node of the ring to catch up with.
}

// DonateJob asks a worker for its state of Step, for the complete sums that led to it, or both.
type DonateJob struct {
	Step  int  `json:"step"`
	State bool `json:"state,omitempty"`
	Sums  bool `json:"sums,omitempty"`
}

// TrainState names a checkpoint's blobs.
type TrainState struct {
	Step    int         `json:"step"`
	Weights []ModelFile `json:"weights"` // As they lie in a pipeline folder: the UNet's, or the adapter's file.
	Trainer Ref         `json:"trainer"`
	SHA256  string      `json:"sha256"` // The checkpoint's digest.
}

// Hyper holds what decides the result, under diffusers' names. All ranks get the same.
type Hyper struct {
	Seed                      uint64  `json:"seed"`
	TrainBatchSize            int     `json:"train_batch_size"`
	GradientAccumulationSteps int     `json:"gradient_accumulation_steps"`
	TimestepsPerPair          int     `json:"timesteps_per_pair"`
	LearningRate              float64 `json:"learning_rate"`
	LRScheduler               string  `json:"lr_scheduler"`
	LRWarmupSteps             int     `json:"lr_warmup_steps"`
	LRNumCycles               int     `json:"lr_num_cycles"`
	LRPower                   float64 `json:"lr_power"`
	AdamBeta1                 float64 `json:"adam_beta1"`
	AdamBeta2                 float64 `json:"adam_beta2"`
	AdamWeightDecay           float64 `json:"adam_weight_decay"`
	AdamEpsilon               float64 `json:"adam_epsilon"`
	MaxGradNorm               float64 `json:"max_grad_norm"`
	EMADecay                  float64 `json:"ema_decay,omitempty"` // 0 keeps no moving average.
	Form                      string  `json:"form"`
	BetaMaPO                  float64 `json:"beta_mapo"`
	SNRValue                  float64 `json:"snr_value"`
	BetaDPO                   float64 `json:"beta_dpo"`
	SNRGamma                  float64 `json:"snr_gamma"`
	MarginDrop                float64 `json:"margin_drop"`
	LoserSafeguard            bool    `json:"loser_safeguard"`
	ProportionEmptyPrompts    float64 `json:"proportion_empty_prompts,omitempty"`
	LoRARank                  int     `json:"lora_rank"` // 0 trains the UNet itself.
	LoRAAlpha                 float64 `json:"lora_alpha"`
	LoRATargets               string  `json:"lora_targets"`    // Separated by commas.
	MixedPrecision            string  `json:"mixed_precision"` // "no" or "bf16".
	PredictionType            string  `json:"prediction_type"` // "" = as in the model's scheduler config.
	RandomFlip                bool    `json:"random_flip"`
	CheckpointingSteps        int     `json:"checkpointing_steps"`
	NonFinitePolicy           string  `json:"nonfinite_policy"`
	AuditRatio                float64 `json:"audit_ratio"`
	WireFormat                string  `json:"wire_format"` // Of gradients between ranks: "int32" or "int16". It decides their rounding.
}

// The roles of nodes.
const (
	RoleCoordinator = "coordinator"
	RoleWorker      = "worker"
)

// Meta is what a node tells in its gossip metadata.
type Meta struct {
	Route     string `json:"route"` // host:port of its NATS route.
	PID       int    `json:"pid"`
	Device    string `json:"device,omitempty"`
	KernelSet string `json:"kernel_set,omitempty"`
	Role      string `json:"role"`            // RoleCoordinator or RoleWorker.
	Epoch     uint64 `json:"epoch,omitempty"` // Of a coordinator.
}

// WelcomeExtra is what the bootstrap server tells beyond trust.Welcome.
type WelcomeExtra struct {
	NATSURL     string `json:"nats_url,omitempty"` // Use this NATS cluster instead of embedded servers.
	Coordinator string `json:"coordinator"`        // Its node name.
	// AbsenceLimitMS is how long a worker goes on without a coordinator.
	AbsenceLimitMS int64 `json:"absence_limit_ms"`
}
