package membership

import (
	"bytes"
	"testing"
	"time"
)

// TestKeyRotates: three nodes change their key in the three rounds without losing each other; a
// node with the old key only is refused afterwards, and one with the new key is let in.
func TestKeyRotates(t *testing.T) {
	old, fresh := testKey, bytes.Repeat([]byte{9}, KeyBytes)
	nodes := []*Membership{start(t, Config{NodeName: "a"}), start(t, Config{NodeName: "b"}), start(t, Config{NodeName: "c"})}
	join(t, nodes[1], nodes[0])
	join(t, nodes[2], nodes[0])
	expect(t, nodes[0], Join, "b")
	expect(t, nodes[0], Join, "c")
	for round, keys := range [][][]byte{{old, fresh}, {fresh, old}, {fresh}} {
		for _, n := range nodes {
			if err := n.SetKeys(keys); err != nil {
				t.Fatal(err)
			}
		}
		if err := nodes[1].SetMeta([]byte{byte(round)}, 5*time.Second); err != nil { // Told by gossip, under this round's key.
			t.Fatal(err)
		}
		if e := expect(t, nodes[0], Update, "b"); !bytes.Equal(e.Node.Meta, []byte{byte(round)}) {
			t.Errorf("round %d: metadata %v", round, e.Node.Meta)
		}
	}
	stale := start(t, Config{NodeName: "stale", Keys: [][]byte{old}})
	if err := stale.Join(deadline(t), []string{nodes[0].Local().Addr.String()}); err == nil {
		t.Error("a node with the old key joined")
	}
	if got := names(stale); len(got) != 1 {
		t.Errorf("a node with the old key sees %v", got)
	}
	late := start(t, Config{NodeName: "late", Keys: [][]byte{fresh}})
	join(t, late, nodes[0])
	expect(t, nodes[0], Join, "late")
}

func TestSetKeysKeepsExactlyTheGiven(t *testing.T) {
	m := start(t, Config{NodeName: "a"})
	key := func(b byte) []byte { return bytes.Repeat([]byte{b}, KeyBytes) }
	for _, keys := range [][][]byte{{key(1), key(2)}, {key(1), key(3)}, {key(3)}, {key(4), key(5), key(3)}, {testKey}} {
		if err := m.SetKeys(keys); err != nil {
			t.Fatal(err)
		}
		if got := m.keys.GetKeys(); len(got) != len(keys) || !bytes.Equal(bytes.Join(got, nil), bytes.Join(keys, nil)) {
			t.Errorf("ring %v, want %v", got, keys)
		}
	}
	for _, bad := range [][][]byte{{}, {key(1), key(1)}, {key(1)[:16]}, {key(1), key(2), key(3), key(4)}} {
		if err := m.SetKeys(bad); err == nil {
			t.Errorf("%d keys of %d bytes are taken", len(bad), len(bytes.Join(bad, nil)))
		}
	}
	if got := m.keys.GetKeys(); len(got) != 1 || !bytes.Equal(got[0], testKey) {
		t.Error("refused keys changed the ring")
	}
}
