// Package trust decides who belongs to a cluster: a small certificate authority in a folder, join
// tokens that carry its fingerprint and a secret, node certificates, and the bootstrap
// conversation in which a worker trades the token for its certificate and the cluster's secrets.
//
// Invariants:
//   - A worker sends its secret only to a server whose chain ends in the authority that the token
//     names, and whose leaf carries BootstrapName; node certificates never carry that name.
//   - Private keys are made where they are used: a worker sends a public key, never a private one.
//   - Secrets appear in no error and no log line; Token prints redacted.
//   - Every length read from the network is bounded before it is allocated, and every
//     conversation has a deadline.
//
// The bootstrap conversation is TLS 1.3 with one frame each way; a frame is a big-endian uint32
// length and that much JSON. Nodes talk mutual TLS 1.3 afterwards, see Identity.MutualTLS.
package trust
