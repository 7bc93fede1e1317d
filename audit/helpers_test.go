package audit_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Keys for tests only: they sign nothing outside this package.
const (
	testHMACKey    = "hmac-sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
	testEd25519Key = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f
-----END PRIVATE KEY-----
`
	otherEd25519Key = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEICAhIiMkJSYnKCkqKywtLi8wMTIzNDU2Nzg5Ojs8PT4/
-----END PRIVATE KEY-----
`
)

func signer(t testing.TB, text string) audit.Signer {
	t.Helper()
	s, err := audit.ParseSigner([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func testConfig(t testing.TB, dir string) audit.Config {
	return audit.Config{
		Dir: dir, Signer: signer(t, testHMACKey), Software: "aegis-proxy test",
		Now: func() time.Time { return time.UnixMilli(1_700_000_000_000) },
	}
}

func open(t testing.TB, cfg audit.Config) *audit.Log {
	t.Helper()
	log, err := audit.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return log
}

func appendAll(t testing.TB, log *audit.Log, bodies ...audit.Body) []audit.Ref {
	t.Helper()
	refs := make([]audit.Ref, len(bodies))
	for i, b := range bodies {
		ref, err := log.Append(context.Background(), b)
		if err != nil {
			t.Fatal(err)
		}
		refs[i] = ref
	}
	return refs
}

// verifyPaths verifies files or directories with every test key.
func verifyPaths(t testing.TB, paths []string, checkpoints ...audit.Checkpoint) audit.Report {
	t.Helper()
	sources, err := audit.Files(paths...)
	if err != nil {
		t.Fatal(err)
	}
	var prefixes []*audit.Prefix
	for _, path := range paths {
		prefixes = append(prefixes, audit.OpenPrefix(path))
	}
	return verifyWith(t, sources, audit.VerifyOptions{Checkpoints: checkpoints, Prefixes: prefixes})
}

func verifyLines(t testing.TB, lines []string, checkpoints ...audit.Checkpoint) audit.Report {
	t.Helper()
	text := strings.Join(lines, "\n") + "\n"
	if len(lines) == 0 {
		text = ""
	}
	return verify(t, []audit.Source{audit.Stream("log", strings.NewReader(text))}, checkpoints...)
}

func verify(t testing.TB, sources []audit.Source, checkpoints ...audit.Checkpoint) audit.Report {
	t.Helper()
	return verifyWith(t, sources, audit.VerifyOptions{Checkpoints: checkpoints})
}

func verifyWith(t testing.TB, sources []audit.Source, opts audit.VerifyOptions) audit.Report {
	t.Helper()
	opts.Keys = testKeys(t)
	report, err := audit.Verify(context.Background(), sources, opts)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func testKeys(t testing.TB) audit.Keys {
	return audit.NewKeys(signer(t, testHMACKey).Key(), signer(t, testEd25519Key).Key())
}

func mustBeSound(t testing.TB, r audit.Report) {
	t.Helper()
	for _, f := range r.Findings {
		t.Errorf("finding in a sound log: %v", f)
	}
}

// copyDir copies a log as it is, as if its process had died now.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

func readFile(t testing.TB, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func countLines(data []byte) int { return bytes.Count(data, []byte{'\n'}) }

// decision, settlement and event are full bodies: every field is set.
func decision(event int64) audit.Decision {
	return audit.Decision{
		At: 1_700_000_000_123, Verdict: audit.Allow,
		Facts: call.Facts{
			Tenant: "acme", Key: "team-a", Run: "r:5f2c", User: "u:91aa", Dialect: "openai", Endpoint: "chat.completions",
			Upstream: "openai", Model: "gpt-5-mini", Stream: true, InputTokens: 812, InputBound: "bytes",
			OutputTokens: 4096, OutputCap: 2048, Choices: 2, Cost: 9_007_199_254_740_993,
		},
		Claims: []audit.Claim{
			{
				Rule: "daily", Key: "usd/tenant/day", Amount: 8_395_000, Limit: 25_000_000_000, AtEnd: "adjust",
				Window: "fixed", Start: 1_699_920_000_000, End: 1_700_006_400_000, Spent: 1_234, Held: 5_678,
			},
			{
				Rule: "runs", Key: "n/run/r:5f2c", Amount: 1, Limit: 100, AtEnd: "keep", Window: "idle",
				LengthMS: 2_592_000_000, Group: "runs", GroupMax: 10_000, Reason: "held",
			},
		},
		Reasons: []string{"exhausted", "model"},
		Lease:   fmt.Sprintf("lease-%d", event), Expires: 1_700_000_060_123, Epoch: "e1", Event: event,
		Policy: strings.Repeat("ab", 32), Generation: 7, Prices: strings.Repeat("cd", 32),
	}
}

func settlement(event int64) audit.Settlement {
	return audit.Settlement{
		At: 1_700_000_001_000, Tenant: "acme", Lease: fmt.Sprintf("lease-%d", event-1), Decision: "x-1",
		Outcome: "settle", Status: 200, Basis: audit.BasisReported, Lines: []call.Line{{Billed: 1000, Key: call.Key{Model: "gpt-5-mini-2026", Service: "priority", Region: "us", Variant: "720p"},
			Usage: call.Usage{call.Input: 647, call.CachedInput: 100, call.CacheWrite: 50, call.AudioInput: 3, call.Output: 53, call.Reasoning: 60, call.AudioOutput: 7}}},
		Hold: 8_395_000, Charge: 9_000_000, Overrun: 605_000, Epoch: "e1", Event: event, Prices: strings.Repeat("cd", 32),
	}
}

func expiry(event int64) audit.Event {
	return audit.Event{
		At: 1_700_000_002_000, Tenant: "acme", Event: event, Epoch: "e1", Name: "expire", Lease: "lease-1",
		Amount: 8_395_000, Expires: 1_700_000_002_000, Claims: decision(event).Claims, Generation: 7,
		Policy: strings.Repeat("ab", 32), Recovered: true,
	}
}
