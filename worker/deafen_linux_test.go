package worker

import (
	"context"
	"net"
	"testing"
	"time"
)

// TestDeaf: a packet sent while the process is deaf never arrives, one sent after does.
func TestDeaf(t *testing.T) {
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // Only read.
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- deafen(ctx, time.Minute) }()
	// Until the filter is there, what is sent arrives.
	buf := make([]byte, 16)
	for i := 0; ; i++ {
		if i == 1000 {
			t.Fatal("everything arrives")
		}
		if !arrives(t, l, "lost", buf) {
			break
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if !arrives(t, l, "heard", buf) || string(buf[:5]) != "heard" {
		t.Errorf("after the partition %q arrives, want \"heard\"", buf[:5])
	}
}

func arrives(t *testing.T, l net.PacketConn, text string, buf []byte) bool {
	t.Helper()
	c, err := net.Dial("udp", l.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() // Only written.
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := l.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, _, err = l.ReadFrom(buf)
	return err == nil
}
