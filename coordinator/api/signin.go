package api

import (
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// SignIn is the link that signs a browser in to the desk, as whoever has the token.
func (e Endpoint) SignIn(token string) string {
	return "http://" + e.Address + "/signin?token=" + token
}

// cookie is the name of the desk's cookie. Cookies are shared by all ports of a host, so the port is
// part of it, and two runs do not sign each other out.
func (e Endpoint) cookie() string {
	_, port, _ := net.SplitHostPort(e.Address)
	return "yohaku_" + port
}

// signIn keeps the token of the link in a cookie that no script can read and no other site can use.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	token := r.URL.Query().Get("token")
	if !same(token, s.endpoint.Bearer) && !same(token, s.endpoint.Viewer) {
		problem(w, http.StatusUnauthorized, "this link is of another run, or of this one before it was started again: get a new one with `coordinator desk`")
		return
	}
	http.SetCookie(w, &http.Cookie{Name: s.endpoint.cookie(), Value: token, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	// Not a redirect: after a click elsewhere, a browser does not send a strict cookie along with it.
	_, _ = w.Write([]byte(`<!doctype html><meta http-equiv="refresh" content="0;url=/"><title>Yohaku</title><a href="/">Yohaku</a>`))
}

// bears tells whether a request has the token, in its header or, from a browser, in its cookie.
func (s *Server) bears(r *http.Request, token string) bool {
	if given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return same(given, token)
	}
	c, err := r.Cookie(s.endpoint.cookie())
	return err == nil && same(c.Value, token)
}

func same(given, token string) bool {
	return token != "" && subtle.ConstantTimeCompare([]byte(given), []byte(token)) == 1
}

// loopback tells whether a request names this machine, so that no other name can be made to point
// here (DNS rebinding).
func loopback(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && ip.IsLoopback()
}
