// Package config is the configuration of a run: one struct whose keys are named as the training
// flags of diffusers are. Every snake_case key of the YAML file is also the kebab-case flag, so
// there is one list of names, one default and one rule for each.
//
// Order of precedence: the default, then the file, then the flag.
package config

import (
	"runtime"
	"time"

	"yohaku/internal/assert"
	"yohaku/internal/wire"
)

// Config holds all settings of `coordinator up`. The help text is the flag's and the document's.
type Config struct {
	Model   string `yaml:"model" help:"diffusers pipeline folder to tune; empty is the small base model that is built in"`
	Data    string `yaml:"data" help:"preference pairs: a Pick-a-Pic parquet file or folder, a folder with metadata.jsonl, or 'brand' (built in)"`
	Out     string `yaml:"out" help:"folder that holds the run folders"`
	RunID   string `yaml:"run_id" help:"name of the run and of its folder; empty makes one from the time"`
	Resume  string `yaml:"resume" help:"continue a run: a run folder, a run id under --out, or 'latest'"`
	DryRun  bool   `yaml:"dry_run" help:"check the configuration, the data and the model, print the plan, and stop"`
	Seed    uint64 `yaml:"seed" help:"seed of every random draw"`
	Steps   int    `yaml:"steps" help:"optimizer steps"`
	Threads int    `yaml:"threads" help:"kernel threads of each local worker; 0 shares the cores out"`

	MemoryLimit string `yaml:"memory_limit" help:"memory that each local worker may take while it trains, such as 8GiB: activations are computed again as far as needed, with the same bits; empty is no bound"`

	Profile string `yaml:"profile" help:"folder for profiles of the local workers: a table of instructions, a trace for chrome://tracing or ui.perfetto.dev, and pprof; empty measures nothing"`

	LocalWorkers int    `yaml:"local_workers" help:"workers to start on this machine"`
	MinWorkers   int    `yaml:"min_workers" help:"workers to wait for before the first step; 0 means the local ones, at least one"`
	Listen       string `yaml:"listen" help:"HOST:PORT where workers join; beyond loopback only by token and TLS"`
	Advertise    string `yaml:"advertise" help:"host name or address that other machines reach this one by; empty means the host of --listen"`
	HTTP         string `yaml:"http" help:"HOST:PORT of the status API; loopback only"`
	NATSURL      string `yaml:"nats_url" help:"use this NATS cluster instead of the embedded servers"`
	Takeover     bool   `yaml:"takeover" help:"with --resume: take the run over from a coordinator that lives, if most of its ranks are reached"`
	Force        bool   `yaml:"force" help:"with --takeover: also with few of its ranks"`
	Absence      string `yaml:"coordinator_absence_limit" help:"how long workers go on without a coordinator before they end, such as 90s or 10m"`
	LogFormat    string `yaml:"log_format" help:"auto, json or console; auto is console on a terminal"`

	Resolution                int     `yaml:"resolution" help:"side of the training pictures in pixels; 0 takes the model's own"`
	TrainBatchSize            int     `yaml:"train_batch_size" help:"items (pair, timestep, noise) in a micro-batch"`
	GradientAccumulationSteps int     `yaml:"gradient_accumulation_steps" help:"micro-batches in a step, split across the workers"`
	TimestepsPerPair          int     `yaml:"timesteps_per_pair" help:"items drawn from each pair, stratified over the timesteps"`
	LearningRate              float64 `yaml:"learning_rate" help:"peak learning rate"`
	LRScheduler               string  `yaml:"lr_scheduler" help:"constant, constant_with_warmup, linear, cosine, cosine_with_restarts or polynomial"`
	LRWarmupSteps             int     `yaml:"lr_warmup_steps" help:"warm-up steps"`
	LRNumCycles               int     `yaml:"lr_num_cycles" help:"hard restarts of cosine_with_restarts"`
	LRPower                   float64 `yaml:"lr_power" help:"power of polynomial"`
	AdamBeta1                 float64 `yaml:"adam_beta1" help:"AdamW's decay of the first moment"`
	AdamBeta2                 float64 `yaml:"adam_beta2" help:"AdamW's decay of the second moment"`
	AdamWeightDecay           float64 `yaml:"adam_weight_decay" help:"AdamW's decoupled weight decay"`
	AdamEpsilon               float64 `yaml:"adam_epsilon" help:"AdamW's epsilon"`
	MaxGradNorm               float64 `yaml:"max_grad_norm" help:"global gradient norm is clipped to this"`
	UseEMA                    bool    `yaml:"use_ema" help:"keep a moving average of the UNet, as unet_ema in checkpoints, and sample from it; not with adapters"`
	EMADecay                  float64 `yaml:"ema_decay" help:"the moving average's decay; at update k+1 it is at most (1+k)/(10+k), as in diffusers"`
	Form                      string  `yaml:"form" help:"the loss: MaPO as reference_code or paper; dpo (Diffusion-DPO against the base model) or sft (the winners alone)"`
	BetaMaPO                  float64 `yaml:"beta_mapo" help:"weight of the margin term; with form paper the paper's beta (no default there)"`
	SNRValue                  float64 `yaml:"snr_value" help:"scale s of the bounded link in form reference_code"`
	BetaDPO                   float64 `yaml:"beta_dpo" help:"strength of form dpo"`
	SNRGamma                  float64 `yaml:"snr_gamma" help:"min-SNR weighting of the winners' errors, 5 is usual; 0 is none; not with form dpo"`
	MixedPrecision            string  `yaml:"mixed_precision" help:"no, or bf16: factors of products in bf16; sums, parameters, norms and the optimizer stay float32"`
	MarginDrop                float64 `yaml:"margin_drop" help:"share of the steps that leave MaPO's margin term out"`
	ProportionEmptyPrompts    float64 `yaml:"proportion_empty_prompts" help:"share of the items that are trained with the empty prompt, for classifier-free guidance; 0.1 is usual"`
	LoserSafeguard            bool    `yaml:"loser_safeguard" help:"scale the loser's gradient down where, to first order, it would raise the winner's error (Diffusion-SDPO); not with form sft"`
	LoRARank                  int     `yaml:"lora_rank" help:"train low-rank adapters of this rank beside the frozen UNet (diffusers' --rank); 0 trains the UNet itself"`
	LoRAAlpha                 float64 `yaml:"lora_alpha" help:"adapters are scaled by lora_alpha/lora_rank; 0 is lora_rank"`
	LoRATargets               string  `yaml:"lora_targets" help:"modules with an adapter, by the ends of their names, separated by commas"`
	PredictionType            string  `yaml:"prediction_type" help:"epsilon or v_prediction; empty takes the model's scheduler_config.json"`
	AuditRatio                float64 `yaml:"audit_ratio" help:"share of the micro-batches that another worker computes again, to find a machine that computes wrongly"`
	AllowMixedKernels         bool    `yaml:"allow_mixed_kernels" help:"let workers of unlike kernel sets train together: the checkpoint then depends on who computed which micro-batch, and is no longer the same for any number of workers"`
	WireFormat                string  `yaml:"wire_format" help:"gradients between workers as int32, or as int16: half the bytes, rounded at random, at most 16 micro-batches"`
	NonFinitePolicy           string  `yaml:"nonfinite_policy" help:"on a gradient that is not finite: halt (checkpoint and end) or skip (leave the step out)"`

	RemoveTies       bool    `yaml:"remove_ties" help:"leave pairs without a preference out"`
	LabelNoiseProb   float64 `yaml:"label_noise_prob" help:"share of labels flipped on purpose, to test robustness"`
	MaxRejectedRatio float64 `yaml:"max_rejected_ratio" help:"stop when more than this share of the rows is unusable"`
	CenterCrop       bool    `yaml:"center_crop" help:"crop the centre; otherwise a place drawn for each pair"`
	RandomFlip       bool    `yaml:"random_flip" help:"mirror pictures at random"`

	CheckpointingSteps    int    `yaml:"checkpointing_steps" help:"a checkpoint every so many steps; 0 only at the end"`
	CheckpointsTotalLimit int    `yaml:"checkpoints_total_limit" help:"checkpoints to keep; 0 keeps all"`
	CheckpointStore       string `yaml:"checkpoint_store" help:"keep checkpoints in S3-compatible storage too: s3://BUCKET/PREFIX?endpoint=HOST:PORT&region=REGION; credentials by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"`

	NoEval            bool    `yaml:"no_eval" help:"leave the evaluation at the end out"`
	EvalPrompts       string  `yaml:"eval_prompts" help:"file of held-out prompts, one a line; empty takes the brand set's, or prompts of the data"`
	Gate              string  `yaml:"gate" help:"gates.yaml: release the checkpoint, and make 'final' lead to it, only if all its figures pass"`
	GateStage         string  `yaml:"gate_stage" help:"stage of gates.yaml to pass; empty is the one it names, or its first"`
	EvalSeeds         int     `yaml:"eval_seeds" help:"pictures per prompt in the evaluation"`
	NumInferenceSteps int     `yaml:"num_inference_steps" help:"sampler steps in the evaluation"`
	GuidanceScale     float64 `yaml:"guidance_scale" help:"classifier-free guidance in the evaluation"`
}

// Defaults are the values of a run on one's own data; diffusers' where diffusers has one.
func Defaults() Config {
	return Config{
		Out: "runs", Steps: 500, LocalWorkers: 2, Listen: "127.0.0.1:0", HTTP: "127.0.0.1:0", LogFormat: "auto", Absence: "10m",
		TrainBatchSize: 1, GradientAccumulationSteps: 8, TimestepsPerPair: 1,
		LearningRate: 1e-5, LRScheduler: "constant", LRNumCycles: 1, LRPower: 1,
		AdamBeta1: 0.9, AdamBeta2: 0.999, AdamWeightDecay: 1e-2, AdamEpsilon: 1e-8, MaxGradNorm: 1, EMADecay: 0.9999,
		Form: "reference_code", BetaMaPO: 0.1, SNRValue: 0.5, BetaDPO: 5000, LoRATargets: "to_q,to_k,to_v,to_out.0",
		WireFormat: "int32", NonFinitePolicy: "halt", MixedPrecision: "no",
		RemoveTies: true, MaxRejectedRatio: 0.1, CenterCrop: true,
		CheckpointingSteps: 100, EvalSeeds: 2, NumInferenceSteps: 20, GuidanceScale: 5,
	}
}

// DemoDefaults are the defaults when neither a model nor data is named: what suits the built-in
// base model and brand pairs.
func DemoDefaults() Config {
	c := Defaults()
	c.Data = Brand
	c.Steps = 240
	c.TrainBatchSize = 2
	c.GradientAccumulationSteps = 4
	c.LearningRate = 3e-5
	c.LRScheduler = "constant_with_warmup"
	c.LRWarmupSteps = 10
	c.CheckpointingSteps = 60
	c.CheckpointsTotalLimit = 2
	c.GuidanceScale = 3
	c.NumInferenceSteps = 15
	return c
}

// Brand names the built-in data.
const Brand = "brand"

// Workers is the number of workers that the first step waits for.
func (c Config) Workers() int {
	if c.MinWorkers > 0 {
		return c.MinWorkers
	}
	return max(1, c.LocalWorkers)
}

// Hyper is what the workers need to know of the configuration.
func (c Config) Hyper() wire.Hyper {
	return wire.Hyper{
		Seed: c.Seed, TrainBatchSize: c.TrainBatchSize, GradientAccumulationSteps: c.GradientAccumulationSteps,
		TimestepsPerPair: c.TimestepsPerPair, LearningRate: c.LearningRate, LRScheduler: c.LRScheduler,
		LRWarmupSteps: c.LRWarmupSteps, LRNumCycles: c.LRNumCycles, LRPower: c.LRPower,
		AdamBeta1: c.AdamBeta1, AdamBeta2: c.AdamBeta2, AdamWeightDecay: c.AdamWeightDecay, AdamEpsilon: c.AdamEpsilon,
		MaxGradNorm: c.MaxGradNorm, EMADecay: c.emaDecay(), Form: c.Form, BetaMaPO: c.BetaMaPO, SNRValue: c.SNRValue, BetaDPO: c.BetaDPO, SNRGamma: c.SNRGamma, MarginDrop: c.MarginDrop, LoserSafeguard: c.LoserSafeguard, ProportionEmptyPrompts: c.ProportionEmptyPrompts,
		LoRARank: c.LoRARank, LoRAAlpha: c.loraAlpha(), LoRATargets: c.LoRATargets, MixedPrecision: c.MixedPrecision,
		PredictionType: c.PredictionType, RandomFlip: c.RandomFlip, CheckpointingSteps: c.CheckpointingSteps,
		NonFinitePolicy: c.NonFinitePolicy, AuditRatio: c.AuditRatio, WireFormat: c.WireFormat,
	}
}

// NeedsBase tells whether a step takes the base model beside the trained weights.
func (c Config) NeedsBase() bool { return c.LoRARank > 0 || c.Form == FormDPO }

func (c Config) emaDecay() float64 {
	if !c.UseEMA {
		return 0
	}
	return c.EMADecay
}

func (c Config) loraAlpha() float64 {
	if c.LoRAAlpha == 0 {
		return float64(c.LoRARank)
	}
	return c.LoRAAlpha
}

// AbsenceLimit is how long workers go on without a coordinator.
func (c Config) AbsenceLimit() time.Duration {
	d, err := time.ParseDuration(c.Absence)
	assert.That(err == nil, "coordinator_absence_limit %q was not validated", c.Absence)
	return d
}

// LocalThreads is the number of kernel threads of each local worker.
func (c Config) LocalThreads() int {
	if c.Threads > 0 || c.LocalWorkers == 0 {
		return c.Threads
	}
	return max(1, runtime.NumCPU()/c.LocalWorkers)
}
