package bus

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/nats-io/nats-server/v2/server"
)

const inboxes = "_INBOX"

// permissions are what this process may publish and subscribe to on its embedded server, or nil
// for everything.
func (b *Bus) permissions() *server.Permissions {
	if b.config.Publish == nil && b.config.Subscribe == nil {
		return nil
	}
	return &server.Permissions{
		// Answers of all, not those to requests that came in (nats-server's Response): it forgets these
		// when routes change.
		Publish:   &server.SubjectPermission{Allow: append([]string{inboxes + ".*.>"}, b.config.Publish...)},
		Subscribe: &server.SubjectPermission{Allow: append([]string{b.inbox() + ".>"}, b.config.Subscribe...)},
	}
}

// inbox is the prefix of the subjects that answers come to. It differs between nodes, so that one
// can be allowed its own answers only.
func (b *Bus) inbox() string {
	sum := sha256.Sum256([]byte(b.config.NodeName))
	return inboxes + "." + hex.EncodeToString(sum[:8])
}
