// Package blob moves large contents over the bus: model weights, latent shards, checkpoints. A
// blob is named by the SHA-256 and size of its bytes, and travels in chunks of 512 KiB over
// request and reply, a few at a time, so that no queue grows and other messages get through.
//
// Invariants:
//   - Bytes are handed on as good only after their digest was checked; a file appears under its
//     name whole, or not at all.
//   - Every size and offset from the network is checked before anything is allocated or opened,
//     and no path ever comes from the network.
//   - After an error of the network a transfer goes on from where it was.
package blob
