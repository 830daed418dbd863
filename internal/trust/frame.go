package trust

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

const (
	protocolVersion  = 1
	maxRequestBytes  = 64 << 10
	maxResponseBytes = 1 << 20
	exchangeTimeout  = 10 * time.Second // One bootstrap conversation, handshake included.
)

// joinRequest is the worker's one frame.
type joinRequest struct {
	Protocol  int             `json:"protocol"`
	Version   string          `json:"version"`
	Secret    []byte          `json:"secret"`
	Expires   int64           `json:"expires,omitempty"` // Unix seconds as in the token; 0 means never.
	NodeName  string          `json:"node_name"`
	Hosts     []string        `json:"hosts"`
	PublicKey []byte          `json:"public_key"` // PKIX DER, ECDSA P-256.
	Extra     json.RawMessage `json:"extra,omitempty"`
}

// joinResponse is the server's one frame: Code and Text on refusal, otherwise the rest.
type joinResponse struct {
	Code    string  `json:"code,omitempty"`
	Text    string  `json:"text,omitempty"`
	Version string  `json:"version,omitempty"`
	Cert    []byte  `json:"cert,omitempty"` // DER.
	Welcome Welcome `json:"welcome"`
}

// The codes of a refusal, and the sentinel the worker makes of each.
var refusals = map[string]error{
	"secret":  ErrSecret,
	"expired": ErrExpired,
	"revoked": ErrRevoked,
	"version": ErrVersion,
	"request": ErrRequest,
	"refused": ErrRefused,
}

func writeFrame(w io.Writer, v any, limit int) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	if len(body) > limit {
		return fmt.Errorf("write frame: %d bytes, at most %d are allowed", len(body), limit)
	}
	if _, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}

func readFrame(r io.Reader, v any, limit int) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return fmt.Errorf("read frame: %w", err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || int64(n) > int64(limit) {
		return fmt.Errorf("read frame: %d bytes announced, 1 to %d are allowed", n, limit)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return fmt.Errorf("read frame: %w", err)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("read frame: %w", err)
	}
	return nil
}
