package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
)

// fleetPolicy has room for an upstream's URL. The key is "aegis-script-test-key".
const fleetPolicy = `generation: 1
upstreams:
  - {name: up, base_url: "%s/v1", provider: openai, cap_field: max_completion_tokens}
models:
  - {match: "*", upstreams: [up]}
tenants:
  - name: acme
    on_kill: cut
    on_disconnect: cancel
    keys: [{id: acme-1, sha256: "d09623623d80eedc090c10e98d38736eb4efa3e6a00063ccfd6cc257c884c63c"}]
    budgets: [{name: total, window: forever, limit_usd: "1"}]
`

// replica is one proxy of a fleet, with both of its listeners.
type replica struct {
	dir          string
	stack        *stack
	front, admin *httptest.Server
}

// newFleet starts replicas with one Redis and one upstream.
func newFleet(t *testing.T, n int, upstream http.Handler) []*replica {
	up := httptest.NewServer(upstream)
	t.Cleanup(up.Close)
	server := redistest.Start(t)
	var fleet []*replica
	for range n {
		dir := t.TempDir()
		c := stackConfig{PolicyPath: filepath.Join(dir, "policy.yaml"), DataDir: dir, LedgerURL: server.URL(),
			Logger: slog.New(slog.DiscardHandler)}
		if err := os.WriteFile(c.PolicyPath, fmt.Appendf(nil, fleetPolicy, up.URL), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := writeSigner(dir, audit.AlgEd25519); err != nil {
			t.Fatal(err)
		}
		if err := provision(t.Context(), io.Discard, c); err != nil {
			t.Fatal(err)
		}
		fleet = append(fleet, startReplica(t, c))
	}
	return fleet
}

func startReplica(t *testing.T, c stackConfig) *replica {
	s, err := openStack(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	loopback := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}
	r := &replica{c.DataDir, s, httptest.NewServer(s.front()), httptest.NewServer(s.operators(serveConfig{}, loopback))}
	t.Cleanup(func() {
		r.front.Close()
		r.admin.Close()
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// ask returns the status of a stream's head and its body's reader.
func (r *replica) ask(t *testing.T) (int, io.ReadCloser) {
	req, err := http.NewRequest(http.MethodPost, r.front.URL+"/v1/chat/completions",
		strings.NewReader(`{"model": "gpt-4o-mini", "stream": true, "max_completion_tokens": 20, "messages": [{"role": "user", "content": "hi"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer aegis-script-test-key")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Body
}

// status is ask for a request that ends at once.
func (r *replica) status(t *testing.T) int {
	status, body := r.ask(t)
	body.Close()
	return status
}

func (r *replica) kill(t *testing.T, args ...string) {
	t.Helper()
	var out bytes.Buffer
	if code := run(t.Context(), append(append([]string{"kill"}, args...), "--admin", r.admin.URL), &out, &out); code != 0 {
		t.Fatalf("kill %v: %s", args, &out)
	}
}

// TestKillBindsTheFleet: a switch thrown at one replica stops the next request
// at another and cuts the stream that it has in flight. Lifted at a third, it
// stops nothing.
func TestKillBindsTheFleet(t *testing.T) {
	endless := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, `data: {"choices":[{"delta":{"content":"one"}}]}`+"\n\n")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	fleet := newFleet(t, 3, http.HandlerFunc(endless))
	for _, scope := range [][]string{
		{"--tenant", "acme"}, {"--tenant", "acme", "--key", "acme-1"}, {"--global"},
	} {
		status, body := fleet[1].ask(t)
		if status != http.StatusOK {
			t.Fatalf("%v: status %d before", scope, status)
		}
		fleet[0].kill(t, scope...)
		if status := fleet[1].status(t); status != http.StatusForbidden {
			t.Errorf("%v: status %d at the next request", scope, status)
		}
		if _, err := io.ReadAll(body); err == nil {
			t.Errorf("%v: the stream in flight has ended as if whole", scope)
		}
		body.Close()
		fleet[2].kill(t, append([]string{"lift"}, scope...)...)
		if status := fleet[0].status(t); status != http.StatusOK {
			t.Errorf("%v: status %d once lifted", scope, status)
		}
	}
}
