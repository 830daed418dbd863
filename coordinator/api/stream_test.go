package api

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// follow opens a stream and returns its lines that are not empty.
func follow(t *testing.T, url, last string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Last-Event-ID", last)
	resp, err := http.DefaultClient.Do(r) //nolint:bodyclose // The goroutine below closes it.
	if err != nil {
		t.Fatal(err)
	}
	if kind := resp.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Fatalf("content type %q", kind)
	}
	lines := make(chan string, 10_000)
	go func() {
		defer close(lines)
		defer resp.Body.Close()
		for s := longLines(resp.Body); s.Scan(); {
			if s.Text() != "" {
				lines <- s.Text()
			}
		}
	}()
	return lines
}

func longLines(r io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 2*maxKeptBytes)
	return s
}

func take(t *testing.T, lines <-chan string, n int) []string {
	t.Helper()
	var got []string
	for len(got) < n {
		select {
		case line, ok := <-lines:
			if !ok {
				t.Fatalf("stream ended after %q", got)
			}
			got = append(got, line)
		case <-time.After(10 * time.Second):
			t.Fatalf("nothing after %q", got)
		}
	}
	return got
}

func TestStream(t *testing.T) {
	var s Stream
	closing := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, closing) }))
	defer server.Close()

	s.Publish("step", Point{Step: 1})
	live := follow(t, server.URL, "")
	take(t, live, 1) // It has begun, after step 1.
	s.Publish("step", map[string]int{"step": 2})
	if diff := cmp.Diff([]string{"id: 2", "event: step", `data: {"step":2}`}, take(t, live, 3)); diff != "" {
		t.Errorf("live:\n%s", diff)
	}
	s.Publish("status", map[string]int{"step": 3})
	back := follow(t, server.URL, "1")
	if diff := cmp.Diff([]string{"retry: 1000", "id: 2", "event: step", `data: {"step":2}`, "id: 3", "event: status", `data: {"step":3}`}, take(t, back, 7)); diff != "" {
		t.Errorf("back:\n%s", diff)
	}
	for range maxKept {
		s.Publish("step", struct{}{})
	}
	for _, last := range []string{"1", "99999999", "rubbish"} { // Too long ago; of a run before; nonsense.
		if diff := cmp.Diff([]string{"retry: 1000", fmt.Sprintf("id: %d", maxKept+3), "event: reload", "data: {}"}, take(t, follow(t, server.URL, last), 4)); diff != "" {
			t.Errorf("after %s:\n%s", last, diff)
		}
	}
	large := strings.Repeat("x", maxKeptBytes/3)
	for range 5 {
		s.Publish("status", large)
	}
	if len(s.kept) > 2 || s.bytes > maxKeptBytes {
		t.Errorf("%d messages of %d bytes are kept, want at most %d bytes", len(s.kept), s.bytes, maxKeptBytes)
	}
	close(closing)
	last := ""
	for line := range live {
		if strings.HasPrefix(line, "event:") {
			last = line
		}
	}
	if last != "event: end" {
		t.Errorf("the stream ends with %q", last)
	}
}

// TestManyFollow has 200 clients read all of 500 messages while they are published, and one that never reads.
func TestManyFollow(t *testing.T) {
	var s Stream
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, nil) }))
	defer server.CloseClientConnections()
	idle, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Body.Close()
	const clients, messages = 200, 500
	var streams []<-chan string
	for range clients {
		lines := follow(t, server.URL, "")
		take(t, lines, 1)
		streams = append(streams, lines)
	}
	for i := range messages {
		s.Publish("step", map[string]int{"step": i})
	}
	var wait sync.WaitGroup
	for _, lines := range streams {
		wait.Go(func() {
			next := 0
			for line := range lines {
				if strings.HasPrefix(line, "data:") {
					if want := fmt.Sprintf(`data: {"step":%d}`, next); line != want {
						t.Errorf("got %s, want %s", line, want)
						return
					}
					if next++; next == messages {
						return
					}
				}
			}
			t.Errorf("stream ended after %d messages", next)
		})
	}
	wait.Wait()
}

// TestOtherSites holds that a page of another site can neither steer a run nor reach it by a name of its own.
func TestOtherSites(t *testing.T) {
	run := &fake{}
	s := &Server{endpoint: Endpoint{Address: "127.0.0.1:9310", Bearer: "operator", Viewer: "viewer"}}
	routes := s.routes(run, http.NotFoundHandler())
	signedIn := httptest.NewRecorder()
	routes.ServeHTTP(signedIn, httptest.NewRequest(http.MethodGet, s.endpoint.SignIn("operator"), nil))
	cookie := signedIn.Result().Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Name != "yohaku_9310" {
		t.Errorf("cookie %+v", cookie)
	}
	for _, c := range []struct {
		name, url, site string
		code            int
		stops           bool
	}{
		{"own page", "http://127.0.0.1:9310/api/v1/stop", "same-origin", 200, true},
		{"another site", "http://127.0.0.1:9310/api/v1/stop", "cross-site", 403, false},
		{"another port", "http://127.0.0.1:9310/api/v1/stop", "same-site", 403, false},
		{"a name made to point here", "http://evil.example:9310/api/v1/stop", "same-origin", 421, false},
	} {
		run.stopped = false
		r := httptest.NewRequest(http.MethodPost, c.url, nil)
		r.AddCookie(cookie)
		r.Header.Set("Sec-Fetch-Site", c.site)
		w := httptest.NewRecorder()
		routes.ServeHTTP(w, r)
		if w.Code != c.code || run.stopped != c.stops {
			body, _ := io.ReadAll(w.Body)
			t.Errorf("%s: %d %s, stopped %v", c.name, w.Code, body, run.stopped)
		}
	}
	wrong := httptest.NewRecorder()
	routes.ServeHTTP(wrong, httptest.NewRequest(http.MethodGet, s.endpoint.SignIn("guess"), nil))
	if wrong.Code != http.StatusUnauthorized || len(wrong.Result().Cookies()) > 0 {
		t.Errorf("a guessed link: %d, cookies %v", wrong.Code, wrong.Result().Cookies())
	}
}
