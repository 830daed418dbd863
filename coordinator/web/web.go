// Package web holds the desk: the pages that a browser shows of a run. They are plain files, embedded,
// without a build step; all that is of the run comes from the API under /api/v1.
package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed files
var embedded embed.FS

// policy lets the pages load what is embedded here and nothing else, and be framed by nobody.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// kinds are the media types, the same on every system.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// file is an embedded file as it is served.
type file struct {
	data       []byte
	kind, etag string
}

// Files answers "/" with the page, /desk/NAME with what it needs, and /favicon.ico.
func Files() http.Handler {
	all := map[string]file{}
	err := fs.WalkDir(embedded, "files", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := embedded.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		all["/desk/"+strings.TrimPrefix(name, "files/")] = file{data, kinds[path.Ext(name)], `"` + hex.EncodeToString(sum[:8]) + `"`}
		return nil
	})
	if err != nil {
		panic(err) // The files are part of the program.
	}
	all["/"] = all["/desk/index.html"]
	all["/favicon.ico"] = all["/desk/mark.svg"] // What browsers ask for on pages that name no mark.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, ok := all[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h.Set("Content-Type", f.kind)
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", f.etag)
		if r.Header.Get("If-None-Match") == f.etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write(f.data) // The client went away; nothing to do.
	})
}
