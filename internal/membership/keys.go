package membership

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// maxKeys bounds the keys at one time: each costs an attempt to decrypt a message of a stranger.
const maxKeys = 3

func checkKeys(keys [][]byte) error {
	if len(keys) == 0 || len(keys) > maxKeys {
		return fmt.Errorf("%d gossip keys, there must be 1 to %d", len(keys), maxKeys)
	}
	for i, k := range keys {
		if len(k) != KeyBytes {
			return fmt.Errorf("gossip key has %d bytes, it must have %d (AES-256)", len(k), KeyBytes)
		}
		if slices.ContainsFunc(keys[:i], func(other []byte) bool { return bytes.Equal(other, k) }) {
			return errors.New("two gossip keys are the same")
		}
	}
	return nil
}

// SetKeys replaces the gossip keys: the first encrypts from now on, all decrypt. To rotate a key
// without losing anybody, all nodes learn to decrypt with the new one before any encrypts with
// it, and all encrypt with it before any drops the old one.
func (m *Membership) SetKeys(keys [][]byte) error {
	if err := checkKeys(keys); err != nil {
		return err
	}
	for _, k := range keys {
		if err := m.keys.AddKey(bytes.Clone(k)); err != nil {
			return fmt.Errorf("add a gossip key: %w", err)
		}
	}
	for _, k := range slices.Backward(keys) { // The last one used comes first; those to drop come after all these.
		if err := m.keys.UseKey(k); err != nil {
			return fmt.Errorf("use a gossip key: %w", err)
		}
	}
	// From the end: memberlist's readers share the ring's array, which only that leaves as it is.
	for _, k := range slices.Backward(slices.Clone(m.keys.GetKeys())[len(keys):]) {
		if err := m.keys.RemoveKey(k); err != nil {
			return fmt.Errorf("drop a gossip key: %w", err)
		}
	}
	return nil
}
