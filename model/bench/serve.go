package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"time"

	"yohaku/model/backend/cpu"
)

// Job is a work with its operands made.
type Job struct {
	Run   func() error
	FLOPs int64 // Of one Run; 0 when not counted.
}

// Maker makes the job of a request on be.
type Maker func(be *cpu.Backend, r Request) (*Job, error)

// server answers the requests for this engine. It keeps the operands of one work at a time.
type server struct {
	be     *cpu.Backend
	makers map[string]Maker
	at     string // ID of job.
	job    *Job
}

// Serve answers requests until in ends: the kernels, and by kind what more adds. It returns an error when a line is not
// a request or a reply cannot be written; a work that fails is answered with its error.
func Serve(in io.Reader, out io.Writer, threads int, more map[string]Maker) error {
	be := cpu.New(threads)
	defer be.Close()
	s := &server{be: be, makers: kernelMakers()}
	for kind, m := range more {
		s.makers[kind] = m
	}
	lines, replies := bufio.NewScanner(in), json.NewEncoder(out)
	for lines.Scan() {
		var r Request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return fmt.Errorf("read request %.80q: %w", lines.Bytes(), err)
		}
		reply, err := s.answer(r)
		if err != nil {
			reply = Reply{Error: err.Error()}
		}
		if err := replies.Encode(reply); err != nil {
			return fmt.Errorf("write reply: %w", err)
		}
	}
	return lines.Err()
}

func (s *server) answer(r Request) (Reply, error) {
	if r.Kind == kindHello {
		return Reply{About: fmt.Sprintf("kernel set %s, %d threads, %s", s.be.KernelSet(), s.be.Pool().Threads(), runtime.Version())}, nil
	}
	if err := s.prepare(r); err != nil {
		return Reply{}, err
	}
	if err := s.warm(r.WarmMS); err != nil {
		return Reply{}, err
	}
	ms, err := s.time(r.TimedMS)
	if err != nil {
		return Reply{}, err
	}
	return Reply{MS: map[string][]float64{"": ms}, FLOPs: s.job.FLOPs, PeakBytes: peakBytes()}, nil
}

// inFloat32Only are the kinds that mixed precision leaves in float32.
var inFloat32Only = map[string]bool{"norm-forward": true, "norm-backward": true, "adamw": true, "silu": true}

// timedIn is an error where a kind is not timed in a dtype.
func timedIn(kind, dtype string) error {
	if dtype == Float32 || dtype == BFloat16 && !inFloat32Only[kind] {
		return nil
	}
	return fmt.Errorf("%s is timed in %s, not in %s", kind, Float32, dtype)
}

// prepare makes the job of r, if it is not there yet.
func (s *server) prepare(r Request) error {
	id := r.Work + "/" + r.DType
	if s.at == id {
		return nil
	}
	s.at, s.job = "", nil
	runtime.GC() // The operands of the work before.
	m, ok := s.makers[r.Kind]
	if !ok {
		return fmt.Errorf("no work of kind %q here", r.Kind)
	}
	if err := timedIn(r.Kind, r.DType); err != nil {
		return err
	}
	job, err := m(s.be, r)
	if err != nil {
		return fmt.Errorf("prepare %s: %w", id, err)
	}
	s.at, s.job = id, job
	return nil
}

func (s *server) warm(ms float64) error {
	for start := time.Now(); milliseconds(time.Since(start)) < ms; {
		if err := s.job.Run(); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) time(ms float64) (calls []float64, err error) {
	for sum := 0.0; len(calls) == 0 || sum < ms && len(calls) < maxCalls; {
		start := time.Now()
		if err := s.job.Run(); err != nil {
			return nil, err
		}
		calls = append(calls, milliseconds(time.Since(start)))
		sum += calls[len(calls)-1]
	}
	return calls, nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
