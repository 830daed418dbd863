package config

import (
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"time"

	"yohaku/coordinator/checkpointstore"
	"yohaku/internal/bytesize"
	"yohaku/internal/wire"
)

// The written forms of the loss.
const (
	FormReferenceCode = "reference_code"
	FormPaper         = "paper"
	FormDPO           = "dpo"
	FormSFT           = "sft"
)

// maxMicroBatches are the most micro-batches whose sums keep enough bits, by wire format.
var maxMicroBatches = map[string]int{"int32": 256, "int16": 16}

// Validate checks the rules that need nothing but the configuration. The error names the flag,
// the rule and the value.
func (c Config) Validate() error {
	return firstError(c.validateRun, c.validateNetwork, c.validateTraining, c.validateOptimizer, c.validateData)
}

func firstError(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c Config) validateRun() error {
	if _, err := bytesize.Parse(c.MemoryLimit); err != nil {
		return fmt.Errorf("--memory-limit %w", err)
	}
	if c.CheckpointStore != "" {
		if _, err := checkpointstore.Parse(c.CheckpointStore); err != nil {
			return fmt.Errorf("--checkpoint-store: %w", err)
		}
	}
	switch {
	case c.RunID != "" && !wire.ValidToken(c.RunID):
		return rule("run_id", "must be 1 to 64 letters, digits, '-' or '_'", c.RunID)
	case c.RunID != "" && c.Resume != "":
		return fmt.Errorf("--run-id and --resume exclude each other: --resume names the run already; leave --run-id out")
	case c.Out == "":
		return rule("out", "must name a folder", c.Out)
	}
	return firstError(
		atLeast("steps", c.Steps, 1), atLeast("threads", c.Threads, 0), atLeast("local_workers", c.LocalWorkers, 0),
		atLeast("min_workers", c.MinWorkers, 0), oneOf("log_format", c.LogFormat, "auto", "json", "console"),
		atLeast("checkpointing_steps", c.CheckpointingSteps, 0), atLeast("checkpoints_total_limit", c.CheckpointsTotalLimit, 0),
	)
}

func (c Config) validateNetwork() error {
	if err := firstError(hostPort("listen", c.Listen), hostPort("http", c.HTTP)); err != nil {
		return err
	}
	if host, _, _ := net.SplitHostPort(c.HTTP); !loopback(host) {
		return rule("http", "must be on loopback (127.0.0.1, ::1 or localhost): the status API has no sign-in; use an SSH tunnel to reach it from elsewhere", c.HTTP)
	}
	if d, err := time.ParseDuration(c.Absence); err != nil || d < time.Second {
		return rule("coordinator_absence_limit", "must be a time of at least 1s, such as 90s or 10m", c.Absence)
	}
	if c.GateStage != "" && c.Gate == "" {
		return fmt.Errorf("--gate-stage %s is a stage of a gates.yaml: name the file with --gate, or leave it out", c.GateStage)
	}
	if c.Force && !c.Takeover {
		return fmt.Errorf("--force is for --takeover: give both, or neither")
	}
	host, _, _ := net.SplitHostPort(c.Listen)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		if c.Advertise == "" {
			return fmt.Errorf("--listen %s is every address of this machine: --advertise must name the one that workers reach it by", c.Listen)
		}
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (c Config) validateTraining() error {
	if err := firstError(
		atLeast("train_batch_size", c.TrainBatchSize, 1), atLeast("gradient_accumulation_steps", c.GradientAccumulationSteps, 1),
		atLeast("timesteps_per_pair", c.TimestepsPerPair, 1), atLeast("resolution", c.Resolution, 0),
		oneOf("form", c.Form, FormReferenceCode, FormPaper, FormDPO, FormSFT), oneOf("prediction_type", c.PredictionType, "", "epsilon", "v_prediction"),
		oneOf("mixed_precision", c.MixedPrecision, "no", "bf16"), oneOf("nonfinite_policy", c.NonFinitePolicy, "halt", "skip"), oneOf("wire_format", c.WireFormat, "int32", "int16"), above("snr_value", c.SNRValue, 0),
		atLeast("eval_seeds", c.EvalSeeds, 1), atLeast("num_inference_steps", c.NumInferenceSteps, 1), atLeastFloat("guidance_scale", c.GuidanceScale, 0),
	); err != nil {
		return err
	}
	if most := maxMicroBatches[c.WireFormat]; c.GradientAccumulationSteps > most {
		return rule("gradient_accumulation_steps", fmt.Sprintf("must be at most %d with --wire-format %s, so that exact sums keep enough bits", most, c.WireFormat), c.GradientAccumulationSteps)
	}
	if items := c.TrainBatchSize * c.GradientAccumulationSteps; items%c.TimestepsPerPair != 0 {
		return rule("timesteps_per_pair", fmt.Sprintf("must divide the %d items of a step", items), c.TimestepsPerPair)
	}
	if c.Form == FormPaper && c.BetaMaPO == 0 {
		return fmt.Errorf("--beta-mapo has no default with --form paper: give the paper's beta (its table 4: preference 8, culture 32, safety 64, style 64, personalization 1024)")
	}
	if err := firstError(above("beta_mapo", c.BetaMaPO, 0), above("beta_dpo", c.BetaDPO, 0), atLeastFloat("snr_gamma", c.SNRGamma, 0), ratio("margin_drop", c.MarginDrop, true), ratio("proportion_empty_prompts", c.ProportionEmptyPrompts, true),
		atLeast("lora_rank", c.LoRARank, 0), atLeastFloat("lora_alpha", c.LoRAAlpha, 0)); err != nil {
		return err
	}
	if c.LoRARank > 0 && slices.Contains(strings.Split(c.LoRATargets, ","), "") {
		return rule("lora_targets", "must name modules separated by commas, such as to_q,to_v", c.LoRATargets)
	}
	if c.Form == FormSFT && c.LoserSafeguard {
		return rule("loser_safeguard", "scales the loser's gradient, which form sft does not have: leave it out", c.LoserSafeguard)
	}
	if c.Form == FormDPO && c.SNRGamma > 0 {
		return rule("snr_gamma", "weighs the winners' errors, which form dpo has no term of: leave it at 0", c.SNRGamma)
	}
	if (c.Form == FormDPO || c.Form == FormSFT) && c.MarginDrop > 0 {
		return rule("margin_drop", "leaves MaPO's margin term out, which form "+c.Form+" does not have: leave it at 0", c.MarginDrop)
	}
	return nil
}

func (c Config) validateOptimizer() error {
	if c.UseEMA && c.LoRARank > 0 {
		return rule("use_ema", "keeps an average of the UNet, which --lora-rank leaves as it is: leave one of them out", c.UseEMA)
	}
	if c.EMADecay == 0 {
		return rule("ema_decay", "must be above 0 and below 1, 0.9999 is usual; leave --use-ema out for no average", c.EMADecay)
	}
	return firstError(
		above("learning_rate", c.LearningRate, 0),
		oneOf("lr_scheduler", c.LRScheduler, "constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial"),
		atLeast("lr_warmup_steps", c.LRWarmupSteps, 0), atLeast("lr_num_cycles", c.LRNumCycles, 1), above("lr_power", c.LRPower, 0),
		ratio("adam_beta1", c.AdamBeta1, false), ratio("adam_beta2", c.AdamBeta2, false),
		atLeastFloat("adam_weight_decay", c.AdamWeightDecay, 0), above("adam_epsilon", c.AdamEpsilon, 0), above("max_grad_norm", c.MaxGradNorm, 0), ratio("ema_decay", c.EMADecay, false),
	)
}

func (c Config) validateData() error {
	if c.AllowMixedKernels && c.AuditRatio > 0 {
		return rule("audit_ratio", "compares bits, which unlike kernels do not share: leave it at 0 with --allow-mixed-kernels", c.AuditRatio)
	}
	return firstError(ratio("audit_ratio", c.AuditRatio, true), ratio("label_noise_prob", c.LabelNoiseProb, true), ratio("max_rejected_ratio", c.MaxRejectedRatio, true))
}

// rule is the error of every broken rule: the flag, the rule, the value.
func rule(key, must string, got any) error {
	return fmt.Errorf("--%s %s, got %v", flagName(key), must, quote(got))
}

func quote(v any) any {
	if s, ok := v.(string); ok {
		return fmt.Sprintf("%q", s)
	}
	return v
}

func atLeast(key string, got, least int) func() error {
	return func() error {
		if got < least {
			return rule(key, fmt.Sprintf("must be at least %d", least), got)
		}
		return nil
	}
}

func atLeastFloat(key string, got, least float64) func() error {
	return func() error {
		if !(got >= least) || math.IsInf(got, 0) {
			return rule(key, fmt.Sprintf("must be at least %g", least), got)
		}
		return nil
	}
}

func above(key string, got, least float64) func() error {
	return func() error {
		if !(got > least) || math.IsInf(got, 0) {
			return rule(key, fmt.Sprintf("must be above %g", least), got)
		}
		return nil
	}
}

func ratio(key string, got float64, closed bool) func() error {
	return func() error {
		if !(got >= 0) || got > 1 || got == 1 && !closed {
			end := "below 1"
			if closed {
				end = "at most 1"
			}
			return rule(key, "must be at least 0 and "+end, got)
		}
		return nil
	}
}

func oneOf(key, got string, allowed ...string) func() error {
	return func() error {
		if slices.Contains(allowed, got) {
			return nil
		}
		named := slices.DeleteFunc(slices.Clone(allowed), func(s string) bool { return s == "" })
		return rule(key, "must be one of "+strings.Join(named, ", "), got)
	}
}

func hostPort(key, got string) func() error {
	return func() error {
		if _, _, err := net.SplitHostPort(got); err != nil {
			return rule(key, "must be HOST:PORT, port 0 for any free one", got)
		}
		return nil
	}
}
