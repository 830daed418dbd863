package main

import (
	"os"
	"sync"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// canMount tells whether this process may mount a small file system.
var canMount = sync.OnceValue(func() bool {
	dir, err := os.MkdirTemp("", "yohaku-mount-*")
	if err != nil {
		return false
	}
	defer func() { _ = os.RemoveAll(dir) }() // Only a mount point.
	if syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k") != nil {
		return false
	}
	return syscall.Unmount(dir, 0) == nil
})

// disk DIR OPTIONS mounts a small file system on DIR: OPTIONS is tmpfs's, such as size=300k, or ro.
func disk(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	var flags uintptr
	options := args[1]
	if options == "ro" {
		flags, options = syscall.MS_RDONLY, ""
	}
	ts.Check(syscall.Mount("tmpfs", dir, "tmpfs", flags, options))
	ts.Defer(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }) // Else the work folder's removal fails, which tells.
}
