package natsring

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"yohaku/allreduce/fixedpoint"
)

// startCluster runs one server for each rank, routed to each other over loopback as the workers' are.
func startCluster(t testing.TB, world int) []*server.Server {
	t.Helper()
	servers := make([]*server.Server, world)
	for i := range servers {
		o := &server.Options{ServerName: fmt.Sprint(t.Name(), i), Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true,
			Cluster: server.ClusterOpts{Name: "ring", Host: "127.0.0.1", Port: -1}}
		if i > 0 {
			o.Routes = server.RoutesFromStr(fmt.Sprint("nats://", servers[0].ClusterAddr()))
		}
		s, err := server.NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		if !s.ReadyForConnections(10 * time.Second) {
			t.Fatal("server is not ready")
		}
		servers[i] = s
	}
	return servers
}

// startServer runs a NATS server that only this process can reach.
func startServer(t testing.TB) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{ServerName: t.Name(), DontListen: true, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("server is not ready")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

func connect(t testing.TB, s *server.Server) *nats.Conn {
	t.Helper()
	c, err := nats.Connect("", nats.InProcessServer(s), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		t.Errorf("asynchronous NATS error: %v", err)
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

type ringOption func(*Config)

// join makes one rank's ring with a connection of its own.
func join(t testing.TB, s *server.Server, rank, world int, options ...ringOption) *Ring {
	t.Helper()
	c := Config{RunID: "test", Rank: rank, Generation: 7, Names: make([]string, world), SilenceTimeout: 2 * time.Second, JoinTimeout: 20 * time.Second}
	if world > 1 {
		c.Conn = connect(t, s)
	}
	for _, o := range options {
		o(&c)
	}
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func joinAll(t testing.TB, world int, options ...ringOption) []*Ring {
	t.Helper()
	s := startServer(t)
	rings := make([]*Ring, world)
	for rank := range rings {
		rings[rank] = join(t, s, rank, world, options...)
	}
	return rings
}

// everyone calls f for all ranks at the same time and waits for all.
func everyone(rings []*Ring, f func(rank int, r *Ring) error) []error {
	errs := make([]error, len(rings))
	var wg sync.WaitGroup
	for rank, r := range rings {
		wg.Go(func() { errs[rank] = f(rank, r) })
	}
	wg.Wait()
	return errs
}

func mustAll(t testing.TB, errs []error) {
	t.Helper()
	for rank, err := range errs {
		if err != nil {
			t.Fatalf("rank %d: %v", rank, err)
		}
	}
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), d, fmt.Errorf("test took more than %v", d))
	t.Cleanup(cancel)
	return ctx
}

// vectors are the inputs of all ranks and what must come out.
type vectors struct {
	sums     [][]int32
	exps     [][]int8
	wantSums []int32
	wantExps []int8
}

func draw(seed uint64, world, elements, blocks int, most int32) vectors {
	rng := rand.New(rand.NewPCG(seed, 5))
	v := vectors{wantSums: make([]int32, elements), wantExps: make([]int8, blocks)}
	for i := range v.wantExps {
		v.wantExps[i] = -128
	}
	for range world {
		sums, exps := make([]int32, elements), make([]int8, blocks)
		for i := range sums {
			sums[i] = rng.Int32N(2*most+1) - most
			v.wantSums[i] += sums[i]
		}
		for i := range exps {
			exps[i] = int8(rng.IntN(256) - 128)
			v.wantExps[i] = max(v.wantExps[i], exps[i])
		}
		v.sums, v.exps = append(v.sums, sums), append(v.exps, exps)
	}
	return v
}

// reduce runs one AllReduce at one rank and compares its result, and its inputs with what they were.
func (v vectors) reduce(ctx context.Context, r *Ring, rank int, op Operation) error {
	sums, exps := append([]int32{}, v.sums[rank]...), append([]int8{}, v.exps[rank]...)
	outSums, outExps := make([]int32, len(sums)), make([]int8, len(exps))
	if err := r.AllReduce(ctx, op, sums, exps, outSums, outExps); err != nil {
		return err
	}
	if !slices.Equal(outSums, v.wantSums) || !slices.Equal(outExps, v.wantExps) {
		return fmt.Errorf("rank %d, %+v: wrong result", rank, op)
	}
	if !slices.Equal(sums, v.sums[rank]) || !slices.Equal(exps, v.exps[rank]) {
		return fmt.Errorf("rank %d, %+v: input was overwritten", rank, op)
	}
	return nil
}

// BenchmarkAllReduce prints algorithm bandwidth, the bytes of the vector by time, through one server and over routes.
func BenchmarkAllReduce(b *testing.B) {
	for _, world := range []int{1, 2, 3} {
		b.Run(fmt.Sprintf("server/world=%d,16MB", world), func(b *testing.B) { benchmarkRings(b, joinAll(b, world)) })
	}
	b.Run("routes/world=2,16MB", func(b *testing.B) {
		var rings []*Ring
		for rank, s := range startCluster(b, 2) {
			rings = append(rings, join(b, s, rank, 2))
		}
		benchmarkRings(b, rings)
	})
}

func benchmarkRings(b *testing.B, rings []*Ring) {
	const n = 4_000_000
	world := len(rings)
	v := draw(1, world, n, fixedpoint.Blocks(n), 1<<20)
	outSums, outExps := make([][]int32, world), make([][]int8, world)
	for rank := range world {
		outSums[rank], outExps[rank] = make([]int32, n), make([]int8, len(v.wantExps))
	}
	b.SetBytes(4 * n)
	step := 0
	for b.Loop() {
		step++
		mustAll(b, everyone(rings, func(rank int, r *Ring) error {
			return r.AllReduce(b.Context(), Operation{Step: step}, v.sums[rank], v.exps[rank], outSums[rank], outExps[rank])
		}))
	}
}
