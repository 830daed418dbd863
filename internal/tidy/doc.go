// Package tidy holds the repository to its own rules by tests: which room may import which, and
// which package alone may touch a library. docs/architecture.md tells the same in words.
package tidy
