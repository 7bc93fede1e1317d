package admin_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/admin"
	"github.com/aegis-proxy/aegis-proxy/budget"
)

// TestHostsThatAStrangerCouldOwnAreNotAnswered: a web page whose name resolves to
// the listener reads nothing, and probes are answered under any name.
func TestHostsThatAStrangerCouldOwnAreNotAnswered(t *testing.T) {
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	s := newSide(t)
	config := s.config()
	config.Hosts = []string{"Aegis.internal"}
	h := admin.Handler(config)
	for _, row := range []struct {
		host   string
		status int
	}{
		{"127.0.0.1:8081", 200},
		{"[::1]:8081", 200},
		{"[::1]", 200},
		{"10.1.2.3", 200},
		{"localhost", 200},
		{"LOCALHOST:8081", 200},
		{"localhost.:8081", 200},
		{"a.localhost:8081", 200},
		{"replica-1:8081", 200},
		{own, 200},
		{"aegis.internal:8081", 200},
		{"AEGIS.INTERNAL.", 200},
		{"evil.example:8081", 421},
		{"127.0.0.1.evil.example", 421},
		{"localhost.evil.example:8081", 421},
		{"aegis.internal.evil.example", 421},
		{"evilaegis.internal", 421},
		{"", 421},
	} {
		for _, path := range []string{"/metrics", "/admin/v1/budgets?tenant=acme", "/admin/v1/switches?tenant=acme", "/debug/pprof/"} {
			if got := askAs(h, row.host, path); got != row.status {
				t.Errorf("%s under Host %q: %d, want %d", path, row.host, got, row.status)
			}
		}
		for _, path := range []string{"/healthz", "/readyz"} {
			if got := askAs(h, row.host, path); got != 200 {
				t.Errorf("%s under Host %q: %d", path, row.host, got)
			}
		}
	}
}

// TestReasonIsNotToldToStrangers: a probe is answered under any name, and the hosts
// and files in the reason are not read by a page whose name resolves here.
func TestReasonIsNotToldToStrangers(t *testing.T) {
	s := newSide(t)
	for _, down := range []struct {
		err      error
		stranger string
	}{
		{errors.New("redis.internal:6379: refused"), "not ready\n"},
		{fmt.Errorf("%w: redis.internal:6379: refused", budget.ErrPartly), "ready\n"},
	} {
		s.ledgerErr = down.err
		h := admin.Handler(s.config())
		for host, told := range map[string]bool{"10.1.2.3:8081": true, "aegis-proxy:8081": true, "localhost": true, "evil.example:8081": false, "": false} {
			recorder := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, "/readyz", nil)
			r.Host = host
			h.ServeHTTP(recorder, r)
			body := recorder.Body.String()
			if told != strings.Contains(body, "redis.internal") || !told && body != down.stranger {
				t.Errorf("%v under Host %q: %q", down.err, host, body)
			}
		}
	}
}

func askAs(h http.Handler, host, path string) int {
	recorder := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = host
	h.ServeHTTP(recorder, r)
	return recorder.Code
}

// TestProfilesAreBounded: nobody keeps others from a profile for long.
func TestProfilesAreBounded(t *testing.T) {
	h := admin.Handler(newSide(t).config())
	for _, seconds := range []string{"0", "-1", "61", "1e9", "x", "99999999999999999999"} {
		for _, profile := range []string{"profile", "heap", "goroutine"} {
			if got := askAs(h, "localhost", "/debug/pprof/"+profile+"?seconds="+seconds); got != http.StatusBadRequest {
				t.Errorf("%s of %s seconds: %d", profile, seconds, got)
			}
		}
	}
	if got := askAs(h, "localhost", "/debug/pprof/heap"); got != 200 {
		t.Errorf("a profile without seconds: %d", got)
	}
}
