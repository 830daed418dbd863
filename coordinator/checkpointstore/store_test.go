package checkpointstore

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yohaku/coordinator/checkpointstore/storetest"
	"yohaku/coordinator/runstore"
)

const secret = storetest.Secret

func newStore(t *testing.T) (*Store, *storetest.Bucket) {
	t.Helper()
	b := storetest.New()
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "someone")
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open("s3://pictures/runs?insecure=true&region=eu-west-1&endpoint="+u.Host, "r1")
	if err != nil {
		t.Fatal(err)
	}
	return s, b
}

// folder is a checkpoint folder of two files.
func folder(t *testing.T, text string) (dir string, files map[string]string) {
	t.Helper()
	dir = t.TempDir()
	files = map[string]string{"unet/w": text, "digest.txt": "d\n"}
	var sums strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		sum := sha256.Sum256([]byte(files[name]))
		fmt.Fprintf(&sums, "%s  %s\n", hex.EncodeToString(sum[:]), name)
	}
	files[runstore.SumsName] = sums.String()
	for name, text := range files {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir, files
}

func TestCheckpointsComeBack(t *testing.T) {
	s, b := newStore(t)
	var want map[string]string
	for _, step := range []int{20, 10, 30} {
		var dir string
		dir, want = folder(t, fmt.Sprint("weights of ", step))
		if err := s.Put(t.Context(), step, dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Prune(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	steps, err := s.Steps(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{20, 30}, steps); diff != "" || len(b.Objects) != 2*len(want) {
		t.Errorf("%d objects, steps (-want +got):\n%s", len(b.Objects), diff)
	}
	dir := t.TempDir()
	if err := s.Get(t.Context(), 30, dir); err != nil {
		t.Fatal(err)
	}
	for name, text := range want {
		if got, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name))); err != nil || string(got) != text {
			t.Errorf("%s is %q, error %v; want %q", name, got, err, text)
		}
	}
}

// TestHalfACheckpointDoesNotCount: when the last object of an upload is refused there is no checkpoint, and the error names
// the place, but no secret.
func TestHalfACheckpointDoesNotCount(t *testing.T) {
	s, b := newStore(t)
	b.Refuse = runstore.SumsName
	dir, _ := folder(t, "weights")
	err := s.Put(t.Context(), 10, dir)
	if err == nil || !strings.Contains(err.Error(), "s3://pictures/runs/r1/") || strings.Contains(err.Error(), secret) {
		t.Errorf("got error %v", err)
	}
	if steps, err := s.Steps(t.Context()); err != nil || len(steps) != 0 {
		t.Errorf("steps %v, error %v, want none", steps, err)
	}
	b.Refuse = ""
	if err := s.Put(t.Context(), 10, dir); err != nil {
		t.Fatal(err)
	}
	if steps, err := s.Steps(t.Context()); err != nil || len(steps) != 1 {
		t.Errorf("steps %v, error %v, want one", steps, err)
	}
}

// TestNamesStayWithinTheFolder: a list of files from the store cannot name one outside.
func TestNamesStayWithinTheFolder(t *testing.T) {
	s, b := newStore(t)
	b.Objects["runs/r1/step-000010/"+runstore.SumsName] = []byte(strings.Repeat("0", 64) + "  ../../outside\n")
	if err := s.Get(t.Context(), 10, t.TempDir()); err == nil || !strings.Contains(err.Error(), "outside") {
		t.Errorf("got error %v", err)
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"s3://b": "", "s3://b/p/q?endpoint=h:1&region=r&insecure=true": "",
		"/some/folder": "must be s3://BUCKET/PREFIX", "gs://b": "must be s3://", "s3://": "must be s3://",
		"s3://b?acl=x": `"acl"`, "s3://b?insecure=perhaps": "true or false", "s3://me:" + secret + "@b": "AWS_ACCESS_KEY_ID",
		"s3://me:" + secret + "%zz@b": "does not parse",
	} {
		_, err := Parse(text)
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret)) {
			t.Errorf("%q: error %v, want one about %q", text, err, want)
		}
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	if _, err := Open("s3://b", "r"); err == nil || !strings.Contains(err.Error(), "AWS_ACCESS_KEY_ID") {
		t.Errorf("without credentials: error %v", err)
	}
}
