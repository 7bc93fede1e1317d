package admin_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/admin"
	"github.com/aegis-proxy/aegis-proxy/budget"
)

// askCounters sends a question for counters.
func askCounters(c admin.Config, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "http://localhost/admin/v1/counters", strings.NewReader(body))
	recorder := httptest.NewRecorder()
	admin.Handler(c).ServeHTTP(recorder, r)
	return recorder
}

// TestCounters: the answer is about the very counters that are asked for, in
// their order, and says which switches are thrown.
func TestCounters(t *testing.T) {
	s := newSide(t)
	at := noon.UnixMilli()
	hour, day := time.Hour.Milliseconds(), 24*time.Hour.Milliseconds()
	daily := budget.Window{Kind: budget.Fixed,
		Current: budget.Span{Start: at - hour, End: at + hour}, Next: budget.Span{Start: at + hour, End: at + hour + day}}
	claims := []budget.Claim{
		{Key: "nonce/n/0", Amount: 1, Limit: 1, AtEnd: budget.Keep, Window: budget.Window{Kind: budget.Idle, Length: time.Hour}, Group: "nonce", GroupMax: 9},
		{Key: "slots", Amount: 1, Limit: 2, AtEnd: budget.Return, Window: budget.Window{Kind: budget.Forever}},
		{Key: "usd/day", Amount: 70, Limit: 130, AtEnd: budget.Adjust, Window: daily},
		{Key: "requests/hour", Amount: 1, Limit: 9, AtEnd: budget.Keep, Window: budget.Window{Kind: budget.Rolling, Length: time.Hour}},
		{Key: "tool_calls", Limit: 9, AtEnd: budget.Keep, Window: budget.Window{Kind: budget.Forever}, Marks: []string{"a", "b"}},
	}
	s.settled("settled", 60, claims...)
	s.reserve("open", claims[1:]...)
	s.carriedOut(`{"action":"throw","scope":"tenant","tenant":"acme"}`)

	q := admin.CounterQuery{Tenant: "acme"}
	unused := budget.Claim{Key: "nonce/m/0", Window: claims[0].Window}
	claims[4].Marks = []string{"b", "c", "d"}
	for _, c := range append(claims, unused) {
		q.Counters = append(q.Counters, admin.CounterOf(c))
	}
	body, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	a := askCounters(s.config(), string(body))
	var got admin.Counters
	if err := json.Unmarshal(a.Body.Bytes(), &got); err != nil || a.Code != 200 {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	want := []admin.Read{{Spent: 1}, {Held: 1}, {Span: admin.Span(daily.Current), Spent: 60, Held: 70}, {Spent: 1, Held: 1}, {Spent: 2, New: 2}, {}}
	if !reflect.DeepEqual(got.Read, want) || got.At != at || got.Tenant != "acme" {
		t.Errorf("%+v, want %+v", got, want)
	}
	if len(got.Switches) != 1 || got.Switches[0].Switch != budget.TenantSwitch || got.Switches[0].Event == 0 {
		t.Errorf("switches %+v", got.Switches)
	}
}

// reserve takes a lease of the tenant acme.
func (s *side) reserve(lease string, claims ...budget.Claim) {
	s.t.Helper()
	r := budget.Reservation{Tenant: "acme", Lease: lease, Claims: claims, TTL: time.Minute, Policy: budget.PolicyVersion{Generation: 1, Hash: "aa"}}
	if _, err := s.ledger.Reserve(s.t.Context(), r); err != nil {
		s.t.Fatal(err)
	}
}

// settled takes a lease and settles it.
func (s *side) settled(lease string, cost int64, claims ...budget.Claim) {
	s.t.Helper()
	s.reserve(lease, claims...)
	if _, err := s.ledger.Settle(s.t.Context(), budget.LeaseRef{Tenant: "acme", Lease: lease}, budget.Actual{Cost: cost}); err != nil {
		s.t.Fatal(err)
	}
}

// TestBadCounterQueries are refused whole.
func TestBadCounterQueries(t *testing.T) {
	s := newSide(t)
	one := `{"key":"slots","window":"forever"}`
	most := one + strings.Repeat(","+one, budget.MaxClaims-1)
	for body, status := range map[string]int{
		`{"tenant":"acme","counters":[` + most + `]}`:             200,
		`{"tenant":"acme","counters":[` + most + `,` + one + `]}`: 400,
		`{"tenant":"acme"}`:           200,
		``:                            400,
		`{"tenant":"acme"} {}`:        400,
		`{"tenant":"acme","extra":1}`: 400,
		`{"tenant":"acme","counters":[{"key":"a b","window":"forever"}]}`:   400,
		`{"tenant":"acme","counters":[{"key":"a","window":"for a while"}]}`: 400,
		`{"tenant":"acme","counters":[{"key":"a","window":"idle"}]}`:        400,
		longAgo("acme"): 400,
		`{"tenant":"acme","counters":[{"key":"` + strings.Repeat("x", 257<<10) + `"}]}`: 400,
		`{"tenant":"nobody"}`: 404,
		`{"tenant":"*"}`:      404,
		`{}`:                  404,
	} {
		if a := askCounters(s.config(), body); a.Code != status {
			t.Errorf("%.80s: %d %s, want %d", body, a.Code, a.Body, status)
		}
	}
	s.ledgerErr = errors.New("ledger is away")
	if a := askCounters(s.config(), `{"tenant":"acme"}`); a.Code != 503 {
		t.Errorf("without a ledger: %d %s", a.Code, a.Body)
	}
}

// longAgo asks for a window that is over.
func longAgo(tenant string) string {
	return fmt.Sprintf(`{"tenant":%q,"counters":[{"key":"a","window":"fixed","current":{"start":1,"end":2},"next":{"start":2,"end":3}}]}`, tenant)
}
