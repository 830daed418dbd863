package bus

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// The ring's bulk goes one hop: a rank publishes into its own server, and its next rank is a client there. ringUser is the
// account of these clients. Its password is made anew by each process and told by an offer, over the routes.
//
// What a ring needs, for whoever grants permissions to workers: on its own server and over routes it publishes to and
// subscribes to yohaku.RUN.ring.EPOCH.GENERATION.RANK.{data,ack,bulk}, of its own and of its neighbours' ranks; as ringUser on the
// previous rank's server it subscribes to ….bulk and publishes to ….ack, and nothing else.
const ringUser = "ring"

// ringPermissions are those of ringUser.
func (b *Bus) ringPermissions() *server.Permissions {
	ring := "yohaku." + b.config.RunID + ".ring.*.*.*."
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{ring + "ack"}},
		Subscribe: &server.SubjectPermission{Allow: []string{ring + "bulk"}},
	}
}

// users are the accounts of the embedded server.
func (b *Bus) users() []*server.User {
	users := []*server.User{{Username: embeddedUser, Password: b.password, Permissions: b.permissions()}}
	if !strings.ContainsAny(b.config.RunID, ".*>") { // It would widen the permissions.
		users = append(users, &server.User{Username: ringUser, Password: b.ringPassword, Permissions: b.ringPermissions()})
	}
	return users
}

// listensLocally tells whether the route listener's address, which clients get too, is of the loopback.
func (b *Bus) listensLocally() bool {
	host, _, _ := net.SplitHostPort(b.config.RouteListen) // Checked by check.
	return isLoopback(host)
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// Offer is what a peer needs for ConnectPeer: an address and a password. It must travel over the bus only. It is "" when this
// process has no listener.
func (b *Bus) Offer() string {
	if b.server == nil || b.config.RouteListen == "" || len(b.users()) < 2 {
		return ""
	}
	host, _, _ := net.SplitHostPort(b.RouteAddr())
	addr, ok := b.server.Addr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	return hostPort(host, addr.Port) + " " + b.ringPassword
}

// maxOfferBytes bounds an offer.
const maxOfferBytes = 512

func parseOffer(offer string) (addr, password string, err error) {
	addr, password, ok := strings.Cut(offer, " ")
	if !ok || len(offer) > maxOfferBytes {
		return "", "", fmt.Errorf("offer of %d bytes is not ADDRESS PASSWORD", len(offer))
	}
	return addr, password, checkHostPort("offered", addr, 1)
}

// ConnectPeer connects to the server of the peer that made the offer, as one that may take bulk of the ring and acknowledge
// it: over mutual TLS 1.3, but for a peer and a listener of this process that are both on loopback. wrap gets the
// connection, without TLS, before NATS uses it. The connection does not come back once it is lost.
func (b *Bus) ConnectPeer(ctx context.Context, offer string, wrap func(net.Conn) net.Conn, extra ...nats.Option) (*nats.Conn, error) {
	addr, password, err := parseOffer(offer)
	if err != nil {
		return nil, err
	}
	d := &peerDialer{ctx: ctx, wrap: wrap}
	if host, _, _ := net.SplitHostPort(addr); !isLoopback(host) || !b.listensLocally() {
		if b.config.TLS == nil {
			return nil, fmt.Errorf("offered address %s is not of the loopback, and there is no TLS identity", addr)
		}
		d.tls = b.config.TLS
	}
	options := append(b.clientOptions(), nats.SetCustomDialer(d), nats.UserInfo(ringUser, password), nats.NoReconnect(), nats.DontRandomize())
	conn, err := nats.Connect("nats://"+addr, append(options, extra...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to the server of a peer at %s: %w", addr, err)
	}
	return conn, nil
}

// ConnectOwn is Connect to the embedded server through wrap.
func (b *Bus) ConnectOwn(wrap func(net.Conn) net.Conn, extra ...nats.Option) (*nats.Conn, error) {
	if b.server == nil {
		return nil, errors.New("connect to the embedded NATS server: there is none with an external one")
	}
	options := append(b.clientOptions(), nats.InProcessServer(wrapped{b.server, wrap}), nats.UserInfo(embeddedUser, b.password))
	conn, err := nats.Connect("", append(options, extra...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to the embedded NATS server: %w", err)
	}
	return conn, nil
}

// wrapped wraps in-process connections.
type wrapped struct {
	server *server.Server
	wrap   func(net.Conn) net.Conn
}

// InProcessConn implements nats.InProcessConnProvider.
func (w wrapped) InProcessConn() (net.Conn, error) {
	conn, err := w.server.InProcessConn()
	if err != nil {
		return nil, err
	}
	return w.wrap(conn), nil
}

// peerDialer dials with TLS where it is asked for, so that wrap sees what is inside.
type peerDialer struct {
	ctx  context.Context
	wrap func(net.Conn) net.Conn
	tls  *tls.Config
}

// SkipTLSHandshake tells nats.go that the dialer has done it.
func (d *peerDialer) SkipTLSHandshake() bool { return true }

// Dial implements nats.CustomDialer.
func (d *peerDialer) Dial(network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(d.ctx, connectTimeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if d.tls != nil {
		secure, err := d.secure(ctx, conn)
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		conn = secure
	}
	return d.wrap(conn), nil
}

// maxInfoBytes bounds a server's first line.
const maxInfoBytes = 32 << 10

// secure reads the server's first line, which comes before TLS, and shakes hands.
func (d *peerDialer) secure(ctx context.Context, conn net.Conn) (net.Conn, error) {
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, fmt.Errorf("set deadline: %w", err)
	}
	info, err := bufio.NewReaderSize(conn, maxInfoBytes).ReadSlice('\n') // The server sends no more before the handshake.
	if err != nil {
		return nil, fmt.Errorf("read the server's first line: %w", err)
	}
	secure := tls.Client(conn, d.tls.Clone())
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS with the server of a peer: %w", err)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("clear deadline: %w", err)
	}
	return &replayed{Conn: secure, first: info}, nil
}

// replayed gives the first bytes again.
type replayed struct {
	net.Conn
	first []byte
}

func (r *replayed) Read(b []byte) (int, error) {
	if len(r.first) > 0 {
		n := copy(b, r.first)
		r.first = r.first[n:]
		return n, nil
	}
	return r.Conn.Read(b)
}
