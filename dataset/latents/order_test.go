package latents

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOrder(t *testing.T) {
	store, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Order(); !errors.Is(err, ErrNotFound) {
		t.Errorf("order before it was set: %v, want %v", err, ErrNotFound)
	}
	want := []string{strings.Repeat("b", 64), strings.Repeat("a", 64), strings.Repeat("b", 64)}
	if err := store.SetOrder(want); err != nil {
		t.Fatal(err)
	}
	got, err := store.Order()
	if diff := cmp.Diff(got, want); err != nil || diff != "" {
		t.Errorf("order: %v (-got +want):\n%s", err, diff)
	}
	if err := os.WriteFile(filepath.Join(store.dir, orderFile), []byte(want[0]+"\n../x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Order(); err == nil || !strings.Contains(err.Error(), `line 2: key "../x"`) {
		t.Errorf("a key that is a path: %v", err)
	}
}
