package kernel

import "golang.org/x/sys/unix"

// adviseHugePages asks for huge pages where b has whole ones. A refusal costs speed only.
func adviseHugePages(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }
