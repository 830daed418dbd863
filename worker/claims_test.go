package worker

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"yohaku/internal/wire"
	"yohaku/worker/lifecycle"
)

// TestAClaimIsAnsweredOnce, however often it comes: what was given once is given to nobody else.
func TestAClaimIsAnsweredOnce(t *testing.T) {
	r := &rank{job: wire.TrainJob{Rank: 0, Nodes: []string{"a", "b"}}, res: &resident{}, log: zerolog.Nop()}
	r.claims = newClaims(r)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ask := func(c claim) chan string {
		answer := make(chan string, 1)
		go func() {
			data, err := r.claims.handle(ctx, wire.Encode(c))
			if err != nil {
				data = []byte(err.Error())
			}
			answer <- string(data)
		}()
		return answer
	}
	first := ask(claim{Rank: 1, Step: 4, Number: 1, Seconds: 2})
	ev, fresh := r.claims.event(<-r.claims.arriving)
	if diff := cmp.Diff(lifecycle.Claim{Step: 4, ID: 1, Rank: 1, Done: 2}, ev); diff != "" || !fresh {
		t.Errorf("fresh %v, claim (-want +got):\n%s", fresh, diff)
	}
	r.claims.give(lifecycle.Give{ID: 1, Rank: 1, MicroBatch: 3})
	again := ask(claim{Rank: 1, Step: 4, Number: 1, Seconds: 2})
	if _, fresh := r.claims.event(<-r.claims.arriving); fresh {
		t.Error("the machine hears a claim twice")
	}
	next := ask(claim{Rank: 1, Step: 4, Number: 2})
	ev, _ = r.claims.event(<-r.claims.arriving)
	r.claims.give(lifecycle.Give{ID: ev.ID, Rank: 1, MicroBatch: lifecycle.None})
	old := ask(claim{Rank: 1, Step: 4, Number: 1})
	r.claims.event(<-r.claims.arriving)
	want := []string{`{"micro_batch":3}`, `{"micro_batch":3}`, `{"micro_batch":-1}`, `{"micro_batch":-1}`}
	if diff := cmp.Diff(want, []string{<-first, <-again, <-next, <-old}); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	for _, bad := range []claim{{Rank: 0}, {Rank: 2}, {Rank: -1}, {Rank: 1, Seconds: -1}} {
		if got := <-ask(bad); !strings.Contains(got, wire.ErrMessage.Error()) {
			t.Errorf("%+v: %q, want a refusal", bad, got)
		}
	}
	cancel()
	if got := <-ask(claim{Rank: 1, Number: 3}); got != context.Canceled.Error() {
		t.Errorf("after the end: %q, want that it is over", got)
	}
}

// TestWhatAPassStillTakes: one that takes longer than usual makes the next ones look as long.
func TestWhatAPassStillTakes(t *testing.T) {
	p := newPass(nil)
	p.began = time.Now().Add(-time.Minute)
	if rest, each := p.left(90); rest > 30 || rest < 29 || each != 90 {
		t.Errorf("rest %v, each %v; want about 30 and 90", rest, each)
	}
	if rest, each := p.left(1); rest != 0 || each < 60 {
		t.Errorf("rest %v, each %v; want 0 and above 60", rest, each)
	}
	p.end()
	if rest, each := p.left(1); rest != 0 || each != 1 {
		t.Errorf("after the end: rest %v, each %v; want 0 and 1", rest, each)
	}
}

// FuzzClaim: whatever another rank sends is refused, or is a claim of a rank of this ring.
func FuzzClaim(f *testing.F) {
	f.Add(wire.Encode(claim{Rank: 1, Step: 4, Number: 1, Seconds: 2}))
	f.Add([]byte(`{"rank":9}`))
	r := &rank{job: wire.TrainJob{Rank: 0, Nodes: []string{"a", "b", "c"}}, res: &resident{}, log: zerolog.Nop()}
	r.claims = newClaims(r)
	f.Fuzz(func(t *testing.T, data []byte) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		refused := make(chan error, 1)
		go func() {
			_, err := r.claims.handle(ctx, data)
			refused <- err
		}()
		select {
		case err := <-refused:
			if err == nil {
				t.Error("answered before the machine was asked")
			}
		case p := <-r.claims.arriving:
			if p.Rank != 1 && p.Rank != 2 || !(p.Seconds >= 0) {
				t.Errorf("claim %+v was taken", p.claim)
			}
			cancel()
			<-refused
		}
	})
}
