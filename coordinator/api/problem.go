package api

import (
	"encoding/json"
	"net/http"
	"strings"
)

// Problem is the body of an answer that is an error: problem details, RFC 9457. Its type is
// about:blank, so the title is the status in words, and the detail says what is wrong.
type Problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(Problem{http.StatusText(status), status, detail}) // The client went away; nothing to do.
}

// detail is what an answer that is an error says, a problem or any text.
func detail(body []byte) string {
	var p Problem
	if json.Unmarshal(body, &p) == nil && p.Detail != "" {
		return p.Detail
	}
	return strings.TrimSpace(string(body))
}
