// Package logkey holds the names of all structured log fields, so that an operator can rely on
// them and two packages cannot name one thing twice. Units go last in a name.
package logkey

// The fields. Time, level, message and error are zerolog's own.
const (
	Component        = "component"
	Version          = "version"
	RunID            = "run_id"
	Node             = "node"
	Rank             = "rank"
	WorldSize        = "world_size"
	Generation       = "generation"
	Step             = "step"
	MicroBatch       = "micro_batch"
	Bucket           = "bucket"
	Peer             = "peer"
	Bytes            = "bytes"
	DurationMS       = "duration_ms"
	Seed             = "seed"
	Loss             = "loss"
	LossMSE          = "loss_mse"
	LossRatio        = "loss_ratio"
	WinnerMSE        = "winner_mse"
	LoserMSE         = "loser_mse"
	LogOdds          = "log_odds"
	GradNorm         = "grad_norm"
	LearningRate     = "learning_rate"
	ItemsPerSecond   = "items_per_second"
	CheckpointSHA256 = "checkpoint_sha256"
	Path             = "path"
	RingMS           = "ring_ms"
	RingExposedMS    = "ring_exposed_ms"
	Device           = "device"
	KernelSet        = "kernel_set"
	State            = "state"
)
