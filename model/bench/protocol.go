package bench

// Request asks a side for one turn of a work: untimed calls until WarmMS have passed (none for 0), then timed ones, at
// least one, until TimedMS have passed. The first request of a work also makes its operands.
type Request struct {
	Work   string         `json:"work"`
	Kind   string         `json:"kind"` // What to time; Shape and Config say on what.
	DType  string         `json:"dtype"`
	Shape  map[string]int `json:"shape,omitempty"`
	Config map[string]any `json:"config,omitempty"` // A UNet's config.json.
	// MemoryLimit bounds our side's process, in bytes; 0 is no bound.
	MemoryLimit int64 `json:"memory_limit,omitempty"`

	WarmMS  float64 `json:"warm_ms"`
	TimedMS float64 `json:"timed_ms"`
}

// Reply is what a side answers.
type Reply struct {
	About     string               `json:"about,omitempty"`      // To kindHello: the side's versions.
	MS        map[string][]float64 `json:"ms,omitempty"`         // Of each timed call, by variant: memory layouts, implementations.
	FLOPs     int64                `json:"flops,omitempty"`      // Of one call, matrix products only; 0 when not counted.
	PeakBytes int64                `json:"peak_bytes,omitempty"` // Resident memory of the process, at most so far.
	Error     string               `json:"error,omitempty"`      // The work cannot be done; the side goes on.
}

// kindHello asks what a side is.
const kindHello = "hello"

// maxCalls bounds the timed calls of a turn.
const maxCalls = 10_000
