package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzRequest sends requests to the API, with and without the bearer token. Without it nothing
// has effect.
func FuzzRequest(f *testing.F) {
	for _, path := range []string{"status", "token?expires=1h", "token/rotate", "token/revoke", "node/revoke", "stop", "events", "chaos"} {
		f.Add(true, path, `{"node":"w1","token":"x"}`, true)
		f.Add(false, path, "", false)
	}
	f.Fuzz(func(t *testing.T, post bool, path, body string, trusted bool) {
		method := http.MethodGet
		if post {
			method = http.MethodPost
		}
		r, err := http.NewRequest(method, "http://127.0.0.1/api/v1/"+path, strings.NewReader(body))
		if err != nil {
			return
		}
		if trusted {
			r.Header.Set("Authorization", "Bearer secret")
		}
		run := &fake{}
		w := httptest.NewRecorder()
		(&Server{endpoint: Endpoint{Bearer: "secret"}}).routes(run, http.NotFoundHandler()).ServeHTTP(w, r)
		if !trusted && (w.Code != http.StatusUnauthorized || run.stopped || len(run.calls) > 0) {
			t.Errorf("%s %q without the token: code %d, stopped %v, calls %v", method, path, w.Code, run.stopped, run.calls)
		}
	})
}
