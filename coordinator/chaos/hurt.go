package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"yohaku/coordinator/api"
)

// weapon is a way to hurt one worker.
type weapon struct {
	local *process // By a signal; else by an order.
	how   string
}

// weapon finds a way to hurt a worker: processes of this machine by signals, others, and partitions, by an
// order that the worker must allow.
func (k *chaos) weapon(n api.Node, kind Kind) (weapon, error) {
	var why error
	if n.Host == k.host && kind != Partition {
		p, err := findWorker(n.PID, k.addrs)
		if err == nil {
			return weapon{&p, fmt.Sprintf("process %d", n.PID)}, nil
		}
		why = err
	}
	if n.AllowChaos {
		return weapon{nil, "by an order"}, nil
	}
	return weapon{}, errors.Join(why, fmt.Errorf("worker %s on %s was started without --allow-chaos", n.Name, n.Host))
}

// victim picks a rank that can be hurt.
func (k *chaos) victim(s api.Status, kind Kind) (api.Node, weapon, error) {
	all := ranks(s)
	var why error
	for _, i := range k.plan.rng.Perm(len(all)) {
		w, err := k.weapon(all[i], kind)
		if err == nil {
			return all[i], w, nil
		}
		why = errors.Join(why, err)
	}
	return api.Node{}, weapon{}, fmt.Errorf("no worker can be hurt by a %s: %w", kind, why)
}

// hurt kills, freezes or cuts off one worker.
func (k *chaos) hurt(ctx context.Context, s api.Status, o *Outcome) error {
	n, w, err := k.victim(s, o.Fault)
	if err != nil {
		return err
	}
	o.Node = n.Name
	k.say("%s %s (rank %d, %s) at step %d\n", o.Fault, n.Name, n.Rank, w.how, s.Step)
	t0 := time.Now()
	lasts := map[Kind]time.Duration{Freeze: k.FreezeFor, Partition: k.PartitionFor}[o.Fault]
	end, err := k.strike(ctx, w, n, o.Fault, lasts)
	if err != nil {
		return err
	}
	if o.Fault.lasts() {
		err := k.outlast(ctx, o, t0, lasts)
		if err := errors.Join(err, end()); err != nil {
			return err
		}
		return k.comesBack(ctx, o, t0)
	}
	if err := k.recovered(ctx, o, t0, nil); err != nil {
		return err
	}
	if k.Replace && w.local != nil {
		return k.replace(ctx)
	}
	return nil
}

// strike does the fault. The caller calls end when it is over.
func (k *chaos) strike(ctx context.Context, w weapon, n api.Node, kind Kind, lasts time.Duration) (end func() error, err error) {
	nothing := func() error { return nil }
	switch {
	case w.local != nil && kind == Kill:
		return nothing, w.local.Kill()
	case w.local != nil && kind == Freeze:
		return w.local.thaw, w.local.freeze()
	}
	client, err := k.find()
	if err != nil {
		return nil, err
	}
	return nothing, client.Hurt(ctx, api.Fault{Kind: string(kind), Node: n.Name, Duration: lasts})
}

// outlast watches what the others do while the fault lasts.
func (k *chaos) outlast(ctx context.Context, o *Outcome, t0 time.Time, lasts time.Duration) error {
	for time.Since(t0) < lasts {
		if _, err := k.look(ctx, o, t0, nil); err != nil {
			return err
		}
		if err := pause(ctx, min(pollPeriod, lasts)); err != nil {
			return err
		}
	}
	return nil
}

// comesBack waits until a worker that was away trains again. A fault that was over before anybody
// noticed is recovered when steps are committed.
func (k *chaos) comesBack(ctx context.Context, o *Outcome, t0 time.Time) error {
	thawed, err := k.status(ctx)
	if err != nil {
		return err
	}
	return k.wait(ctx, k.Limit, "return of "+o.Node, func() (bool, error) {
		if done, err := k.look(ctx, o, t0, nil); done || err != nil {
			return done, err
		}
		s, err := k.status(ctx)
		if err == nil && o.DetectMS == nil && s.Step > thawed.Step+1 {
			o.Note = "over before anybody noticed"
			return true, nil
		}
		return false, err
	})
}

// replace starts a local worker in the place of one that was killed, and waits until it trains.
func (k *chaos) replace(ctx context.Context) error {
	s, err := k.status(ctx)
	if err != nil {
		return err
	}
	k.say("      replaced: ")
	o := Outcome{Fault: Join}
	return k.join(ctx, s, &o)
}
