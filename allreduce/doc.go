// Package allreduce is the pure schedule of a ring all-reduce: which part of a vector each rank
// sends and receives in which order. It has no clock, no network and no data.
//
// A vector is cut into one segment for each of W ranks. In W−1 reduce-scatter steps every rank adds
// what it receives to its own part and passes the result on, so that each segment is complete at
// one rank; in W−1 all-gather steps the complete segments go round. Every rank sends and receives
// 2(W−1)/W of the vector, whatever W is.
//
// A vector may be reduced as several buckets, one after the other, so that the first go round before the last are there
// (Chunks). A Tally says which micro-batches a partial sum contains.
//
// Invariant: a step's received segment is the next step's sent segment. So a segment's chunks can
// be passed on one by one as they arrive, and a vector that is not overwritten by the
// caller is read only in the first send and once in each reduction.
//
// Source: Patarasuk and Yuan, Bandwidth optimal all-reduce algorithms for clusters of workstations, 2009.
package allreduce
