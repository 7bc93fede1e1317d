package proxy_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/proxy"
)

// TestUpstreamThatFailsIsTriedLast: after three failures in a row a request goes to the fallback at once, which is
// then the first of its decisions.
func TestUpstreamThatFailsIsTriedLast(t *testing.T) {
	for _, row := range []struct {
		status int
		want   []string // upstreams of the decisions of five requests
	}{
		{http.StatusServiceUnavailable, []string{"up1", "up2", "up1", "up2", "up1", "up2", "up2", "up2"}},
		{http.StatusTooManyRequests, []string{"up1", "up2", "up1", "up2", "up1", "up2", "up2", "up2"}},
		{http.StatusInternalServerError, []string{"up1", "up2", "up1", "up2", "up1", "up2", "up1", "up2", "up1", "up2"}},
	} {
		t.Run(fmt.Sprint(row.status), func(t *testing.T) {
			bad := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(row.status)
				fmt.Fprint(w, `{"error":{"message":"no"}}`)
			})
			w := newWorld(t, setting{upstreams: []http.Handler{bad, simulator.New(simulator.Config{})}})
			for range 5 {
				if a := w.post(chatPath, hello); a.status != 200 {
					t.Fatalf("%d %s", a.status, a.body)
				}
			}
			var got []string
			for _, d := range read[audit.Decision](w) {
				got = append(got, d.Facts.Upstream)
			}
			if fmt.Sprint(got) != fmt.Sprint(row.want) {
				t.Errorf("asked leave for %v, want %v", got, row.want)
			}
		})
	}
}

// An upstream is tried last until it has had time to recover, and is well again with its first answer.
func TestHealth(t *testing.T) {
	now := time.Now()
	h := proxy.NewHealth(func() time.Time { return now })
	for i := range 3 {
		if h.Cools("a") {
			t.Fatalf("it is last after %d failures", i)
		}
		h.Failed("a")
	}
	if !h.Cools("a") || h.Cools("b") {
		t.Error("it is not last, or another one is")
	}
	now = now.Add(proxy.CoolFor)
	if h.Cools("a") {
		t.Error("it is last for ever")
	}
	if h.Failed("a"); !h.Cools("a") {
		t.Error("it failed again, and is not last")
	}
	if h.Answered("a"); h.Cools("a") {
		t.Error("it has answered, and is last")
	}
}
