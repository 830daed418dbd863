package membership

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// TestStreamsAreBounded: a source that opens connections and sends nothing gets a bounded number,
// the others are closed unheard, and a member still joins once some of them are gone.
func TestStreamsAreBounded(t *testing.T) {
	a := start(t, Config{NodeName: "a"})
	var conns []net.Conn
	refused := 0
	for range 4 * streamsPerSource {
		c, err := net.Dial("tcp", a.Local().Addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		conns = append(conns, c)
	}
	for _, c := range conns {
		if err := c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, io.EOF) {
			refused++
		}
	}
	if want := len(conns) - streamsPerSource; refused < want {
		t.Errorf("%d of %d connections were refused, want at least %d", refused, len(conns), want)
	}
	for _, c := range conns {
		_ = c.Close()
	}
	b, ctx := start(t, Config{NodeName: "b"}), deadline(t)
	for err := b.Join(ctx, []string{a.Local().Addr.String()}); err != nil; err = b.Join(ctx, []string{a.Local().Addr.String()}) {
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}
