package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// maxRequestBytes bounds the body of a request.
	maxRequestBytes = 4 << 10
	// maxExpiry bounds the life of a token that is to expire: a longer one may as well not.
	maxExpiry = 10 * 365 * 24 * time.Hour
)

// RevokeToken is the body of POST /api/v1/token/revoke.
type RevokeToken struct {
	Token string `json:"token"`
}

// RevokeNode is the body of POST /api/v1/node/revoke.
type RevokeNode struct {
	Node string `json:"node"`
}

// trustRoutes adds the calls that change who may be in the cluster. Each answers with the token
// that is good afterwards.
func trustRoutes(mux *http.ServeMux, run Run) {
	mux.HandleFunc("GET /api/v1/token", func(w http.ResponseWriter, r *http.Request) { answerToken(w, r, run, nil) })
	mux.HandleFunc("POST /api/v1/token/rotate", func(w http.ResponseWriter, r *http.Request) { answerToken(w, r, run, run.RotateToken) })
	mux.HandleFunc("POST /api/v1/token/revoke", func(w http.ResponseWriter, r *http.Request) {
		var in RevokeToken
		if readBody(w, r, &in) {
			answerToken(w, r, run, func() error { return run.RevokeToken(in.Token) })
		}
	})
	mux.HandleFunc("POST /api/v1/node/revoke", func(w http.ResponseWriter, r *http.Request) {
		var in RevokeNode
		if readBody(w, r, &in) {
			answerToken(w, r, run, func() error { return run.RevokeNode(in.Node) })
		}
	})
}

// answerToken makes a change, if there is one to make, and answers with a token that lives as long
// as the query's "expires" says.
func answerToken(w http.ResponseWriter, r *http.Request, run Run, change func() error) {
	expires, err := expiry(r.URL.Query().Get("expires"), time.Now())
	if err == nil && change != nil {
		err = change()
	}
	if err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	answer(w, run.Token(expires))
}

// expiry reads how long from now on a token is to be good; "" means for ever.
func expiry(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second || d > maxExpiry {
		return time.Time{}, fmt.Errorf("expires must be from 1s to %v, got %.40q; write for example 24h", maxExpiry, text)
	}
	return now.Add(d), nil
}

// readBody decodes a request's body into v, or answers why not.
func readBody(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := decodeBody(http.MaxBytesReader(w, r.Body, maxRequestBytes), v); err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return false
	}
	return true
}

func decodeBody(body io.Reader, v any) error {
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("read request: data after the object")
	}
	return nil
}
