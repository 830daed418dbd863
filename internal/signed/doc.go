// Package signed makes bus calls whose both ends know who is at the other one: requests and answers
// carry the sender's certificate and its signature, see package trust.
//
// TLS between servers proves that a peer is of the cluster, not which one sent a message: any
// server of a NATS cluster can publish on any subject. So whatever steers a run is signed: orders
// by the coordinator, words to it by the node that says them.
//
// Invariants:
//   - What reaches a handler is authentic, new (a repeat is refused) and of the right epoch.
//   - An answer counts only if the node that was asked signed it for this very request.
//   - What is refused is counted, and reported once per reason and minute; nothing is queued for it.
package signed
