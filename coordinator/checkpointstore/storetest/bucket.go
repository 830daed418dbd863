// Package storetest is S3 storage in memory, for tests.
package storetest

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Secret is a secret key for tests. A request that shows it is refused.
const Secret = "a-secret-that-nobody-may-see"

// Bucket is an S3 server of the bucket pictures, as far as the store asks: put, get, list and remove.
type Bucket struct {
	mu      sync.Mutex
	Objects map[string][]byte // By key.
	Refuse  string            // Puts of keys with this ending are refused.
}

// New returns an empty bucket.
func New() *Bucket { return &Bucket{Objects: map[string][]byte{}} }

// ServeHTTP implements http.Handler.
func (b *Bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := strings.TrimPrefix(r.URL.Path, "/pictures/")
	data, there := b.Objects[key]
	switch {
	case r.Header.Get("Authorization") == "" || strings.Contains(r.Header.Get("Authorization"), Secret):
		w.WriteHeader(http.StatusForbidden)
	case r.Method == http.MethodGet && r.URL.Query().Has("location"):
		fmt.Fprint(w, `<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></LocationConstraint>`)
	case r.Method == http.MethodGet && r.URL.Query().Has("list-type"):
		b.list(w, r.URL.Query().Get("prefix"))
	case r.Method == http.MethodPut && b.Refuse != "" && strings.HasSuffix(key, b.Refuse):
		w.WriteHeader(http.StatusForbidden)
	case r.Method == http.MethodPut:
		b.Objects[key] = body(r)
		w.Header().Set("ETag", `"e"`)
	case r.Method == http.MethodDelete:
		delete(b.Objects, key)
		w.WriteHeader(http.StatusNoContent)
	case !there:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `<Error><Code>NoSuchKey</Code></Error>`)
	default:
		w.Header().Set("ETag", `"e"`)
		w.Header().Set("Last-Modified", "Tue, 24 Nov 2026 18:00:00 GMT")
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		if r.Method == http.MethodGet {
			_, _ = w.Write(data)
		}
	}
}

func (b *Bucket) list(w io.Writer, prefix string) {
	fmt.Fprint(w, `<ListBucketResult><IsTruncated>false</IsTruncated>`)
	for _, key := range slices.Sorted(maps.Keys(b.Objects)) {
		if strings.HasPrefix(key, prefix) {
			fmt.Fprint(w, "<Contents><Key>")
			_ = xml.EscapeText(w, []byte(key))
			fmt.Fprintf(w, "</Key><LastModified>2026-11-24T18:00:00.000Z</LastModified><Size>%d</Size></Contents>", len(b.Objects[key]))
		}
	}
	fmt.Fprint(w, `</ListBucketResult>`)
}

// body reads an upload, which over plain HTTP is signed chunk by chunk: "size;chunk-signature=…", the bytes, an empty line.
func body(r *http.Request) []byte {
	if !strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		data, _ := io.ReadAll(r.Body)
		return data
	}
	var data []byte
	in := bufio.NewReader(r.Body)
	for {
		head, err := in.ReadString('\n')
		digits, _, _ := strings.Cut(head, ";")
		n, parsed := strconv.ParseInt(strings.TrimSpace(digits), 16, 64)
		if err != nil || parsed != nil || n == 0 {
			return data
		}
		chunk := make([]byte, n+2)
		if _, err := io.ReadFull(in, chunk); err != nil {
			return data
		}
		data = append(data, chunk[:n]...)
	}
}
