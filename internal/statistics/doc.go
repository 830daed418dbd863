// Package statistics holds what a team decides on: win rates and other figures with intervals,
// strengths of several models, a rate that may be looked at while votes arrive, and how far
// annotators agree.
//
// Invariants: everything is pure arithmetic; the bootstrap's draws are keyed, so a report is the same
// each time. Intervals are at 95 %. testdata holds numbers of other libraries, with the script that
// made them.
package statistics
