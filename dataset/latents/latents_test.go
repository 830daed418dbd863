package latents

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"yohaku/internal/rng"
	"yohaku/internal/safetensors"
)

// makeShard returns a shard of n pairs with random content.
func makeShard(seed uint64, n int, flips bool) *Shard {
	s := &Shard{MomentsShape: []int{8, 3, 5}, EmbedsShape: []int{7, 6}}
	for i := range n {
		s.PairIDs = append(s.PairIDs, fmt.Sprintf("pair-%d-%d", seed, i))
	}
	fill := func(item uint64, one int) []float32 {
		x := make([]float32, n*one)
		rng.New(rng.Key{Seed: seed, Domain: rng.Latent, Item: item}).FillNormal(x)
		return x
	}
	s.Winner, s.Loser, s.Embeds = fill(0, 120), fill(1, 120), fill(2, 42)
	if flips { // And what only some models have.
		s.WinnerFlipped, s.LoserFlipped = fill(3, 120), fill(4, 120)
		s.PooledShape, s.Pooled, s.TimeIDs = []int{3}, fill(5, 3), fill(6, 6)
	}
	s.Key = Key(s.PairIDs, "encoder", "preprocessing", "generic")
	return s
}

func encode(t testing.TB, s *Shard) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func open(t testing.TB, s *Shard) *Reader {
	t.Helper()
	data := encode(t, s)
	r, err := NewReader("shard", bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// pairOf cuts pair i out of a shard in memory.
func pairOf(s *Shard, i int, flipped bool) Latents {
	w, l := s.Winner, s.Loser
	if flipped {
		w, l = s.WinnerFlipped, s.LoserFlipped
	}
	pair := Latents{Winner: w[i*120 : (i+1)*120], Loser: l[i*120 : (i+1)*120], Embeds: s.Embeds[i*42 : (i+1)*42]}
	if s.Pooled != nil {
		pair.Pooled, pair.TimeIDs = s.Pooled[i*3:(i+1)*3], s.TimeIDs[i*6:(i+1)*6]
	}
	return pair
}

func TestStoreRoundTrip(t *testing.T) {
	store, err := Open(filepath.Join(t.TempDir(), "latents"))
	if err != nil {
		t.Fatal(err)
	}
	for _, flips := range []bool{false, true} {
		shard := makeShard(1, 5, flips)
		if flips {
			shard.Key = Key(shard.PairIDs, "encoder", "preprocessing, flips", "generic")
		}
		if store.Has(shard.Key) {
			t.Fatal("the store has a shard that was not put")
		}
		if _, err := store.Get(shard.Key); !errors.Is(err, ErrNotFound) {
			t.Errorf("Get before Put = %v, want %v", err, ErrNotFound)
		}
		if err := store.Put(shard); err != nil {
			t.Fatal(err)
		}
		r, err := store.Get(shard.Key)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if diff := cmp.Diff([]any{r.Len(), r.Key(), r.PairIDs(), r.MomentsShape(), r.EmbedsShape(), r.HasFlipped(), store.Has(shard.Key)},
			[]any{5, shard.Key, shard.PairIDs, shard.MomentsShape, shard.EmbedsShape, flips, true}); diff != "" {
			t.Errorf("flips %v: header (-got +want):\n%s", flips, diff)
		}
		var got Latents
		for i := 4; i >= 0; i-- {
			for _, flipped := range []bool{false, true} {
				if flipped && !flips {
					continue
				}
				if err := r.Pair(i, flipped, &got); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(got, pairOf(shard, i, flipped), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("seed 1, pair %d, flipped %v (-got +want):\n%s", i, flipped, diff)
				}
			}
		}
		if err := r.Pair(0, true, &got); (err == nil) != flips {
			t.Errorf("flips %v: reading a flipped pair gives %v", flips, err)
		}
		if err := r.Pair(5, false, &got); err == nil {
			t.Error("pair 5 of 5 was read")
		}
		if err := store.Remove(shard.Key); err != nil || store.Has(shard.Key) {
			t.Errorf("Remove: %v, still there: %v", err, store.Has(shard.Key))
		}
	}
}

func TestEqualShardsGiveEqualBytes(t *testing.T) {
	if !bytes.Equal(encode(t, makeShard(1, 3, true)), encode(t, makeShard(1, 3, true))) {
		t.Error("two writes of one shard differ")
	}
}

func TestKey(t *testing.T) {
	base := Key([]string{"a", "b"}, "e", "p", "k")
	seen := map[string]string{base: "base"}
	for name, key := range map[string]string{
		"order": Key([]string{"b", "a"}, "e", "p", "k"), "joined": Key([]string{"ab"}, "e", "p", "k"), "fewer": Key([]string{"a"}, "e", "p", "k"),
		"encoder": Key([]string{"a", "b"}, "x", "p", "k"), "preprocessing": Key([]string{"a", "b"}, "e", "x", "k"),
		"kernels": Key([]string{"a", "b"}, "e", "p", "x"), "shifted": Key([]string{"a", "b"}, "e", "pk", ""),
	} {
		if other, ok := seen[key]; ok {
			t.Errorf("%s has the key of %s", name, other)
		}
		seen[key] = name
	}
	if !keyForm.MatchString(base) {
		t.Errorf("key %q is not of the form of keys", base)
	}
}

func TestSet(t *testing.T) {
	shards := []*Shard{makeShard(1, 3, true), makeShard(2, 1, true), makeShard(3, 4, true)}
	set, err := NewSet(open(t, shards[0]), open(t, shards[1]), open(t, shards[2]))
	if err != nil {
		t.Fatal(err)
	}
	if set.Len() != 8 || !set.HasFlipped() {
		t.Errorf("Len = %d, HasFlipped = %v, want 8 and true", set.Len(), set.HasFlipped())
	}
	var wg sync.WaitGroup
	at := 0
	for _, s := range shards {
		for i := range s.PairIDs {
			global := at
			at++
			wg.Go(func() {
				var got Latents
				if err := set.Pair(global, i%2 == 1, &got); err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(got, pairOf(s, i, i%2 == 1), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("pair %d (-got +want):\n%s", global, diff)
				}
			})
		}
	}
	wg.Wait()
	for _, i := range []int{-1, 8} {
		if err := set.Pair(i, false, &Latents{}); err == nil {
			t.Errorf("pair %d of 8 was read", i)
		}
	}
	other := makeShard(4, 2, true)
	other.EmbedsShape = []int{6, 7}
	if _, err := NewSet(open(t, shards[0]), open(t, other)); err == nil || !strings.Contains(err.Error(), "encode them again together") {
		t.Errorf("shards of two shapes: error %v", err)
	}
	if _, err := NewSet(open(t, shards[0]), open(t, makeShard(5, 2, false))); err == nil {
		t.Error("shards with and without flips were joined")
	}
	if _, err := NewSet(); err == nil {
		t.Error("a set of no shards was made")
	}
}

// TestEmpty: the empty prompt's embedding comes back, and its absence is an error.
func TestEmpty(t *testing.T) {
	for _, pooled := range []bool{false, true} {
		s := makeShard(1, 2, pooled)
		var got Latents
		if err := open(t, s).Empty(&got); err == nil || !strings.Contains(err.Error(), "proportion_empty_prompts") {
			t.Errorf("without one: error %v", err)
		}
		s.EmptyEmbeds = s.Embeds[42:]
		if pooled {
			s.EmptyPooled = s.Pooled[3:]
		}
		set, err := NewSet(open(t, s))
		if err != nil {
			t.Fatal(err)
		}
		if err := set.Empty(&got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, Latents{Embeds: s.EmptyEmbeds, Pooled: s.EmptyPooled}); diff != "" {
			t.Errorf("pooled %v (-got +want):\n%s", pooled, diff)
		}
		s.EmptyEmbeds = s.EmptyEmbeds[1:]
		if err := s.Write(&bytes.Buffer{}); err == nil {
			t.Error("an embedding that is too short was written")
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Shard)
		want   string
	}{
		"no pairs":    {func(s *Shard) { s.PairIDs = nil }, "from 1 to"},
		"length":      {func(s *Shard) { s.Loser = s.Loser[1:] }, "loser_moments has 359 elements, want 3 pairs of [8 3 5]"},
		"NaN":         {func(s *Shard) { s.Winner[130] = float32(math.NaN()) }, "winner_moments of pair pair-1-1 is NaN at element 10"},
		"infinite":    {func(s *Shard) { s.Embeds[0] = float32(math.Inf(1)) }, "prompt_embeds of pair pair-1-0 is +Inf"},
		"one flipped": {func(s *Shard) { s.WinnerFlipped = s.Winner }, "loser_moments_flipped has 0 elements"},
		"shape":       {func(s *Shard) { s.MomentsShape = []int{-1, -120} }, "must be positive"},
		"overflow":    {func(s *Shard) { s.MomentsShape = []int{1 << 62, 1 << 62} }, "must be positive and at most"},
	} {
		s := makeShard(1, 3, false)
		tt.change(s)
		var b bytes.Buffer
		if err := s.Write(&b); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, tt.want)
		}
		if b.Len() > 0 {
			t.Errorf("%s: %d bytes were written beside the error", name, b.Len())
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	write := func(entries []safetensors.Entry, metadata map[string]string) []byte {
		var b bytes.Buffer
		if err := safetensors.Write(&b, entries, metadata); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	entry := func(name string, shape ...int) safetensors.Entry {
		n := 1
		for _, d := range shape {
			n *= d
		}
		return safetensors.Entry{Name: name, DType: safetensors.F32, Shape: shape, Data: make([]float32, n)}
	}
	metadata := map[string]string{"format": Format, "pairs": `["a","b"]`}
	good := encode(t, makeShard(1, 3, true))
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"empty":       {nil, "open latents shard: "},
		"truncated":   {good[:len(good)-4], "open latents shard: "},
		"other file":  {write([]safetensors.Entry{entry("x", 1)}, nil), "it is no shard"},
		"no list":     {write([]safetensors.Entry{entry("x", 1)}, map[string]string{"format": Format}), "the list of pairs"},
		"empty list":  {write([]safetensors.Entry{entry("x", 1)}, map[string]string{"format": Format, "pairs": "[]"}), "lists 0 pairs"},
		"no tensor":   {write([]safetensors.Entry{entry(winnerName, 2, 3), entry(loserName, 2, 3)}, metadata), "prompt_embeds is missing"},
		"pair count":  {write([]safetensors.Entry{entry(winnerName, 3, 3)}, metadata), "winner_moments is F32 [3 3], want F32 with 2 rows first"},
		"two shapes":  {write([]safetensors.Entry{entry(winnerName, 2, 3), entry(loserName, 2, 4)}, metadata), "loser_moments is [2 4], want [3] for each pair"},
		"half SDXL":   {write([]safetensors.Entry{entry(winnerName, 2, 3), entry(loserName, 2, 3), entry(embedsName, 2, 3), entry(pooledName, 2, 3)}, metadata), "must both be there"},
		"half empty":  {write([]safetensors.Entry{entry(winnerName, 2, 3), entry(loserName, 2, 3), entry(embedsName, 2, 3), entry(emptyEmbedsName, 1, 3), entry(emptyPooledName, 1, 3)}, metadata), "must be there as the pairs' embeddings are"},
		"empty rows":  {write([]safetensors.Entry{entry(winnerName, 2, 3), entry(loserName, 2, 3), entry(embedsName, 2, 3), entry(emptyEmbedsName, 2, 3)}, metadata), "empty_prompt_embeds is F32 [2 3], want F32 with 1 rows first"},
		"half a flip": {write([]safetensors.Entry{entry(winnerName, 2, 3), entry(loserName, 2, 3), entry(embedsName, 2, 3), entry(winnerFlippedName, 2, 3)}, metadata), "only one of"},
	} {
		if _, err := NewReader("shard", bytes.NewReader(tt.data), int64(len(tt.data))); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, tt.want)
		}
	}
}

func TestStoreRefuses(t *testing.T) {
	dir := t.TempDir()
	store, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"", "../x", strings.Repeat("A", 64), strings.Repeat("a", 63)} {
		if _, err := store.Get(key); err == nil || errors.Is(err, ErrNotFound) || store.Has(key) {
			t.Errorf("Get(%q) = %v, want an error for the key", key, err)
		}
	}
	shard := makeShard(1, 2, false)
	other := strings.Repeat("0", 64)
	path, err := store.Path(other)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, encode(t, shard), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Get(other); err == nil || !strings.Contains(err.Error(), "the shard inside has the key "+shard.Key) {
		t.Errorf("a shard under another's name: error %v", err)
	}
	shard.Winner[0] = float32(math.NaN())
	if err := store.Put(shard); err == nil || store.Has(shard.Key) {
		t.Errorf("a shard with NaN: error %v, kept: %v", err, store.Has(shard.Key))
	}
}

// FuzzNewReader: a header gives an error or a reader whose pairs can be read within the file.
func FuzzNewReader(f *testing.F) {
	f.Add(encode(f, makeShard(1, 2, true)))
	f.Add(encode(f, makeShard(2, 1, false))[:300])
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := NewReader("fuzz", bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		var l Latents
		for i := range r.Len() {
			if err := r.Pair(i, r.HasFlipped(), &l); err != nil {
				t.Fatalf("pair %d of an accepted shard: %v", i, err)
			}
		}
	})
}

func BenchmarkPair(b *testing.B) {
	s := makeShard(1, 64, false)
	path := filepath.Join(b.TempDir(), "s.safetensors")
	if err := os.WriteFile(path, encode(b, s), 0o644); err != nil {
		b.Fatal(err)
	}
	r, err := OpenShard(path)
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	var l Latents
	for i := 0; b.Loop(); i++ {
		if err := r.Pair(i%64, false, &l); err != nil {
			b.Fatal(err)
		}
	}
}
