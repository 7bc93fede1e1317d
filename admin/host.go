package admin

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// maxProfileSeconds bounds how long one profile may take: meanwhile there is no
// other of its kind.
const maxProfileSeconds = 60

// local lets a request through whose Host is a name that only this network has. A
// web page can have its own name resolve to this listener, and then read what it
// answers (DNS rebinding), but it cannot choose what the browser writes in Host.
func (s server) local(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.knows(r.Host) {
			http.Error(w, "the admin listener is not known by this Host; ask it by its address, or name it with --admin-host", http.StatusMisdirectedRequest)
			return
		}
		next(w, r)
	}
}

// probe is readiness for everybody: probes of a balancer may ask under any name, so
// only a Host that no stranger can own is told the reason, which names hosts and files.
func (s server) probe(w http.ResponseWriter, r *http.Request) {
	if s.knows(r.Host) {
		s.ready(w, r)
		return
	}
	s.readyOrNot(w, r)
}

// knows reports whether no stranger on the internet can own a host name: it is an
// address, has no dot, is this machine's, or is one of the operator's.
func (s server) knows(host string) bool {
	name := hostOf(host)
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	if name != "" && !strings.Contains(name, ".") || strings.HasSuffix(name, ".localhost") {
		return true
	}
	own, err := os.Hostname()
	return err == nil && strings.EqualFold(own, name) || slices.ContainsFunc(s.Hosts, func(h string) bool { return strings.EqualFold(h, name) })
}

// hostOf is a Host header's name, without port, brackets and the dot of the root,
// in lower case.
func hostOf(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// brief lets a request for a profile through that takes no longer than
// maxProfileSeconds.
func brief(profile http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if text := r.FormValue("seconds"); text != "" {
			if n, err := strconv.Atoi(text); err != nil || n < 1 || n > maxProfileSeconds {
				http.Error(w, "seconds is how long to look: a whole number from 1 to "+strconv.Itoa(maxProfileSeconds), http.StatusBadRequest)
				return
			}
		}
		profile(w, r)
	}
}
