package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// inside runs fn on a thread in the namespace.
func (n namespace) inside(t *testing.T, fn func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // Never unlocked: the thread ends with the goroutine, and its namespace with it.
		ns, err := os.Open("/run/netns/" + string(n))
		if err == nil {
			err = errors.Join(unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET), ns.Close())
		}
		if err == nil {
			err = fn()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// capture searches everything that passes a namespace's interfaces for markers, across the
// borders of packets.
type capture struct {
	fd      int
	markers map[string][]byte
	ended   chan struct{}

	mu    sync.Mutex
	bytes int
	found map[string]int
	tails map[string][]byte // The last bytes of each direction of each flow.
}

// listen starts a capture; end stops it.
func (n namespace) listen(t *testing.T, markers map[string][]byte) *capture {
	t.Helper()
	c := &capture{markers: markers, ended: make(chan struct{}), found: map[string]int{}, tails: map[string][]byte{}}
	n.inside(t, func() (err error) {
		all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
		if c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, int(all)); err != nil {
			return err
		}
		return errors.Join(unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
			unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}))
	})
	stop := make(chan struct{})
	go c.read(stop)
	t.Cleanup(func() {
		close(stop)
		<-c.ended
		_ = unix.Close(c.fd) // Only read.
	})
	return c
}

func (c *capture) read(stop chan struct{}) {
	defer close(c.ended)
	packet := make([]byte, 1<<17) // Segments may be joined up to 64 KiB.
	for {
		select {
		case <-stop:
			return
		default:
		}
		if n, _, err := unix.Recvfrom(c.fd, packet, 0); err == nil {
			c.search(packet[:n])
		}
	}
}

const tailBytes = 256

// search looks at the payload of one Ethernet frame with IPv4, behind the end of its flow's last one.
func (c *capture) search(frame []byte) {
	const ethernet, ipv4 = 14, 20
	if len(frame) < ethernet+ipv4 || binary.BigEndian.Uint16(frame[12:]) != unix.ETH_P_IP {
		return
	}
	packet := frame[ethernet:]
	head := int(packet[0]&15) * 4
	if len(packet) < head+8 {
		return
	}
	flow, body := string(packet[9:10])+string(packet[12:20])+string(packet[head:head+4]), packet[head+8:] // Protocol, addresses, ports.
	if packet[9] == unix.IPPROTO_TCP && len(packet) >= head+20 {
		body = packet[min(len(packet), head+int(packet[head+12]>>4)*4):]
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes += len(body)
	stream := append(c.tails[flow], body...)
	for name, m := range c.markers {
		c.found[name] += bytes.Count(stream, m)
	}
	c.tails[flow] = bytes.Clone(stream[max(0, len(stream)-tailBytes):])
}

func (c *capture) result() (total int, found map[string]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found = map[string]int{}
	for name, n := range c.found {
		if n > 0 {
			found[name] = n
		}
	}
	return c.bytes, found
}

// TestCaptureShowsNoPlaintext: what passes a worker's interface while it joins and trains holds no
// subject, protocol word, prompt, parameter or secret; the same search finds each of them when it
// is sent plainly over the same interface.
func TestCaptureShowsNoPlaintext(t *testing.T) {
	here, there := twoNamespaces(t)
	weights, err := os.ReadFile(filepath.Join("testdata", "tiny-pipeline", "unet", "diffusion_pytorch_model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	markers := map[string][]byte{
		"subject": []byte("yohaku.run."), "route protocol": []byte("RMSG "), "order": []byte(`"gradient_accumulation_steps"`), "node": []byte(`"kernel_set"`),
		"prompt": []byte("thing number"), "parameters": weights[len(weights)/2 : len(weights)/2+32], "header": weights[8:40],
	}
	c := newCluster(t)
	p := here.start(t, "coordinator", "up", "--data", "pairs.parquet", "--model", "tiny-pipeline", "--steps", "8", "--gradient-accumulation-steps", "4",
		"--train-batch-size", "2", "--no-eval", "--log-format", "json", "--out", c.out, "--run-id", "run",
		"--listen", "10.213.7.1:0", "--local-workers", "1", "--min-workers", "2")
	addr, token, err := p.joinLine()
	if err != nil {
		t.Fatal(err)
	}
	markers["token"] = []byte(strings.Split(token, ".")[2])
	secure := there.listen(t, markers)
	w := there.start(t, "worker", "join", addr, "--token", token, "--name", "far", "--log-format", "json")
	c.ends(p)
	c.ends(w)
	checkTookPart(t, filepath.Join(c.out, "run"), "far", 1)
	total, found := secure.result()
	if len(found) > 0 {
		t.Errorf("in plain text on the wire: %v", found)
	}
	if total < 2*len(weights) {
		t.Errorf("only %d bytes were seen, want at least the model and the ring's sums: the capture is wrong", total)
	}

	plain := there.listen(t, markers)
	there.inside(t, func() error {
		conn, err := net.ListenPacket("udp", ":0") // Unconnected: nobody listens there, which is no error then.
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		for _, m := range markers { // Each in two packets.
			for _, part := range [][]byte{append([]byte("…"), m[:len(m)/2]...), append(bytes.Clone(m[len(m)/2:]), "…"...)} {
				if _, err := conn.WriteTo(part, &net.UDPAddr{IP: net.IPv4(10, 213, 7, 1), Port: 9}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), eventTimeout)
	defer cancel()
	for _, found := plain.result(); len(found) < len(markers); _, found = plain.result() {
		if ctx.Err() != nil {
			t.Fatalf("the same search finds only %v of %d markers sent plainly: it proves nothing", found, len(markers))
		}
		runtime.Gosched()
	}
	t.Logf("%d bytes captured, none of %d markers", total, len(markers))
}
