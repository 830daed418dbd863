package tidy

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers says what each room may import of this module, beside packages of its own room. The
// longest matching prefix counts.
var layers = []struct {
	room   string
	may    []string
	reason string
}{
	{"cmd", []string{"coordinator", "worker", "dataset", "model", "internal", "cmd"}, "cmd wires everything"},
	{"cmd/bench", []string{"worker", "model", "allreduce", "internal"}, "the benchmarks time the engine and the ring"},
	{"cmd/worker", []string{"cmd/internal"}, "the worker's binary has nothing of the coordinator"},
	{"coordinator", []string{"dataset", "internal"}, "the coordinator runs without tensors"},
	{"coordinator/evidence", []string{"internal"}, "evidence is figures and pictures"},
	{"coordinator/rendezvous", []string{"internal/assert", "internal/assignment", "internal/epoch"}, "a pure machine"},
	{"coordinator/web", nil, "the pages are files"},
	{"coordinator/chaos", []string{"coordinator/api"}, "faults are injected from outside of the run"},
	{"worker", []string{"dataset", "model", "allreduce", "internal"}, "only the worker brings all three together"},
	{"worker/lifecycle", []string{"internal/assert", "internal/assignment", "internal/epoch"}, "a pure machine"},
	{"dataset", []string{"internal"}, "data knows neither models nor rings"},
	{"model", []string{"internal"}, "models know neither data nor rings"},
	{"allreduce", []string{"internal"}, "the ring knows neither data nor models"},
	{"internal/bus", []string{"internal/assert", "internal/atomicfile", "internal/logkey", "internal/throttle"}, "networks do not know what they carry"},
	{"internal/membership", []string{"internal/assert", "internal/logkey"}, "networks do not know what they carry"},
	{"internal/trust", []string{"internal/assert", "internal/atomicfile"}, "trust stands alone"},
	{"internal/signed", []string{"internal/bus", "internal/throttle", "internal/trust"}, "signed calls are calls and signatures"},
	{"internal/wire", []string{"internal/safetensors"}, "messages are data"},
	{"internal/golden", []string{"internal/safetensors"}, "golden cases are files"},
	{"internal/assignment", nil, "arithmetic"},
	{"internal/epoch", nil, "arithmetic"},
	{"internal/sim", []string{"coordinator/rendezvous", "worker/lifecycle", "worker/replica", "internal/assert", "internal/assignment", "internal/epoch"}, "the simulation plays the pure machines"},
	{"internal/scale", []string{"internal/sim"}, "the cost model is held against the simulation"},
	{"internal/assert", nil, "the ground floor"},
	{"internal/isa", nil, "the ground floor"},
	{"internal/rng", []string{"internal/assert"}, "the ground floor"},
	{"internal/atomicfile", nil, "the ground floor"},
	{"internal/bytesize", nil, "the ground floor"},
	{"internal/logkey", nil, "the ground floor"},
	{"internal/strictyaml", nil, "the ground floor"},
	{"internal/throttle", nil, "the ground floor"},
	{"internal/rawbytes", nil, "the ground floor"},
	{"internal/safetensors", nil, "the ground floor"},
	{"internal/statistics", []string{"internal/rng"}, "statistics are arithmetic"},
	{"internal/picture", []string{"internal/assert"}, "the ground floor"},
	{"internal/tidy", nil, "only tests"},
	{"internal/browser", nil, "only tests"},
}

// libraries says who alone may import a library outside the module, tests included for none.
var libraries = []struct {
	prefix string
	rooms  []string
	reason string
}{
	{"gorgonia.org/", []string{"model"}, "gorgonia is the graph, under model"},
	{"github.com/nats-io/", []string{"internal/bus", "allreduce/natsring"}, "NATS is transport"},
	{"github.com/hashicorp/memberlist", []string{"internal/membership"}, "gossip is membership's"},
	{"github.com/rs/zerolog", []string{"cmd", "coordinator", "worker", "allreduce/natsring", "internal/bus"}, "only shells log"},
	{"github.com/spf13/cobra", []string{"cmd"}, "only commands have flags"},
	{"github.com/chromedp/", []string{"internal/browser"}, "the browser is driven in tests"},
	{"github.com/prometheus/", []string{"coordinator/metrics"}, "metrics are one room"},
	{"github.com/minio/minio-go/", []string{"coordinator/checkpointstore"}, "S3 is one place for checkpoints"},
	{"github.com/parquet-go/", []string{"dataset/pickapic"}, "parquet is one source's format"},
}

// pureRooms must not reach for the clock, randomness or I/O.
var pureRooms = []string{"coordinator/rendezvous", "worker/lifecycle", "worker/replica", "internal/assignment", "internal/epoch", "allreduce", "allreduce/fixedpoint", "allreduce/bucket"}

var impure = []string{"os", "net", "io", "math/rand", "math/rand/v2", "crypto/rand", "time", "sync", "context", "log"}

// file is one Go file of the module and what it imports.
type file struct {
	path, dir string
	imports   []string
	test      bool
}

func files(t *testing.T) []file {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var all []file
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && p != root || d.Name() == "testdata" || isModule(root, p)) {
			return filepath.SkipDir
		}
		if d.IsDir() || path.Ext(d.Name()) != ".go" {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		f := file{path: rel, dir: path.Dir(rel), test: strings.HasSuffix(rel, "_test.go")}
		for _, i := range parsed.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			f.imports = append(f.imports, name)
		}
		all = append(all, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// isModule tells whether dir is a module of its own, such as a generator's.
func isModule(root, dir string) bool {
	if dir == root {
		return false
	}
	matches, err := filepath.Glob(filepath.Join(dir, "go.mod"))
	return err == nil && len(matches) > 0
}

// under tells whether dir is room or within it.
func under(dir, room string) bool { return dir == room || strings.HasPrefix(dir, room+"/") }

// problems checks one file against the rules.
func problems(f file) []string {
	var found []string
	layer := -1
	for i, l := range layers {
		if under(f.dir, l.room) && (layer < 0 || len(l.room) > len(layers[layer].room)) {
			layer = i
		}
	}
	if layer < 0 {
		return []string{fmt.Sprintf("%s: no rule for folder %s; add one to layers", f.path, f.dir)}
	}
	l := layers[layer]
	for _, name := range f.imports {
		if own, ok := strings.CutPrefix(name, "yohaku/"); ok && !f.test {
			top, _, _ := strings.Cut(l.room, "/")
			same := under(own, l.room) || !strings.Contains(l.room, "/") && under(own, top)
			if !same && !slices.ContainsFunc(l.may, func(room string) bool { return under(own, room) }) {
				found = append(found, fmt.Sprintf("%s imports %s: %s", f.path, name, l.reason))
			}
		}
		for _, lib := range libraries {
			if strings.HasPrefix(name, lib.prefix) && !f.test && !slices.ContainsFunc(lib.rooms, func(room string) bool { return under(f.dir, room) }) {
				found = append(found, fmt.Sprintf("%s imports %s: %s", f.path, name, lib.reason))
			}
		}
		if !f.test && slices.Contains(pureRooms, f.dir) && slices.Contains(impure, name) {
			found = append(found, fmt.Sprintf("%s imports %s: pure rooms have no clock, randomness or I/O", f.path, name))
		}
	}
	return found
}

func TestImportsPointDown(t *testing.T) {
	all := files(t)
	if len(all) < 100 {
		t.Fatalf("only %d files found: the walk is wrong", len(all))
	}
	for _, f := range all {
		for _, p := range problems(f) {
			t.Error(p)
		}
	}
}

// TestTheRulesCatch: a rule that cannot fail is none.
func TestTheRulesCatch(t *testing.T) {
	for _, f := range []file{
		{path: "coordinator/x.go", dir: "coordinator", imports: []string{"yohaku/model/op"}},
		{path: "coordinator/x.go", dir: "coordinator", imports: []string{"yohaku/worker"}},
		{path: "dataset/x.go", dir: "dataset", imports: []string{"yohaku/model/vae"}},
		{path: "dataset/x.go", dir: "dataset", imports: []string{"github.com/nats-io/nats.go"}},
		{path: "worker/lifecycle/x.go", dir: "worker/lifecycle", imports: []string{"time"}},
		{path: "internal/rng/x.go", dir: "internal/rng", imports: []string{"yohaku/internal/wire"}},
		{path: "worker/trainstep/x.go", dir: "worker/trainstep", imports: []string{"gorgonia.org/gorgonia"}},
		{path: "elsewhere/x.go", dir: "elsewhere"},
	} {
		if len(problems(f)) == 0 {
			t.Errorf("%s importing %v passes", f.path, f.imports)
		}
	}
}
