package worker

import (
	"errors"
	"time"

	"yohaku/internal/logkey"
	"yohaku/internal/wire"
)

// errNoChaos refuses an order to hurt this worker.
var errNoChaos = errors.New("this worker was started without --allow-chaos")

// chaosDelay lets the answer to the order leave before the fault.
const chaosDelay = 20 * time.Millisecond

// checkChaos tells whether this worker lets itself be hurt in this way.
func (w *Worker) checkChaos(c wire.Chaos) error {
	if !w.o.AllowChaos {
		return errNoChaos
	}
	return c.Validate()
}

// chaos hurts this worker. A partition ends by itself, beside what the worker does.
func (w *Worker) chaos(c wire.Chaos) {
	w.log.Warn().Str("fault", string(c.Kind)).Int(logkey.DurationMS, c.DurationMS).Msg("fault ordered")
	time.Sleep(chaosDelay)
	var err error
	switch c.Kind {
	case wire.ChaosKill:
		err = killSelf()
	case wire.ChaosFreeze:
		err = freezeSelf(c.Duration())
	case wire.ChaosPartition:
		w.faults.Go(func() {
			if err := deafen(w.life, c.Duration()); err != nil {
				w.log.Error().Err(err).Msg("not cut off")
			}
		})
	}
	if err != nil {
		w.log.Error().Err(err).Str("fault", string(c.Kind)).Msg("fault not done")
	}
}
