package membership

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var testKey = bytes.Repeat([]byte{7}, KeyBytes)

func TestThreeNodesJoinAndLeave(t *testing.T) {
	a := start(t, Config{NodeName: "a", Meta: []byte("meta of a")})
	b := start(t, Config{NodeName: "b", Meta: []byte("meta of b")})
	c := start(t, Config{NodeName: "c"})
	join(t, b, a)
	expect(t, a, Join, "b")
	expect(t, b, Join, "a")
	join(t, c, b)
	expect(t, a, Join, "c") // By gossip.
	for _, m := range []*Membership{a, b, c} {
		if diff := cmp.Diff([]string{"a", "b", "c"}, names(m)); diff != "" {
			t.Errorf("members at %s (-want +got):\n%s", m.name, diff)
		}
	}
	want := []Node{{Name: "a", Addr: a.Local().Addr, Meta: []byte("meta of a")}, {Name: "b", Addr: b.Local().Addr, Meta: []byte("meta of b")}, {Name: "c", Addr: c.Local().Addr}}
	if diff := cmp.Diff(want, c.Members(), cmpopts.EquateComparable(want[0].Addr), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("members at c (-want +got):\n%s", diff)
	}
	if err := b.Leave(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	expect(t, a, Leave, "b")
	expect(t, c, Leave, "b")
	if diff := cmp.Diff([]string{"a", "c"}, names(a)); diff != "" {
		t.Errorf("members after the leave (-want +got):\n%s", diff)
	}
}

// TestDeadNodeIsFound: Close says nothing to the others, as a killed process does.
func TestDeadNodeIsFound(t *testing.T) {
	a, b := start(t, Config{NodeName: "a"}), start(t, Config{NodeName: "b"})
	join(t, b, a)
	expect(t, a, Join, "b")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	expect(t, a, Leave, "b")
}

func TestMetaChangeIsAnEvent(t *testing.T) {
	a, b := start(t, Config{NodeName: "a"}), start(t, Config{NodeName: "b"})
	join(t, b, a)
	expect(t, a, Join, "b")
	if err := b.SetMeta([]byte("new"), 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if e := expect(t, a, Update, "b"); string(e.Node.Meta) != "new" {
		t.Errorf("metadata %q, want new", e.Node.Meta)
	}
	if err := b.SetMeta(make([]byte, MaxMeta+1), time.Second); err == nil || !strings.Contains(err.Error(), "513") {
		t.Errorf("long metadata: %v, want an error with its length", err)
	}
}

func TestDuplicateNameIsRefused(t *testing.T) {
	a, b, twin := start(t, Config{NodeName: "a"}), start(t, Config{NodeName: "b"}), start(t, Config{NodeName: "b"})
	join(t, b, a)
	expect(t, a, Join, "b")
	err := twin.Join(deadline(t), []string{a.Local().Addr.String()})
	if !errors.Is(err, ErrNameTaken) || !strings.Contains(err.Error(), b.Local().Addr.String()) {
		t.Errorf("join: %v, want ErrNameTaken with the address of b", err)
	}
	if e := expect(t, a, Conflict, "b"); e.Node.Addr != twin.Local().Addr {
		t.Errorf("conflict names %v, want %v", e.Node.Addr, twin.Local().Addr)
	}
	if e := expect(t, twin, Conflict, "b"); e.Node.Addr != b.Local().Addr {
		t.Errorf("conflict at the twin names %v, want %v", e.Node.Addr, b.Local().Addr)
	}
}

func TestWrongKeyIsRefused(t *testing.T) {
	a := start(t, Config{NodeName: "a"})
	b := start(t, Config{NodeName: "b", Keys: [][]byte{bytes.Repeat([]byte{8}, KeyBytes)}})
	err := b.Join(deadline(t), []string{a.Local().Addr.String()})
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), a.Local().Addr.String()) {
		t.Errorf("join: %v, want one line with the address", err)
	}
	if got := names(a); len(got) != 1 {
		t.Errorf("members %v, want a alone", got)
	}
}

func TestJoinErrors(t *testing.T) {
	a := start(t, Config{NodeName: "a"})
	if err := a.Join(deadline(t), nil); err != nil {
		t.Errorf("no addresses: %v", err)
	}
	if err := a.Join(deadline(t), []string{closedAddr(t)}); err == nil {
		t.Error("closed address: no error")
	}
	b := start(t, Config{NodeName: "b"})
	if err := b.Join(deadline(t), []string{closedAddr(t), a.Local().Addr.String()}); err != nil {
		t.Errorf("one good address of two: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Join(ctx, []string{a.Local().Addr.String()}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestStartErrors(t *testing.T) {
	used := start(t, Config{NodeName: "used"}).Local().Addr
	for name, tc := range map[string]struct {
		c    Config
		want string
	}{
		"name":        {Config{BindAddr: "127.0.0.1", Keys: [][]byte{testKey}}, "node name"},
		"short key":   {Config{NodeName: "n", BindAddr: "127.0.0.1", Keys: [][]byte{testKey[:16]}}, "16 bytes"},
		"meta":        {Config{NodeName: "n", BindAddr: "127.0.0.1", Keys: [][]byte{testKey}, Meta: make([]byte, 513)}, "513"},
		"no bind":     {Config{NodeName: "n", Keys: [][]byte{testKey}}, "bind address"},
		"unspecified": {Config{NodeName: "n", BindAddr: "0.0.0.0", Keys: [][]byte{testKey}}, "unspecified"},
		"advertise":   {Config{NodeName: "n", BindAddr: "0.0.0.0", AdvertiseAddr: "host", Keys: [][]byte{testKey}}, "advertise"},
		"port":        {Config{NodeName: "n", BindAddr: "127.0.0.1", BindPort: 70000, Keys: [][]byte{testKey}}, "70000"},
		"port in use": {Config{NodeName: "n", BindAddr: "127.0.0.1", BindPort: int(used.Port()), Keys: [][]byte{testKey}}, "in use"},
	} {
		m, err := Start(tc.c)
		if err == nil {
			_ = m.Close()
			t.Errorf("%s: no error", name)
		} else if text := err.Error(); !strings.Contains(text, tc.want) || strings.Contains(text, "\n") {
			t.Errorf("%s: error %q, want one line with %q", name, text, tc.want)
		}
	}
}

// TestAdvertisedAddress: others hear the advertised address, not the bound one.
func TestAdvertisedAddress(t *testing.T) {
	m := start(t, Config{NodeName: "a", BindAddr: "0.0.0.0", AdvertiseAddr: "127.0.0.1"})
	if got := m.Local().Addr; got.Addr().String() != "127.0.0.1" || got.Port() == 0 {
		t.Errorf("advertises %v, want 127.0.0.1 and the bound port", got)
	}
}

// TestFullQueueBecomesResync: a reader that falls behind gets one Resync in place of what was
// dropped, nothing after it that it covers, and later events again.
func TestFullQueueBecomesResync(t *testing.T) {
	q := newQueue()
	defer q.stop()
	event := func(i int) Event { return Event{Kind: Join, Node: Node{Name: fmt.Sprint(i)}} }
	q.add(event(0))
	q.add(event(1))
	q.add(Event{Kind: Conflict, Node: Node{Name: "twin"}})
	for i := range 3 * maxQueued {
		q.add(event(i))
	}
	q.mu.Lock()
	n := len(q.waiting)
	q.mu.Unlock()
	if n > maxQueued {
		t.Errorf("%d events wait, at most %d may", n, maxQueued)
	}
	var kinds []Kind
	for e := range q.out {
		kinds = append(kinds, e.Kind)
		if e.Kind == Resync {
			break
		}
	}
	if len(kinds) == 3 {
		kinds = kinds[1:] // The pump may hold one event from before.
	}
	if diff := cmp.Diff([]Kind{Conflict, Resync}, kinds); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
	q.add(event(-1))
	if e := <-q.out; e.Node.Name != "-1" {
		t.Errorf("after the Resync got %v, want the new event", e)
	}
}

func TestLogLinesAreSplit(t *testing.T) {
	var got []string
	w := logLines(func(level, line string) { got = append(got, level+"|"+line) })
	for _, line := range []string{"[DEBUG] memberlist: a\n", "[ERR] memberlist: b", "[WARN] c", "plain", "[odd"} {
		if _, err := w.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"debug|a", "error|b", "warn|c", "info|plain", "info|[odd"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCloseIsConcurrentAndRepeated(t *testing.T) {
	m := start(t, Config{NodeName: "a"})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, ok := <-m.Events(); ok {
		t.Error("events are open after Close")
	}
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func start(t *testing.T, c Config) *Membership {
	t.Helper()
	if c.BindAddr == "" {
		c.BindAddr = "127.0.0.1"
	}
	if c.Keys == nil {
		c.Keys = [][]byte{testKey}
	}
	m, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func join(t *testing.T, m, other *Membership) {
	t.Helper()
	if err := m.Join(deadline(t), []string{other.Local().Addr.String()}); err != nil {
		t.Fatal(err)
	}
}

// expect reads events until the wanted one comes.
func expect(t *testing.T, m *Membership, k Kind, name string) Event {
	t.Helper()
	ctx := deadline(t)
	for {
		select {
		case e := <-m.Events():
			if e.Kind == k && e.Node.Name == name {
				return e
			}
		case <-ctx.Done():
			t.Fatalf("%v of %s did not come at %s", k, name, m.name)
		}
	}
}

func names(m *Membership) []string {
	var out []string
	for _, n := range m.Members() {
		out = append(out, n.Name)
	}
	return out
}

func closedAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	return l.Addr().String()
}
