package record_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"yohaku/internal/bus/record"
)

type value struct{ N int }

func open(t *testing.T, dir string) *record.Store {
	t.Helper()
	s, err := record.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOnlyWhoHasSeenAValueReplacesIt(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var v value
	if rev, err := s.Get("a", &v); rev != 0 || err != nil {
		t.Errorf("no value: revision %d, %v", rev, err)
	}
	first, err := s.Put("a", value{1}, 0)
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Put("a", value{2}, first)
	if err != nil || second <= first {
		t.Fatalf("revision %d after %d, %v", second, first, err)
	}
	for _, stale := range []uint64{0, first} {
		if _, err := s.Put("a", value{3}, stale); !errors.Is(err, record.ErrConflict) {
			t.Errorf("over revision %d: %v, want ErrConflict", stale, err)
		}
	}
	s.Close()
	s = open(t, dir)
	defer s.Close()
	if rev, err := s.Get("a", &v); rev != second || v.N != 2 || err != nil {
		t.Errorf("after opening again: %+v of revision %d, %v; want 2 of %d", v, rev, err, second)
	}
}

// TestMain can be the process that is killed while it writes.
func TestMain(m *testing.M) {
	dir := os.Getenv("YOHAKU_RECORD_TEST")
	if dir == "" {
		os.Exit(m.Run())
	}
	s, err := record.Open(dir)
	if err != nil {
		panic(err)
	}
	for n, rev := 1, uint64(0); ; n++ {
		if rev, err = s.Put("a", value{n}, rev); err != nil {
			panic(err)
		}
		fmt.Println(n)
	}
}

// TestWhatWasPutOutlivesAKill: everything acknowledged is there.
func TestWhatWasPutOutlivesAKill(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "YOHAKU_RECORD_TEST="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	guard := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }) // Of a test that hangs.
	defer guard.Stop()
	acked, lines := 0, bufio.NewScanner(out)
	for lines.Scan() {
		if _, err := fmt.Sscan(lines.Text(), &acked); err != nil {
			t.Fatal(err)
		}
		if acked == 50 {
			_ = cmd.Process.Kill() // Its lines so far are read to the end.
		}
	}
	_ = cmd.Wait() // It was killed.
	s := open(t, dir)
	defer s.Close()
	var v value
	if _, err := s.Get("a", &v); err != nil || acked < 50 || v.N < acked || v.N > acked+1 {
		t.Errorf("%d is there, %d was acknowledged, %v", v.N, acked, err)
	}
}
