package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
)

// TestLedgerOverTLS goes through everything that is done to a shared ledger, over TLS
// with a client certificate and as a user who may do what the docs say and no more.
func TestLedgerOverTLS(t *testing.T) {
	docs, err := os.ReadFile("../../docs/ledger.md")
	if err != nil {
		t.Fatal(err)
	}
	rule := regexp.MustCompile(`(?m)^ACL SETUSER aegis on .*$`).FindString(strings.ReplaceAll(string(docs), "\\\n", ""))
	authority := redistest.NewAuthority(t)
	server := redistest.Start(t, redistest.TLS(authority))
	server.Command(rule)
	dir := t.TempDir()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }))
	t.Cleanup(upstream.Close)
	c := stackConfig{PolicyPath: filepath.Join(dir, "policy.yaml"), DataDir: dir, Logger: slog.New(slog.DiscardHandler)}
	c.LedgerURL = strings.Replace(server.URL(), "://", "://aegis:SECRET@", 1)
	if err := os.WriteFile(c.PolicyPath, fmt.Appendf(nil, fleetPolicy, upstream.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeSigner(dir, audit.AlgEd25519); err != nil {
		t.Fatal(err)
	}
	c.LedgerTLS.CA = authority.CA()
	c.LedgerTLS.Cert, c.LedgerTLS.Key = authority.Issue("proxy")
	shared := []string{"--ledger", c.LedgerURL, "--ledger-ca", c.LedgerTLS.CA, "--ledger-cert", c.LedgerTLS.Cert, "--ledger-key", c.LedgerTLS.Key}
	command := func(want int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if code := run(t.Context(), args, &out, &out); code != want {
			t.Fatalf("%v: %d %s", args, code, &out)
		}
		return out.String()
	}
	ledger := []string{"ledger", "provision", "--policy", c.PolicyPath}
	if out := command(1, append(ledger, "--ledger", c.LedgerURL)...); !strings.Contains(out, "x509") {
		t.Errorf("without --ledger-ca: %s", out)
	}
	if out := command(1, append(ledger, shared[:6]...)...); !strings.Contains(out, "--ledger-key") {
		t.Errorf("without --ledger-key: %s", out)
	}
	command(0, append(ledger, shared...)...)

	r := startReplica(t, c)
	if status := r.status(t); status != http.StatusBadRequest {
		t.Errorf("a request came to %d, not to its upstream", status)
	}
	r.kill(t, "--global")
	r.kill(t, "lift", "--global")
	if out := command(0, "budgets", "acme", "--admin", r.admin.URL); !strings.Contains(out, "total") {
		t.Errorf("budgets: %s", out)
	}
	if answer, err := http.Get(r.admin.URL + "/readyz"); err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("/readyz: %v, %v", answer, err)
	}
	if err := r.stack.close(); err != nil {
		t.Fatal(err)
	}
	server.WipeData()
	server.Restart()
	server.Command(rule)
	command(0, append([]string{"ledger", "rebuild", "--data", dir}, shared...)...)
	if log := server.Ask("ACL LOG"); log != "*0" {
		t.Errorf("refused to the user: %s", log)
	}
}
