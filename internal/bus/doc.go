// Package bus gives each process its NATS connection: an embedded nats-server that routes to the
// servers of its peers, or a connection to an existing NATS cluster. Both give the same Conn.
//
// Invariants:
//   - Beyond loopback nothing listens without mutual TLS 1.3. The embedded server's client
//     listener is on the address of the routes. It knows two accounts: one for this process alone, and one
//     for the next rank of a ring, which may take bulk and acknowledge it and is told its password
//     over the bus (Offer, ConnectPeer).
//   - Addresses are explicit: Start guesses no interface.
//   - A peer that dies or freezes is noticed: by its closed connection, by unanswered pings
//     (PingInterval × MaxPingsOut), or by writes that do not drain (WriteDeadline). Messages in
//     flight at that moment are lost without an error at the publisher: protocols above must
//     acknowledge.
//
// Call and Handle are the request/reply convention; package blob moves large contents with it.
package bus
