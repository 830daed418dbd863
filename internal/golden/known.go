package golden

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"yohaku/internal/safetensors"
)

// known maps the cases that tests name to the parts they name; "" stands for the whole case.
type known map[string][]string

// has says whether a test covers this part of a case.
func (k known) has(name, sub string) bool {
	return slices.Contains(k[name], sub) || slices.Contains(k[name], "")
}

// knownCases reads the calls of Run and RunSubs in all test files under root.
func knownCases(root string) (known, error) {
	k := known{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		return k.addFile(path)
	})
	return k, err
}

// addFile adds the cases that one test file names.
func (k known) addFile(path string) error {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("parse test: %w", err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		f, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || len(call.Args) < 3 {
			return true
		}
		if pkg, ok := f.X.(*ast.Ident); !ok || pkg.Name != "golden" {
			return true
		}
		name, ok := stringLiteral(call.Args[1])
		switch {
		case !ok:
		case f.Sel.Name == "Run":
			k[name] = append(k[name], "")
		case f.Sel.Name == "RunSubs":
			k[name] = append(k[name], stringLiterals(call.Args[2])...)
		}
		return true
	})
	return nil
}

func stringLiteral(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}

func stringLiterals(e ast.Expr) []string {
	list, ok := e.(*ast.CompositeLit)
	if !ok {
		return nil
	}
	var all []string
	for _, e := range list.Elts {
		if s, ok := stringLiteral(e); ok {
			all = append(all, s)
		}
	}
	return all
}

// parts returns the names of a case's parts: scheduler classes without "Scheduler" where
// case.json lists sampler runs, methods where it is a training case, otherwise the whole.
func parts(dir string) ([]string, error) {
	data, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		return nil, fmt.Errorf("read golden case: %w", err)
	}
	var info struct {
		Args struct {
			Runs []struct {
				Scheduler string `json:"scheduler"`
			} `json:"runs"`
			Optimizer json.RawMessage `json:"optimizer"`
		} `json:"args"`
	}
	if err := json.Unmarshal(data, &info); err != nil {
		return nil, fmt.Errorf("parse %s/case.json: %w", dir, err)
	}
	names := map[string]bool{}
	for _, r := range info.Args.Runs {
		names[strings.TrimSuffix(r.Scheduler, "Scheduler")] = true
	}
	if info.Args.Optimizer != nil {
		f, err := safetensors.Open(filepath.Join(dir, "outputs.safetensors"))
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }() // Only read from.
		for _, t := range f.Infos() {
			method, _, _ := strings.Cut(t.Name, ".")
			names[method] = true
		}
	}
	delete(names, "")
	if len(names) == 0 {
		return []string{""}, nil
	}
	var all []string
	for n := range names {
		all = append(all, n)
	}
	slices.Sort(all)
	return all, nil
}
