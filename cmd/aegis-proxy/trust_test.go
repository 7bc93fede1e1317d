package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
)

// TestAuthorizationOfARotatedLog: receipts that an HMAC key sealed have none, and
// are read all the same by whoever has the secret. A repeated action has one where
// its grant's receipt is there and says the same.
func TestAuthorizationOfARotatedLog(t *testing.T) {
	t.Parallel()
	dir, old, next := t.TempDir(), t.TempDir(), t.TempDir()
	for path, alg := range map[string]string{old: audit.AlgHMAC, next: audit.AlgEd25519} {
		if err := writeSigner(path, alg); err != nil {
			t.Fatal(err)
		}
	}
	secret, key := loadSigner(t, old), loadSigner(t, next)
	granted := audit.Decision{
		At: 1_000, Verdict: audit.Allow, Lease: "act-" + strings.Repeat("0", 32), Expires: 60_000, Epoch: "e", Event: 3,
		Facts: call.Facts{Tenant: "acme", Key: "acme-1", Endpoint: "actions/payment", Target: call.Name(strings.Repeat("a", 32)), Cost: 5},
	}
	repeat, dearer, unknown := granted, granted, granted
	repeat.Existing, dearer.Existing, unknown.Existing = true, true, true
	dearer.Facts.Cost, unknown.Lease = 1_000_000_000_000, "act-"+strings.Repeat("1", 32)

	first := appendAll(t, audit.Config{Dir: dir, Signer: secret}, granted)
	second := appendAll(t, audit.Config{Dir: dir, Signer: key, Retiring: secret}, repeat, dearer, unknown)
	both := []string{"--keys", filepath.Join(next, keysFile), "--signing-key", filepath.Join(old, signingKeyFile), "--signing-key", filepath.Join(next, signingKeyFile)}
	for name, row := range map[string]struct {
		id      string
		flags   []string
		problem string // "": none
	}{
		"sealed with HMAC":     {first[0], both, "has no authorization: it is sealed with hmac-sha256"},
		"a repeat":             {second[0], both, ""},
		"without the secret":   {second[0], append(both[:2:2], both[4:]...), "unknown-key"},
		"without its own key":  {second[0], both[:4], "authorizations: the log is sealed with hmac-sha256"},
		"another amount":       {second[1], both, "is for another amount than its lease was granted for"},
		"a lease from nowhere": {second[2], both, "whose grant is in none of these files"},
	} {
		var out, problem bytes.Buffer
		status := run(t.Context(), append([]string{"authorization", row.id, dir}, row.flags...), &out, &problem)
		if (status == 0) != (row.problem == "") || !strings.Contains(problem.String(), row.problem) || (out.Len() > 0) != (row.problem == "") {
			t.Errorf("%s: %d %q %q", name, status, out.String(), problem.String())
		}
	}
}

func loadSigner(t *testing.T, dir string) audit.Signer {
	t.Helper()
	signer, err := audit.LoadSigner(filepath.Join(dir, signingKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// appendAll writes receipts to a log, and returns their ids.
func appendAll(t *testing.T, config audit.Config, bodies ...audit.Body) (ids []string) {
	t.Helper()
	config.Sync = audit.SyncNever
	log, err := audit.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range bodies {
		ref, err := log.Append(t.Context(), body)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, ref.ID)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return ids
}
