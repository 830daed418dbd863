package trust

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"net/netip"
	"testing"
	"time"
)

// FuzzJoinRequest gives bytes to the server as a joiner's frame, with the right secret in half of
// the cases, so that what comes behind it is reached.
func FuzzJoinRequest(f *testing.F) {
	a, err := NewAuthority()
	if err != nil {
		f.Fatal(err)
	}
	key, _, err := newNodeKey()
	if err != nil {
		f.Fatal(err)
	}
	pub, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		f.Fatal(err)
	}
	secret := a.Token(time.Time{}).Secret
	var frame bytes.Buffer
	if err := writeFrame(&frame, joinRequest{Protocol: protocolVersion, Secret: secret[:], NodeName: "w", Hosts: []string{"h"}, PublicKey: pub}, maxRequestBytes); err != nil {
		f.Fatal(err)
	}
	f.Add(frame.Bytes(), true)
	f.Add(frame.Bytes(), false)
	s := &Server{config: ServerConfig{Authority: a, Now: time.Now, Grant: func(context.Context, Request) (Welcome, error) { return Welcome{}, nil }}}
	f.Fuzz(func(t *testing.T, data []byte, known bool) {
		var req joinRequest
		if readFrame(bytes.NewReader(data), &req, maxRequestBytes) != nil {
			return
		}
		if known {
			req.Secret, req.Expires = secret[:], 0
		}
		res, err := s.decide(t.Context(), &req, netip.AddrPort{})
		if (err == nil) != (res.Code == "") || err == nil && len(res.Cert) == 0 {
			t.Errorf("answer %+v with error %v", res, err)
		}
		if err == nil && !known && !bytes.Equal(req.Secret, secret[:]) {
			t.Error("admitted without the secret")
		}
	})
}

// FuzzJoinAnswer gives bytes to a joiner as the server's frame.
func FuzzJoinAnswer(f *testing.F) {
	a, err := NewAuthority()
	if err != nil {
		f.Fatal(err)
	}
	key, _, err := newNodeKey()
	if err != nil {
		f.Fatal(err)
	}
	der, err := a.sign(&key.PublicKey, "w", nil, NodeServerName)
	if err != nil {
		f.Fatal(err)
	}
	var frame bytes.Buffer
	if err := writeFrame(&frame, joinResponse{Cert: der, Welcome: Welcome{GossipKeys: a.GossipKeys()}}, maxResponseBytes); err != nil {
		f.Fatal(err)
	}
	f.Add(frame.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		var res joinResponse
		if readFrame(bytes.NewReader(data), &res, maxResponseBytes) != nil {
			return
		}
		if res.Code != "" {
			_ = refusal(JoinConfig{}, res).Error() // It is there, and does not panic.
			return
		}
		if checkIssued(res, a.cert.Raw, &key.PublicKey) == nil && !bytes.Equal(res.Cert, der) {
			t.Error("a certificate that the authority never issued is taken")
		}
	})
}

// FuzzSecrets parses what stands in an authority's files.
func FuzzSecrets(f *testing.F) {
	a, err := NewAuthority()
	if err != nil {
		f.Fatal(err)
	}
	good, err := json.Marshal(a.secrets)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(a.CertPEM())
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := parseSecrets(data); err == nil && s.check() != nil {
			t.Error("unchecked secrets are taken")
		}
		if a, err := parseAuthority(data); err == nil && a.cert == nil {
			t.Error("an authority without a certificate is taken")
		}
	})
}
