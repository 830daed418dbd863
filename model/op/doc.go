// Package op holds the operators of the expression graph: for each a small attribute struct
// (a Def) with its name, its shape rule (Infer) and its symbolic gradient (VJP), behind one
// adapter that gives gorgonia its Op and SDOp.
//
// gorgonia is the graph and the symbolic differentiation only. Nothing here computes: package
// compile lowers the graph to a program and a backend runs it.
//
// Layouts: pictures and feature maps are NHWC [B,H,W,C], tokens [B,N,C], so that going from one
// to the other is a free reshape. Convolution weights are HWIO [kh,kw,Cin,Cout], linear weights
// [out,in]. All nodes are float32.
//
// Invariants: every operator node has an id of its own within its Builder, since gorgonia
// compares nodes by hash, not by children; a Builder differentiates once; creation order is a
// topological order.
package op
