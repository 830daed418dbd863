// Package profile writes what each instruction of a compiled program took: a table as text, and a trace in the JSON of
// Chrome's trace events, which chrome://tracing and ui.perfetto.dev open.
//
// Times are means over the runs but in the trace, which shows the last one. Operations are those of the matrix products;
// bytes are those of operands and results, each read or written once. What lies between instructions (the exact sums of
// gradients, the optimizer, the ring) shows as gaps in the trace and is in the processor profile alone.
//
// Source: Trace Event Format, docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU.
package profile
