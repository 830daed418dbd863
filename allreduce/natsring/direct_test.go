package natsring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"yohaku/internal/bus"
)

// joinBuses makes a ring of ranks with a bus each, as workers have them.
func joinBuses(t testing.TB, world int, direct func(rank int, b *bus.Bus) Direct, options ...ringOption) []*Ring {
	t.Helper()
	var routes []string
	rings := make([]*Ring, world)
	for rank := range world {
		b, err := bus.Start(bus.Config{NodeName: fmt.Sprint("rank", rank), RunID: "test", RouteListen: "127.0.0.1:0", Routes: routes})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		routes = []string{b.RouteAddr()}
		c := Config{Conn: b.Conn(), Direct: direct(rank, b), RunID: "test", Rank: rank, Generation: 7, Names: make([]string, world),
			SilenceTimeout: 10 * time.Second, JoinTimeout: 30 * time.Second}
		for _, o := range options {
			o(&c)
		}
		if rings[rank], err = New(c); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { rings[rank].Close() })
	}
	return rings
}

func sameBus(_ int, b *bus.Bus) Direct { return b }

// TestDirect: each rank takes its chunks from its previous rank's server.
func TestDirect(t *testing.T) {
	const world = 3
	rings := joinBuses(t, world, sameBus)
	ctx := within(t, time.Minute)
	for step := range 4 {
		v := draw(uint64(step), world, step*400_000, step*100, 1<<20)
		mustAll(t, everyone(rings, func(rank int, r *Ring) error {
			if _, err := r.AllGather(ctx, Operation{Step: step}, "word", []byte{byte(rank)}); err != nil {
				return err
			}
			return v.reduce(ctx, r, rank, Operation{Step: step})
		}))
	}
	for rank, r := range rings {
		waitFor(t, r, func(m *machine) bool { return m.fromPrev == pathDirect && m.toNext == nextDirect })
		if n := len(r.pool.free); n == 0 || n > 4*defaultWindow {
			t.Errorf("rank %d has %d buffers", rank, n)
		}
	}
}

// refusing makes no connection to peers.
type refusing struct{ *bus.Bus }

func (refusing) ConnectPeer(context.Context, string, func(net.Conn) net.Conn, ...nats.Option) (*nats.Conn, error) {
	return nil, errors.New("no way")
}

// TestDirectRefused: a rank that cannot connect takes its chunks through the routes, and the others theirs directly.
func TestDirectRefused(t *testing.T) {
	const world = 3
	rings := joinBuses(t, world, func(rank int, b *bus.Bus) Direct {
		switch rank {
		case 1:
			return refusing{b}
		case 2:
			return nil
		}
		return b
	})
	ctx := within(t, time.Minute)
	v := draw(1, world, 700_000, 700, 1<<20)
	for step := range 3 {
		mustAll(t, everyone(rings, func(rank int, r *Ring) error { return v.reduce(ctx, r, rank, Operation{Step: step}) }))
	}
	for rank, want := range []path{pathRouted, pathRouted, pathRouted} { // Rank 2 offers none to rank 0, and makes none.
		waitFor(t, rings[rank], func(m *machine) bool { return m.fromPrev == want })
	}
}

// TestDirectLost: when the connection breaks in an operation, an attempt is lost, and the next one goes through the routes.
func TestDirectLost(t *testing.T) {
	const world = 3
	rings := joinBuses(t, world, sameBus, func(c *Config) { c.Window = 4 })
	ctx := within(t, time.Minute)
	v := draw(1, world, 900_000, 900, 1<<20)
	mustAll(t, everyone(rings, func(rank int, r *Ring) error { return v.reduce(ctx, r, rank, Operation{}) }))
	broken := make(chan struct{})
	waitFor(t, rings[1], func(*machine) bool { rings[1].pull.tap.Close(); close(broken); return true })
	<-broken
	mustAll(t, everyone(rings, func(rank int, r *Ring) error {
		var err error
		for attempt := range 8 {
			if err = v.reduce(ctx, r, rank, Operation{Step: 1, Attempt: attempt}); err == nil {
				break
			}
			var ahead *SupersededError
			if errors.As(err, &ahead) && ahead.Seen.Attempt > attempt {
				continue
			}
		}
		if err != nil {
			return err
		}
		return v.reduce(ctx, r, rank, Operation{Step: 2})
	}))
	waitFor(t, rings[1], func(m *machine) bool { return m.fromPrev == pathRouted })
}

// TestTap: tapped messages are taken out of the stream whatever its pieces are; all else stays as it was.
func TestTap(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789\r\nMSG a.b 1 5\r\n"), 2000)
	long := append(bytes.Repeat([]byte("x"), 3*readAhead), "\r\n"...)
	var stream, want bytes.Buffer
	add := func(head string, payload []byte, mine bool) {
		text := fmt.Appendf(nil, "%s %d\r\n%s\r\n", head, len(payload), payload)
		stream.Write(text)
		if !mine {
			want.Write(text)
		}
	}
	stream.Write(long)
	want.Write(long)
	add("MSG a.b 1", body, true)
	add("MSG a.c 2", body, false)
	add("HMSG a.b 1 0", nil, false)
	add("MSG a.b 1", nil, true)
	add("MSG a.b 1 reply", []byte("x"), true)
	stream.WriteString("PING\r\nMSG nonsense\r\n")
	want.WriteString("PING\r\nMSG nonsense\r\n")
	add("MSG a.b 1", make([]byte, maxFrameBytes+1), true) // No frame: thrown away.
	stream.WriteString("PONG\r\n")
	want.WriteString("PONG\r\n")
	for _, piece := range []int{1, 7, 4096, 1 << 20} {
		var taken [][]byte
		p := &pool{}
		tapped := newTap(&pieces{data: stream.Bytes(), most: piece}, "a.b", p, func(b []byte) { taken = append(taken, bytes.Clone(b)); p.put(b) })
		got, err := io.ReadAll(tapped)
		if err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Errorf("pieces of %d: %d bytes passed on, error %v; want %d", piece, len(got), err, want.Len())
		}
		if len(taken) != 3 || !bytes.Equal(taken[0], body) || len(taken[1]) != 0 || string(taken[2]) != "x" {
			t.Errorf("pieces of %d: %d messages taken, want 3", piece, len(taken))
		}
		if len(p.free) != 1 {
			t.Errorf("%d buffers for one message at a time", len(p.free))
		}
	}
}

// pieces is a connection that gives its data in pieces.
type pieces struct {
	net.Conn
	data []byte
	most int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.data[:min(p.most, len(p.data))])
	p.data = p.data[n:]
	return n, nil
}

// FuzzTap: no stream makes the tap panic, hang or take more than it is given.
func FuzzTap(f *testing.F) {
	f.Add([]byte("MSG a.b 1 3\r\nabc\r\nPING\r\n"), 5)
	f.Add([]byte("MSG a.b 1 99999999999999999999\r\nabc\r\n"), 1)
	f.Add([]byte("MSG a.c 1 -3\r\nHMSG a.b 1 2 3\r\n"), 2)
	f.Fuzz(func(t *testing.T, stream []byte, most int) {
		p := &pool{}
		tapped := newTap(&pieces{data: stream, most: 1 + most&0xff}, "a.b", p, func(b []byte) {
			if len(b) > len(stream) {
				t.Errorf("%d bytes taken of %d", len(b), len(stream))
			}
			p.put(b)
		})
		if got, err := io.ReadAll(tapped); len(got) > len(stream)+2 && err == nil {
			t.Errorf("%d bytes passed on of %d", len(got), len(stream))
		}
	})
}
