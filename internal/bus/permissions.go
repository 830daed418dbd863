package bus

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/nats-io/nats-server/v2/server"
)

// permissions are what this process may publish and subscribe to on its embedded server, or nil
// for everything.
func (b *Bus) permissions() *server.Permissions {
	if b.config.Publish == nil && b.config.Subscribe == nil {
		return nil
	}
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: b.config.Publish},
		Subscribe: &server.SubjectPermission{Allow: append([]string{b.inbox() + ".>"}, b.config.Subscribe...)},
		Response:  &server.ResponsePermission{MaxMsgs: 1, Expires: server.DEFAULT_ALLOW_RESPONSE_EXPIRATION},
	}
}

// inbox is the prefix of the subjects that answers come to. It differs between nodes, so that one
// can be allowed its own answers only.
func (b *Bus) inbox() string {
	sum := sha256.Sum256([]byte(b.config.NodeName))
	return "_INBOX_" + hex.EncodeToString(sum[:8])
}
