package admin_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/admin"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

const guide = "../docs/admin.md"

var (
	example    = regexp.MustCompile("(?s)```http\n(.*?)```\n+```json\n(.*?)```")
	guidelines = regexp.MustCompile("(?s)```yaml\n(.*?)```")
	metric     = regexp.MustCompile(`(?m)^# TYPE (aegis_\w+) `)
)

// TestGuideShowsRealAnswers: each question in the guide, asked in its order, gets
// the answer that stands below it, member by member.
func TestGuideShowsRealAnswers(t *testing.T) {
	text := readGuide(t)
	h := admin.Handler(newGuideSide(t, text).config())
	examples := example.FindAllStringSubmatch(text, -1)
	for _, match := range examples {
		a := httptest.NewRecorder()
		h.ServeHTTP(a, requestOf(t, match[1]))
		if got, want := compact(t, a.Body.String()), compact(t, match[2]); a.Code != 200 || got != want {
			t.Errorf("%s%d\n%s\nthe guide has\n%s", match[1], a.Code, got, want)
		}
	}
	const shown = 4
	if len(examples) != shown {
		t.Errorf("%d examples, want %d", len(examples), shown)
	}
}

func readGuide(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// newGuideSide has the guide's policy, 3.10 USD spent and a request in flight
// that holds 0.25 USD, both of key app and run nightly.
func newGuideSide(t *testing.T, text string) *side {
	t.Helper()
	s := newSide(t)
	p, err := policy.Parse(guide, []byte(guidelines.FindStringSubmatch(text)[1]))
	if err != nil {
		t.Fatal(err)
	}
	s.policy = p
	s.take("done", 3_200_000_000)
	if _, err := s.ledger.Settle(t.Context(), budget.LeaseRef{Tenant: "acme", Lease: "done"}, budget.Actual{Cost: 3_100_000_000}); err != nil {
		t.Fatal(err)
	}
	s.take("open", 250_000_000)
	return s
}

// take reserves in every limit of the guide's tenant; hold is nano-USD.
func (s *side) take(lease string, hold int64) {
	s.t.Helper()
	scope := policy.Scope{Key: "app", Run: "nightly"}
	tenant := s.policy.Tenant("acme")
	claims := policy.ClaimsOf(append(tenant.Standings(scope, noon), tenant.Counts(scope, noon)...))
	for i := range claims {
		if claims[i].AtEnd == budget.Adjust {
			claims[i].Amount = hold
		}
	}
	_, err := s.ledger.Reserve(s.t.Context(), budget.Reservation{
		Tenant: "acme", Lease: lease, Claims: claims, Policy: s.policy.Version, TTL: time.Minute,
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// requestOf is a request as the guide writes it: a line, and a body behind an
// empty one.
func requestOf(t *testing.T, text string) *http.Request {
	t.Helper()
	line, body, _ := strings.Cut(text, "\n\n")
	method, path, ok := strings.Cut(strings.TrimSpace(line), " ")
	if !ok {
		t.Fatalf("not a request: %q", text)
	}
	r := httptest.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

func compact(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(text)); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return b.String()
}

// TestGuideNamesEveryMetric that is ours.
func TestGuideNamesEveryMetric(t *testing.T) {
	s := newSide(t)
	m := s.metrics
	m.Tenants(s.policy.Tenants)
	m.Decided("acme", "allow", "")
	m.Held("acme", 1, 1)
	m.Charged("acme", "", 1, call.Usage{call.Input: 1, call.Output: 1})
	m.Ledger("reserve", time.Millisecond)
	text := readGuide(t)
	names := metric.FindAllStringSubmatch(s.metricsText(), -1)
	for _, match := range names {
		if !strings.Contains(text, "`"+match[1]+"`") {
			t.Errorf("%s does not name %s", guide, match[1])
		}
	}
	const ours = 9
	if len(names) != ours {
		t.Errorf("%d metrics, want %d", len(names), ours)
	}
}
