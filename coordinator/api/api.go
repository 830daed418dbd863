// Package api is the coordinator's HTTP API under /api/v1: what `coordinator status`, `stop` and
// `token` talk to, and /metrics, /healthz and /readyz. It listens on loopback only, and asks for a
// bearer token that stands in the run folder, readable by its owner alone, so that other users of the
// machine are kept out; health alone is free. Errors are problem details (RFC 9457).
package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"yohaku/coordinator/web"
)

// Status is the answer of GET /api/v1/status.
type Status struct {
	RunID          string  `json:"run_id"`
	State          string  `json:"state"`
	Step           int     `json:"step"`
	Steps          int     `json:"steps"`
	Epoch          uint64  `json:"epoch"` // Of this coordinator: it grows with each that starts or takes the run over.
	Generation     uint64  `json:"generation"`
	Join           string  `json:"join"` // The address that workers join at; the token is at /api/v1/token.
	Loss           float64 `json:"loss"`
	LogOdds        float64 `json:"log_odds"`
	ItemsPerSecond float64 `json:"items_per_second"`
	PID            int     `json:"pid"` // Of the coordinator.
	Host           string  `json:"host"`
	Nodes          []Node  `json:"nodes"`
}

// Node is a live worker; Rank is −1 while it stands by.
type Node struct {
	Name           string  `json:"name"`
	Rank           int     `json:"rank"`
	PID            int     `json:"pid"`
	Host           string  `json:"host"`
	Device         string  `json:"device"`
	KernelSet      string  `json:"kernel_set"`
	ItemsPerSecond float64 `json:"items_per_second"`
	State          string  `json:"state"`
	AllowChaos     bool    `json:"allow_chaos"` // It takes orders to hurt itself.
}

// Token is the answer of GET /api/v1/token.
type Token struct {
	Token string `json:"token"`
	Join  string `json:"join"` // The ready-to-paste line.
}

// Run is what the API shows and steers.
type Run interface {
	Status() Status
	Token(expires time.Time) Token // The zero time means never.
	RotateToken() error
	RevokeToken(token string) error
	RevokeNode(name string) error
	Stop() // Ends the run at the next step boundary. It may be called more than once.
	Events(since time.Time) []Event
	Points(after, limit int) ([]Point, error)
	Stream() *Stream // Of "status", "step" and "cluster": Status, Point and Event.
	Hurt(ctx context.Context, f Fault) error
}

// Endpoint says where a run's API is; it stands in the run folder as endpoint.json.
type Endpoint struct {
	Address string `json:"address"`
	Bearer  string `json:"bearer"` // The operator's.
	Viewer  string `json:"viewer"` // Good for reading what is no secret, such as /metrics.
}

// callTimeout bounds a call; a revocation waits for answers of the other nodes.
const callTimeout = 20 * time.Second

const endpointFile = "endpoint.json"

// Server is a running API.
type Server struct {
	http     *http.Server
	endpoint Endpoint
	file     string
	closing  chan struct{} // Closed when the streams are to end.
	done     chan struct{}
}

// Serve starts the API at address and writes its endpoint into the run folder dir. The handler
// metrics answers /metrics.
func Serve(address, dir string, run Run, metrics http.Handler) (*Server, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--http %s: %w; name a free port, or port 0 for any", address, err)
	}
	s := &Server{endpoint: Endpoint{l.Addr().String(), secret(), secret()}, file: filepath.Join(dir, endpointFile), closing: make(chan struct{}), done: make(chan struct{})}
	data, err := json.Marshal(s.endpoint)
	if err == nil {
		err = os.WriteFile(s.file, append(data, '\n'), 0o600)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write endpoint: %w", err), l.Close())
	}
	s.http = &http.Server{Handler: s.routes(run, metrics), ReadTimeout: 10 * time.Second, WriteTimeout: callTimeout, MaxHeaderBytes: 16 << 10}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(newLimited(l)) // Ends with ErrServerClosed at Close; its other errors end the status only, not the run.
	}()
	return s, nil
}

// Address is the host and port that the API listens on.
func (s *Server) Address() string { return s.endpoint.Address }

// SignIn is the link that signs a browser in as the operator.
func (s *Server) SignIn() string { return s.endpoint.SignIn(s.endpoint.Bearer) }

// Close stops the API and removes the endpoint file.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	close(s.closing)
	err := s.http.Shutdown(ctx)
	<-s.done
	return errors.Join(err, os.Remove(s.file))
}

// secret draws a bearer token.
func secret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // Never fails: it ends the process instead.
	return hex.EncodeToString(b)
}

func (s *Server) routes(run Run, metrics http.Handler) http.Handler {
	free, view, operate := http.NewServeMux(), http.NewServeMux(), http.NewServeMux()
	free.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, health{"alive"}) })
	free.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { ready(w, run.Status()) })
	free.HandleFunc("GET /signin", s.signIn)
	pages := web.Files()
	free.Handle("GET /{$}", pages)
	free.Handle("GET /desk/", pages)
	free.Handle("GET /favicon.ico", pages)
	view.Handle("GET /metrics", metrics)
	view.HandleFunc("GET /api/v1/me", func(w http.ResponseWriter, r *http.Request) { answer(w, me{s.bears(r, s.endpoint.Bearer)}) })
	view.HandleFunc("GET /api/v1/steps", func(w http.ResponseWriter, r *http.Request) { steps(w, r, run) })
	view.HandleFunc("GET /api/v1/stream", func(w http.ResponseWriter, r *http.Request) { run.Stream().serve(w, r, s.closing) })
	view.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, run.Status()) })
	view.HandleFunc("GET /api/v1/events", func(w http.ResponseWriter, r *http.Request) { events(w, r, run) })
	trustRoutes(operate, run)
	operate.HandleFunc("POST /api/v1/stop", func(w http.ResponseWriter, _ *http.Request) { run.Stop(); answer(w, run.Status()) })
	operate.HandleFunc("POST /api/v1/chaos", func(w http.ResponseWriter, r *http.Request) { hurt(w, r, run) })
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		operator := s.bears(r, s.endpoint.Bearer)
		switch {
		case !loopback(r):
			problem(w, http.StatusMisdirectedRequest, fmt.Sprintf("this is not %.80q; use the address in the run folder's endpoint.json", r.Host))
		case knows(free, r):
			free.ServeHTTP(w, r)
		case !operator && !s.bears(r, s.endpoint.Viewer):
			w.Header().Set("WWW-Authenticate", "Bearer")
			problem(w, http.StatusUnauthorized, "a bearer token of the run folder's endpoint.json is needed")
		case knows(view, r):
			view.ServeHTTP(w, r)
		case knows(operate, r) && !operator:
			problem(w, http.StatusForbidden, "this takes the operator's bearer token, `bearer` in the run folder's endpoint.json")
		case knows(operate, r):
			operate.ServeHTTP(w, r)
		default:
			problem(w, http.StatusNotFound, fmt.Sprintf("there is no %s %.80q", r.Method, r.URL.Path))
		}
	}))
}

func knows(mux *http.ServeMux, r *http.Request) bool {
	_, pattern := mux.Handler(r)
	return pattern != ""
}

// me is the answer of GET /api/v1/me.
type me struct {
	Operator bool `json:"operator"`
}

// health is the answer of /healthz and /readyz.
type health struct {
	State string `json:"state"`
}

// ready answers whether the run takes workers and orders.
func ready(w http.ResponseWriter, s Status) {
	if s.State == "" || s.State == "starting" {
		w.Header().Set("Retry-After", "1")
		problem(w, http.StatusServiceUnavailable, "the run is starting; ask again")
		return
	}
	answer(w, health{s.State})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // The client went away; nothing to do.
}

// Client talks to a run's API.
type Client struct{ endpoint Endpoint }

// Endpoint is where the API is.
func (c Client) Endpoint() Endpoint { return c.endpoint }

// Find returns the client of the run in the folder dir. It fails when the run is not going on.
func Find(dir string) (Client, error) {
	data, err := os.ReadFile(filepath.Join(dir, endpointFile))
	if errors.Is(err, os.ErrNotExist) {
		return Client{}, fmt.Errorf("run %s is not going on: it has no %s; continue it with `coordinator up --resume %s`", dir, endpointFile, filepath.Base(dir))
	}
	if err != nil {
		return Client{}, fmt.Errorf("read endpoint: %w", err)
	}
	var e Endpoint
	if err := json.Unmarshal(data, &e); err != nil {
		return Client{}, fmt.Errorf("read %s: %w", filepath.Join(dir, endpointFile), err)
	}
	return Client{e}, nil
}

// maxAnswerBytes bounds an answer.
const maxAnswerBytes = 4 << 20

// Do makes one request and decodes the answer into v.
func (c Client) Do(ctx context.Context, method, path string, v any) error {
	return c.send(ctx, method, path, nil, v)
}

// Post makes one request with the body in, and decodes the answer into out.
func (c Client) Post(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	return c.send(ctx, http.MethodPost, path, bytes.NewReader(body), out)
}

func (c Client) send(ctx context.Context, method, path string, in io.Reader, v any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+c.endpoint.Address+"/api/v1/"+path, in)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.endpoint.Bearer)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("coordinator at %s does not answer: %w; it may have been killed, continue its run with `coordinator up --resume`", c.endpoint.Address, err)
	}
	defer resp.Body.Close() // Only read.
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("coordinator at %s: %s: %s", c.endpoint.Address, resp.Status, detail(body))
	}
	if v == nil {
		return nil
	}
	return json.Unmarshal(body, v)
}

// FindByAddress returns the client for the API at address, with the bearer token of the run
// folder under out that names this address.
func FindByAddress(out, address string) (Client, error) {
	files, err := filepath.Glob(filepath.Join(out, "*", endpointFile))
	if err != nil {
		return Client{}, fmt.Errorf("list runs: %w", err)
	}
	for _, file := range files {
		if c, err := Find(filepath.Dir(file)); err == nil && c.endpoint.Address == address {
			return c, nil
		}
	}
	return Client{}, fmt.Errorf("--http %s: no run under %s listens there; name the folder of its runs with --out", address, out)
}
