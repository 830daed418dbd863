// Package membership tells which nodes are in the cluster and what they say of themselves, by
// gossip (memberlist) encrypted with AES-256.
//
// It finds members; it is not the judge of failures. A lost route (package bus) and a missed
// deadline are quicker, and a node under full load may be called dead here and be back a moment
// later: a Leave followed by a Join of the same name is no contradiction. A leave and a crash look
// alike.
//
// Invariants:
//   - Node names are unique, so callers put a UUID in them; a second node of one name is never
//     silently ignored: it comes as a Conflict event, and Join fails with ErrNameTaken.
//   - Events are bounded and never lost in silence: what does not fit becomes one Resync event.
//   - Addresses are explicit: nothing guesses an interface.
package membership
