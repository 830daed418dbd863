package trust

import "errors"

// The reasons a join fails, to be tested with errors.Is; the error's text is written for the
// operator. None of them is worth an automatic retry except ErrUnreachable and ErrBusy.
var (
	// ErrMalformedToken: the token is not one.
	ErrMalformedToken = errors.New("malformed token")
	// ErrFingerprint: the server's authority is not the token's.
	ErrFingerprint = errors.New("fingerprint mismatch")
	// ErrSecret: the authority is right, the secret is not (any more).
	ErrSecret = errors.New("wrong secret")
	// ErrExpired: the token's time is over.
	ErrExpired = errors.New("token expired")
	// ErrRevoked: the token, or the node's certificate, was revoked.
	ErrRevoked = errors.New("revoked")
	// ErrUnreachable: nobody answers at the address, or the network broke.
	ErrUnreachable = errors.New("unreachable")
	// ErrNotBootstrap: something answers at the address, but not a bootstrap server.
	ErrNotBootstrap = errors.New("not a bootstrap server")
	// ErrBusy: the server closed the connection unheard, as it does to a source that failed often.
	ErrBusy = errors.New("closed unheard")
	// ErrVersion: the two programs' versions differ.
	ErrVersion = errors.New("version mismatch")
	// ErrRefused: the coordinator's own rule (Grant) said no; the text is the coordinator's.
	ErrRefused = errors.New("refused")
	// ErrRequest: the request itself broke a rule, such as a bad node name.
	ErrRequest = errors.New("bad request")
)

// Error is a failure with a text for the operator: the thing, the value, the rule and the next step.
type Error struct {
	Kind error  // One of the sentinels above.
	Text string // The whole message.
	Err  error  // The cause below, or nil.
}

func (e *Error) Error() string { return e.Text }

// Unwrap lets errors.Is find both the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}
