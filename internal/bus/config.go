package bus

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// check refuses configurations that would listen without TLS, or guess.
func (c *Config) check() error {
	if err := checkWord("node name", c.NodeName); err != nil {
		return err
	}
	if err := checkWord("run id", c.RunID); err != nil {
		return err
	}
	if c.ExternalURL != "" {
		return checkURL(c.ExternalURL)
	}
	if c.RouteListen == "" {
		if len(c.Routes) > 0 {
			return errors.New("start bus: routes are given but no route listen address; give both or neither")
		}
		return nil
	}
	if err := c.checkListen(); err != nil {
		return err
	}
	for _, r := range c.Routes {
		if err := checkHostPort("route", r, 1); err != nil {
			return err
		}
	}
	return checkTLS(c.TLS)
}

func (c *Config) checkListen() error {
	host, port, err := net.SplitHostPort(c.RouteListen)
	if err != nil || host == "" {
		return fmt.Errorf("route listen address %q is not HOST:PORT with an explicit host; give an address of this machine", c.RouteListen)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("route listen address %q: the port must be 0 to 65535", c.RouteListen)
	}
	ip, err := netip.ParseAddr(host)
	if err == nil && ip.IsUnspecified() && c.RouteAdvertise == "" {
		return fmt.Errorf("route listen address %q is unspecified; set the address that peers should use", c.RouteListen)
	}
	if c.RouteAdvertise != "" {
		if err := checkHostPort("route advertise", c.RouteAdvertise, 0); err != nil {
			return err
		}
	}
	if loopback := err == nil && ip.IsLoopback(); c.TLS == nil && !loopback {
		return fmt.Errorf("route listen address %q is not a loopback address, and there is no TLS identity; join the cluster first", c.RouteListen)
	}
	return nil
}

func checkTLS(c *tls.Config) error {
	if c == nil {
		return nil
	}
	if c.MinVersion < tls.VersionTLS13 || c.ClientAuth != tls.RequireAndVerifyClientCert || c.ClientCAs == nil || c.RootCAs == nil || c.ServerName == "" {
		return errors.New("start bus: the TLS configuration is not mutual TLS 1.3 with its own authority and server name; use the node's identity")
	}
	return nil
}

func checkHostPort(what, addr string, lowest uint64) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" {
		return fmt.Errorf("%s address %q is not HOST:PORT", what, addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n < lowest {
		return fmt.Errorf("%s address %q: the port must be %d to 65535", what, addr, lowest)
	}
	return nil
}

// checkWord accepts what can be part of a NATS server or cluster name.
func checkWord(what, s string) error {
	if s == "" || len(s) > 200 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("%s %q must be 1 to 200 visible ASCII characters without spaces", what, s)
	}
	return nil
}

func checkURL(list string) error {
	for one := range strings.SplitSeq(list, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil {
			return errors.New("--nats-url is not a URL such as nats://host:4222") // Its parts may be secret.
		}
		switch u.Scheme {
		case "nats", "tls", "ws", "wss":
		default:
			return fmt.Errorf("--nats-url %q has scheme %q, it must be nats, tls, ws or wss; write for example nats://host:4222", redact(one), u.Scheme)
		}
		if u.Hostname() == "" {
			return fmt.Errorf("--nats-url %q names no host; write for example nats://host:4222", redact(one))
		}
	}
	return nil
}

// redact hides what a URL carries before the @: a password, or a token.
func redact(list string) string {
	urls := strings.Split(list, ",")
	for i, one := range urls {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil {
			urls[i] = "(unparsable)"
			continue
		}
		if u.User != nil {
			u.User = url.User("xxxxx")
		}
		urls[i] = u.String()
	}
	return strings.Join(urls, ",")
}
