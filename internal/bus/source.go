package bus

import (
	"net"
	"strings"
)

// sourceOf makes one kind of what nats-server says of one source: its formats begin with the
// connection, such as "10.0.0.7:41234 - rid:12 - ", of which only the host stays.
func sourceOf(format string) string {
	conn, rest, ok := strings.Cut(format, " - ")
	if !ok {
		return format
	}
	host, _, err := net.SplitHostPort(conn)
	if err != nil {
		return format
	}
	if _, after, ok := strings.Cut(rest, " - "); ok {
		rest = after
	}
	return host + " - " + rest
}
