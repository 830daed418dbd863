package signed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"yohaku/internal/bus"
	"yohaku/internal/trust"
)

// CodeEpoch is the code of the refusal of a message of another epoch: a worker takes the epoch of the
// answer and signs anew, a coordinator has lost the run to a later one.
const CodeEpoch = "epoch"

// readyPause is the time between attempts while nobody handles a subject.
const readyPause = 20 * time.Millisecond

// End is this process's end of signed calls: the coordinator's or a worker's. It is safe for
// concurrent use.
type End struct {
	bus         *bus.Bus
	signer      *trust.Signer
	verifier    *trust.Verifier
	epoch       atomic.Uint64
	coordinator bool
	refused     *Refusals
}

// Coordinator returns the end of a coordinator. Until Begin it has epoch 0, which gives no orders and
// may ask; see HandleAny. Report hears of what was refused, see Refusals.
func Coordinator(b *bus.Bus, id *trust.Identity, report Report) (*End, error) {
	e := &End{bus: b, coordinator: true}
	return e, e.open(id, trust.NodeServerName, report)
}

// Worker returns the end of a worker, which follows the coordinator's epochs: they only grow.
func Worker(b *bus.Bus, id *trust.Identity, epoch uint64, report Report) (*End, error) {
	e := &End{bus: b}
	e.epoch.Store(epoch)
	return e, e.open(id, trust.CoordinatorName, report)
}

func (e *End) open(id *trust.Identity, role string, report Report) error {
	e.refused = newRefusals(report, time.Now)
	var err error
	if e.signer, err = id.Signer(); err != nil {
		return err
	}
	e.verifier, err = id.Verifier(role, e.judge)
	return err
}

// Begin fixes the epoch of a coordinator, above that of every one before it.
func (e *End) Begin(epoch uint64) { e.epoch.Store(epoch) }

// Epoch is the coordinator's epoch, as far as this end has heard.
func (e *End) Epoch() uint64 { return e.epoch.Load() }

// judge decides on the epoch of an authentic message.
func (e *End) judge(epoch uint64) error {
	own := e.epoch.Load()
	if epoch == own || !e.coordinator && epoch > own {
		e.follow(epoch)
		return nil
	}
	return fmt.Errorf("%w: %d, it is %d now", trust.ErrEpoch, epoch, own)
}

// follow takes a higher epoch.
func (e *End) follow(epoch uint64) {
	for own := e.epoch.Load(); !e.coordinator && epoch > own && !e.epoch.CompareAndSwap(own, epoch); own = e.epoch.Load() {
	}
}

// answer is what a handler says.
type answer struct {
	Epoch uint64 `json:"epoch"`
	Error string `json:"error,omitempty"`
	Code  string `json:"code,omitempty"`
	Data  []byte `json:"data,omitempty"`
}

// maxAnswerBytes bounds an answer.
const maxAnswerBytes = 2 << 20

// Handle answers requests on subject as bus.Handle does. From is the node that signed the request.
func (e *End) Handle(subject string, parallel int, fn func(ctx context.Context, from string, data []byte) ([]byte, error)) (*bus.Handler, error) {
	return e.handle(subject, parallel, false, fn)
}

// HandleAny is Handle that also takes authentic requests of lower epochs, and those perhaps again: fn
// judges the epoch.
func (e *End) HandleAny(subject string, parallel int, fn func(ctx context.Context, from string, data []byte) ([]byte, error)) (*bus.Handler, error) {
	return e.handle(subject, parallel, true, fn)
}

func (e *End) handle(subject string, parallel int, anyEpoch bool, fn func(ctx context.Context, from string, data []byte) ([]byte, error)) (*bus.Handler, error) {
	return bus.Handle(e.bus.Conn(), subject, parallel, func(ctx context.Context, request []byte) ([]byte, error) {
		m, err := e.verifier.Open(subject, request)
		a := answer{Epoch: e.epoch.Load()}
		switch {
		case errors.Is(err, trust.ErrEpoch) && m.From != "" && !anyEpoch:
			a.Error, a.Code = err.Error(), CodeEpoch
		case err != nil && !(anyEpoch && errors.Is(err, trust.ErrEpoch)):
			e.refused.Note(subject, m.From, err)
			return nil, err
		default:
			a.fill(fn(ctx, m.From, m.Body))
		}
		body, err := json.Marshal(a)
		if err != nil {
			return nil, fmt.Errorf("encode answer: %w", err)
		}
		return e.signer.SignAnswer(request, body)
	})
}

func (a *answer) fill(data []byte, err error) {
	a.Data = data
	if err == nil {
		return
	}
	a.Error = err.Error()
	var coded interface{ Code() string }
	if errors.As(err, &coded) {
		a.Code = coded.Code()
	}
}

// Call sends data to subject, signed, and returns the answer of node. It returns *bus.RemoteError
// for an error that the node's handler returned, bus.ErrNoResponders when there is none, and an
// error of neither kind for an answer that node did not sign.
func (e *End) Call(ctx context.Context, node, subject string, data []byte) ([]byte, error) {
	a, err := e.once(ctx, node, subject, data)
	if err == nil && a.Code == CodeEpoch && !e.coordinator && a.Epoch > e.epoch.Load() {
		e.follow(a.Epoch) // The coordinator was started anew.
		a, err = e.once(ctx, node, subject, data)
	}
	if err != nil {
		return nil, err
	}
	if a.Error != "" {
		return nil, &bus.RemoteError{Subject: subject, Text: a.Error, Code: a.Code}
	}
	return a.Data, nil
}

func (e *End) once(ctx context.Context, node, subject string, data []byte) (answer, error) {
	request, err := e.signer.Sign(subject, e.epoch.Load(), data)
	if err != nil {
		return answer{}, err
	}
	reply, err := bus.Call(ctx, e.bus.Conn(), subject, request)
	var said *bus.RemoteError
	if errors.As(err, &said) {
		return answer{}, fmt.Errorf("call %s: refused by an unsigned answer: %s", subject, said.Text)
	}
	if err != nil {
		return answer{}, err
	}
	from, body, err := e.verifier.OpenAnswer(request, reply)
	if err == nil && from != node {
		err = fmt.Errorf("%w: %s answers for %s", trust.ErrForged, from, node)
	}
	if err != nil {
		e.refused.Note(subject, from, err)
		return answer{}, fmt.Errorf("call %s: %w", subject, err)
	}
	return decodeAnswer(body)
}

func decodeAnswer(body []byte) (answer, error) {
	var a answer
	if len(body) > maxAnswerBytes {
		return a, fmt.Errorf("answer of %d bytes, at most %d are allowed", len(body), maxAnswerBytes)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return a, fmt.Errorf("read answer: %w", err)
	}
	return a, nil
}

// CallReady is Call that tries again, every 20 ms until ctx ends, while there is no handler.
func (e *End) CallReady(ctx context.Context, node, subject string, data []byte) ([]byte, error) {
	for {
		reply, err := e.Call(ctx, node, subject, data)
		if !errors.Is(err, bus.ErrNoResponders) {
			return reply, err
		}
		timer := time.NewTimer(readyPause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		case <-timer.C:
		}
	}
}
