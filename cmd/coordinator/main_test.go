package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"yohaku/cmd/internal/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"coordinator": main,
		"worker":      func() { os.Exit(cli.Main(cli.Worker())) },
		"faulty":      func() { os.Exit(faultyWorker(os.Args[1:])) },
	})
}

// baseConfig is the configuration that the scripts start from: a run of about two seconds.
const baseConfig = `model: tiny-pipeline
data: pairs.parquet
out: runs
steps: 6
gradient_accumulation_steps: 5
train_batch_size: 2
local_workers: 1
no_eval: true
`

// TestScripts runs testdata/script: what an operator sees when something is wrong.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error {
			for _, name := range []string{"tiny-pipeline", "pairs"} {
				if err := os.CopyFS(filepath.Join(e.WorkDir, name), os.DirFS(filepath.Join("testdata", name))); err != nil {
					return err
				}
			}
			pairs, err := os.ReadFile(filepath.Join("testdata", "pairs.parquet"))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(e.WorkDir, "pairs.parquet"), pairs, 0o600); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(e.WorkDir, "run.yaml"), []byte(baseConfig), 0o600)
		},
		Condition: func(cond string) (bool, error) { return cond == "disk" && canMount(), nil },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"oneerror": oneError, "edit": edit, "cut": cut, "lie": lie, "occupy": occupy, "disk": disk, "up": startUp, "down": stopUp,
		},
	})
}

// oneError REGEXP… checks the last command's standard error: its last line is the one error, which
// matches every REGEXP; lines before it are log lines.
func oneError(ts *testscript.TestScript, _ bool, patterns []string) {
	text := strings.TrimRight(ts.ReadFile("stderr"), "\n")
	lines := strings.Split(text, "\n")
	last := lines[len(lines)-1]
	for _, line := range lines[:len(lines)-1] {
		var entry struct{ Level string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Level == "error" {
			ts.Fatalf("before the error there is a line that is no plain log line: %s", line)
		}
	}
	if !strings.HasPrefix(last, "error: ") || strings.Contains(text, "goroutine ") {
		ts.Fatalf("want one last line 'error: …' and no stack trace, got:\n%s", text)
	}
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(last) {
			ts.Fatalf("the error does not match %q: %s", p, last)
		}
	}
}

// edit FILE OLD NEW replaces all of OLD, which must be there.
func edit(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	data, err := os.ReadFile(path)
	ts.Check(err)
	if !bytes.Contains(data, []byte(args[1])) {
		ts.Fatalf("%s does not contain %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(path, bytes.ReplaceAll(data, []byte(args[1]), []byte(args[2])), 0o600))
}

// cut FILE takes the last third of FILE away.
func cut(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	info, err := os.Stat(path)
	ts.Check(err)
	ts.Check(os.Truncate(path, info.Size()*2/3))
}

// lie FILE moves the end of one tensor of a safetensors file behind the file's end.
func lie(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	data, err := os.ReadFile(path)
	ts.Check(err)
	n := binary.LittleEndian.Uint64(data)
	var header map[string]map[string]any
	ts.Check(json.Unmarshal(data[8:8+n], &header))
	for name, tensor := range header {
		if name == "conv_in.weight" {
			offsets := tensor["data_offsets"].([]any)
			offsets[1] = offsets[1].(float64) + 1<<40
		}
	}
	text, err := json.Marshal(header)
	ts.Check(err)
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	ts.Check(os.WriteFile(path, append(append(out, text...), data[8+n:]...), 0o600))
}

// occupy NAME listens on a free port and puts its address into the variable NAME.
func occupy(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() }) // The test is over.
	ts.Setenv(args[0], l.Addr().String())
}

// startUp is up ARGS… starts `coordinator up` and waits for its join line; ADDR and TOKEN hold its parts.
func startUp(ts *testscript.TestScript, _ bool, args []string) {
	p, err := startProcess(ts.MkAbs("."), "coordinator", append([]string{"up"}, args...)...)
	ts.Check(err)
	ts.Defer(p.kill)
	addr, token, err := p.joinLine()
	ts.Check(err)
	ts.Setenv("ADDR", addr)
	ts.Setenv("TOKEN", token)
	background[ts.Getenv("WORK")] = p
}

// stopUp is down: it interrupts what up started and waits for its orderly end.
func stopUp(ts *testscript.TestScript, _ bool, _ []string) {
	p := background[ts.Getenv("WORK")]
	ts.Check(p.interrupt())
	if code := p.wait(time.Minute); code != 0 {
		ts.Fatalf("exit code %d after an interrupt, want 0:\n%s", code, p.logText())
	}
}
