package worker

import (
	"context"
	"fmt"
	"runtime/debug"

	"yohaku/internal/wire"
)

// do performs a job. A panic in a job is a bug of ours: it is reported with its place, and the
// worker lives on for the next one.
func (w *Worker) do(ctx context.Context, j wire.Job, wish *wish) (done wire.Done) {
	defer func() {
		if p := recover(); p != nil {
			w.log.Error().Str("cause", fmt.Sprint(p)).Str("stack", string(debug.Stack())).Msg("job panicked")
			done = wire.Done{Error: fmt.Sprintf("internal error: %v", p)}
		}
	}()
	var err error
	switch j.Kind {
	case wire.JobEncode:
		done, err = w.encode(ctx, *j.Encode)
	case wire.JobSample:
		if err = w.dropResident(); err == nil { // Training is over.
			done, err = w.sample(ctx, *j.Sample)
		}
	case wire.JobScore:
		if err = w.dropResident(); err == nil {
			done, err = w.score(ctx, *j.Score)
		}
	case wire.JobPrepare:
		done.Following, err = w.prepare(ctx, *j.Train)
	case wire.JobTrain:
		done, err = w.train(ctx, *j.Train, wish)
	case wire.JobDonate:
		done, err = w.donate(ctx, *j.Donate)
	}
	if err != nil {
		done.Error = err.Error()
	}
	return done
}
