package signed

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"yohaku/internal/bus"
	"yohaku/internal/trust"
)

const subject = "yohaku.run.node.w1"

const coordinatorNode = trust.CoordinatorPrefix + "1"

// node is a member of a test's cluster.
type node struct {
	id  *trust.Identity
	bus *bus.Bus
	end *End
}

// cluster starts the coordinator and workers, all routed to it, and collects what ends refuse.
func cluster(t *testing.T, a *trust.Authority, epoch uint64, workers ...string) (coordinator node, others []node, refusals *lines) {
	t.Helper()
	refusals = &lines{}
	id, err := a.IssueCoordinator(coordinatorNode, []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	coordinator = start(t, id, nil)
	if coordinator.end, err = Coordinator(coordinator.bus, id, refusals.note); err != nil {
		t.Fatal(err)
	}
	coordinator.end.Begin(epoch)
	for _, name := range workers {
		id, err := a.Issue(name, []string{"127.0.0.1"})
		if err != nil {
			t.Fatal(err)
		}
		w := start(t, id, []string{coordinator.bus.RouteAddr()})
		if w.end, err = Worker(w.bus, id, epoch, refusals.note); err != nil {
			t.Fatal(err)
		}
		others = append(others, w)
	}
	if err := coordinator.bus.WaitPeers(deadline(t), workers...); err != nil {
		t.Fatal(err)
	}
	return coordinator, others, refusals
}

func start(t *testing.T, id *trust.Identity, routes []string) node {
	t.Helper()
	mutual, err := id.MutualTLS()
	if err != nil {
		t.Fatal(err)
	}
	b, err := bus.Start(bus.Config{NodeName: id.NodeName, RunID: "run", RouteListen: "127.0.0.1:0", Routes: routes, TLS: mutual})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return node{id: id, bus: b}
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// lines collects reports of refused messages.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) note(_, from string, count int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, fmt.Sprint(from, " ", count, " ", err))
}

func (l *lines) get() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string{}, l.all...)
}

// taker handles a subject and remembers what it was given.
type taker struct {
	mu    sync.Mutex
	taken []string
}

func (r *taker) handle(_ context.Context, from string, data []byte) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken = append(r.taken, from+": "+string(data))
	if string(data) == "fail" {
		return nil, errors.New("as asked")
	}
	return append([]byte("got "), data...), nil
}

func (r *taker) handleOn(t *testing.T, e *End, subject string) {
	t.Helper()
	h, err := e.Handle(subject, 1, r.handle)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
}

func TestCallsGoBothWays(t *testing.T) {
	c, w, _ := cluster(t, authority(t), 3, "w1")
	var at, up taker
	at.handleOn(t, w[0].end, subject)
	up.handleOn(t, c.end, "yohaku.run.coordinator.report")
	if got, err := c.end.CallReady(deadline(t), "w1", subject, []byte("order")); err != nil || string(got) != "got order" {
		t.Errorf("order: %q, %v", got, err)
	}
	var said *bus.RemoteError
	if _, err := c.end.Call(deadline(t), "w1", subject, []byte("fail")); !errors.As(err, &said) || said.Text != "as asked" {
		t.Errorf("failing order: %v", err)
	}
	if got, err := w[0].end.CallReady(deadline(t), coordinatorNode, "yohaku.run.coordinator.report", []byte("word")); err != nil || string(got) != "got word" {
		t.Errorf("word: %q, %v", got, err)
	}
	if diff := cmp.Diff([]string{coordinatorNode + ": order", coordinatorNode + ": fail"}, at.taken); diff != "" {
		t.Errorf("orders (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"w1: word"}, up.taken); diff != "" {
		t.Errorf("words (-want +got):\n%s", diff)
	}
}

// heard waits until what from publishes reaches the subscriptions that at has by now: servers tell each other of them in
// order, one after the other.
func heard(t *testing.T, from, at node) {
	t.Helper()
	probe, err := at.bus.Conn().SubscribeSync("probe")
	if err != nil {
		t.Fatal(err)
	}
	for range 400 {
		if err := from.bus.Conn().Publish("probe", nil); err != nil {
			t.Fatal(err)
		}
		if _, err := probe.NextMsg(50 * time.Millisecond); err == nil {
			return
		}
	}
	t.Fatal("subscriptions are not known at the other node")
}

// TestHostileWorker: what a worker with a good certificate and a server of its own publishes as
// an order, as another node's word, or again, has no effect, and is reported once.
func TestHostileWorker(t *testing.T) {
	a := authority(t)
	c, w, refusals := cluster(t, a, 3, "w1", "hostile")
	victim, hostile := w[0], w[1]
	var at taker
	at.handleOn(t, victim.end, subject)
	seen, err := hostile.bus.Conn().SubscribeSync(subject) // Its own server may hear everything.
	if err != nil {
		t.Fatal(err)
	}
	if err := hostile.bus.WaitPeers(deadline(t), "w1"); err != nil {
		t.Fatal(err)
	}
	heard(t, c, hostile)
	if _, err := c.end.CallReady(deadline(t), "w1", subject, []byte("order")); err != nil {
		t.Fatal(err)
	}
	captured, err := seen.NextMsgWithContext(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	own, err := hostile.id.Signer()
	if err != nil {
		t.Fatal(err)
	}
	forged, err := own.Sign(subject, 3, []byte("forged"))
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := authority(t).IssueCoordinator(coordinatorNode, nil)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := stranger.Signer()
	if err != nil {
		t.Fatal(err)
	}
	fromElsewhere, err := foreign.Sign(subject, 3, []byte("foreign"))
	if err != nil {
		t.Fatal(err)
	}
	altered := append(append([]byte{}, captured.Data...), '!')
	for name, data := range map[string][]byte{"forged": forged, "foreign": fromElsewhere, "replayed": captured.Data, "altered": altered, "plain": []byte("order"), "empty": nil} {
		for range 50 {
			if _, err := bus.Call(deadline(t), hostile.bus.Conn(), subject, data); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
	}
	if diff := cmp.Diff([]string{coordinatorNode + ": order"}, at.taken); diff != "" {
		t.Errorf("orders that had effect (-want +got):\n%s", diff)
	}
	if got := refusals.get(); len(got) != 2 { // Not authentic, and replayed.
		t.Errorf("%d reports of 300 refused messages, want 2: %q", len(got), got)
	}
	// The hostile node cannot answer for another one either.
	if _, err := c.end.Call(deadline(t), "hostile", subject, []byte("to w1")); !errors.Is(err, trust.ErrForged) {
		t.Errorf("w1 answered for another node: %v", err)
	}
}

// TestRevokedNodeIsRefused: its signature counts no more, whatever connection it comes by.
func TestRevokedNodeIsRefused(t *testing.T) {
	a := authority(t)
	c, w, refusals := cluster(t, a, 1, "w1")
	var up taker
	up.handleOn(t, c.end, "yohaku.run.coordinator.report")
	if _, err := w[0].end.CallReady(deadline(t), coordinatorNode, "yohaku.run.coordinator.report", []byte("a")); err != nil {
		t.Fatal(err)
	}
	a.Revoked().Add([]string{"w1"})
	if _, err := w[0].end.Call(deadline(t), coordinatorNode, "yohaku.run.coordinator.report", []byte("b")); err == nil {
		t.Error("a revoked node was heard")
	}
	if got := refusals.get(); len(got) != 1 || !strings.Contains(got[0], "revoked") {
		t.Errorf("reports %q, want one of a revoked node", got)
	}
}

// TestEpochs: a worker follows a coordinator that was started anew, and takes no orders of its
// predecessor any more.
func TestEpochs(t *testing.T) {
	a := authority(t)
	c, w, _ := cluster(t, a, 1, "w1")
	var at, up taker
	at.handleOn(t, w[0].end, subject)
	old, err := c.id.Signer()
	if err != nil {
		t.Fatal(err)
	}
	next, err := Coordinator(c.bus, c.id, nil)
	if err != nil {
		t.Fatal(err)
	}
	next.Begin(2)
	up.handleOn(t, next, "yohaku.run.coordinator.hello")
	if got, err := w[0].end.CallReady(deadline(t), coordinatorNode, "yohaku.run.coordinator.hello", []byte("hello")); err != nil || string(got) != "got hello" {
		t.Errorf("a word of the epoch before: %q, %v; want it signed anew", got, err)
	}
	if w[0].end.Epoch() != 2 {
		t.Errorf("worker in epoch %d, want 2", w[0].end.Epoch())
	}
	stale, err := old.Sign(subject, 1, []byte("stale"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bus.CallReady(deadline(t), c.bus.Conn(), subject, stale); err != nil {
		t.Logf("stale order: %v", err)
	}
	if _, err := next.CallReady(deadline(t), "w1", subject, []byte("new")); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{coordinatorNode + ": new"}, at.taken); diff != "" {
		t.Errorf("orders that had effect (-want +got):\n%s", diff)
	}
}

func TestRefusalsAreReportedOnceAMinute(t *testing.T) {
	now := time.Unix(1e9, 0)
	var reports []int
	r := newRefusals(func(_, _ string, count int, _ error) { reports = append(reports, count) }, func() time.Time { return now })
	for range 1000 {
		r.Note("s", "node", trust.ErrForged)
	}
	r.Note("s", "node", trust.ErrReplayed) // Another reason.
	now = now.Add(time.Minute)
	r.Note("s", "node", trust.ErrForged)
	if diff := cmp.Diff([]int{1, 1, 1000}, reports); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"epoch":1,"error":"e","code":"c","data":"AA=="}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := decodeAnswer(data)
		if err == nil && len(a.Data) > len(data) {
			t.Errorf("%d bytes of data in an answer of %d", len(a.Data), len(data))
		}
	})
}

func authority(t *testing.T) *trust.Authority {
	t.Helper()
	a, err := trust.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestAQuestionOfNoEpoch is answered, and moves nobody to another epoch; see HandleAny.
func TestAQuestionOfNoEpoch(t *testing.T) {
	c, w, _ := cluster(t, authority(t), 3, "w1")
	h, err := w[0].end.HandleAny(subject, 1, func(_ context.Context, from string, data []byte) ([]byte, error) {
		return append([]byte(from+" asks "), data...), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	asking, err := Coordinator(c.bus, c.id, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := asking.CallReady(deadline(t), "w1", subject, []byte("who")); err != nil || string(got) != coordinatorNode+" asks who" {
		t.Errorf("answer %q, %v", got, err)
	}
	if w[0].end.Epoch() != 3 {
		t.Errorf("worker in epoch %d, want 3", w[0].end.Epoch())
	}
}
