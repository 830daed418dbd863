package trust

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"
)

// tokenPrefix starts every join token; the digit is the format's version.
const tokenPrefix = "yohaku1"

// maxTokenBytes bounds what ParseToken looks at; a real token is at most 107 bytes.
const maxTokenBytes = 256

// Token is what a worker needs to join: who to believe, and proof that it was invited. Its String
// is redacted, so that a token cannot reach a log by accident; Encode gives the real text.
type Token struct {
	Fingerprint [sha256.Size]byte // SHA-256 of the authority's certificate (DER).
	Secret      [sha256.Size]byte
	Expires     time.Time // Whole seconds; zero means never.
}

var tokenEncoding = base64.RawURLEncoding.Strict()

// Encode returns the text that people paste:
//
//	yohaku1.<base64url SHA-256 of the authority's certificate>.<base64url secret>[.<expiry, Unix seconds>]
func (t Token) Encode() string {
	s := tokenPrefix + "." + tokenEncoding.EncodeToString(t.Fingerprint[:]) + "." + tokenEncoding.EncodeToString(t.Secret[:])
	if !t.Expires.IsZero() {
		s += "." + strconv.FormatInt(t.Expires.Unix(), 10)
	}
	return s
}

// String returns the token without its secret, for messages.
func (t Token) String() string {
	return tokenPrefix + "." + tokenEncoding.EncodeToString(t.Fingerprint[:]) + ".(secret)"
}

// GoString keeps the secret out of %#v as well.
func (t Token) GoString() string { return t.String() }

// ParseToken reads a join token. Its errors match ErrMalformedToken and do not repeat the token,
// which may be a secret pasted into the wrong place.
func ParseToken(s string) (Token, error) {
	s = strings.TrimSpace(s)
	if len(s) > maxTokenBytes {
		return Token{}, malformed("it has " + strconv.Itoa(len(s)) + " characters, a token has at most 107")
	}
	parts := strings.Split(s, ".")
	if parts[0] != tokenPrefix {
		return Token{}, malformed("it does not start with \"" + tokenPrefix + ".\"")
	}
	if len(parts) != 3 && len(parts) != 4 {
		return Token{}, malformed("it has " + strconv.Itoa(len(parts)) + " parts separated by dots, a token has 3, or 4 with an expiry")
	}
	var t Token
	if err := decodeSum(&t.Fingerprint, parts[1]); err != nil {
		return Token{}, malformed("its fingerprint " + err.Error())
	}
	if err := decodeSum(&t.Secret, parts[2]); err != nil {
		return Token{}, malformed("its secret " + err.Error())
	}
	if len(parts) == 4 {
		seconds, err := strconv.ParseInt(parts[3], 10, 64)
		if err != nil || seconds <= 0 || parts[3][0] == '+' {
			return Token{}, malformed("its expiry is not a number of seconds")
		}
		t.Expires = time.Unix(seconds, 0)
	}
	return t, nil
}

func decodeSum(dst *[sha256.Size]byte, s string) error {
	b, err := tokenEncoding.DecodeString(s)
	if err != nil {
		return errors.New("is not base64url")
	}
	if len(b) != len(dst) {
		return errors.New("is " + strconv.Itoa(len(b)) + " bytes long, it must be " + strconv.Itoa(len(dst)))
	}
	copy(dst[:], b)
	return nil
}

func malformed(why string) error {
	return &Error{
		Kind: ErrMalformedToken,
		Text: "the join token is malformed: " + why + "; copy the whole token that \"coordinator token\" prints",
	}
}

// checkSecret judges a joiner's secret: an empty code, or that of the refusal and its text.
func (a *Authority) checkSecret(secret []byte, expiresUnix int64) (code, text string) {
	s := a.look()
	want := joinSecret(s.JoinKey, expiresUnix)
	if hmac.Equal(want[:], secret) {
		sum := sha256.Sum256(secret)
		for _, r := range s.RevokedTokens {
			if hmac.Equal(r.Key, sum[:]) {
				return "revoked", "the join token was revoked at " + r.At.Format(time.RFC3339)
			}
		}
		return "", ""
	}
	for _, r := range s.Retired {
		if want := joinSecret(r.Key, expiresUnix); hmac.Equal(want[:], secret) {
			return "revoked", "the join token was revoked at " + r.At.Format(time.RFC3339)
		}
	}
	return "secret", "the join token's secret is wrong"
}

// joinSecret derives the secret of a token from the authority's join key, so that any number of
// expiries needs no storage and an altered expiry is a wrong secret.
func joinSecret(joinKey []byte, expiresUnix int64) [sha256.Size]byte {
	mac := hmac.New(sha256.New, joinKey)
	mac.Write([]byte("yohaku join token 1 " + strconv.FormatInt(expiresUnix, 10)))
	return [sha256.Size]byte(mac.Sum(nil))
}
