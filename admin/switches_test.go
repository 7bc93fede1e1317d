package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/admin"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

const switchPath = "/admin/v1/switches"

// order sends an order with headers in pairs.
func order(c admin.Config, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "http://localhost"+switchPath, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	recorder := httptest.NewRecorder()
	admin.Handler(c).ServeHTTP(recorder, r)
	return recorder
}

func (s *side) carriedOut(body string) admin.SwitchResult {
	s.t.Helper()
	a := order(s.config(), body)
	var result admin.SwitchResult
	if err := json.Unmarshal(a.Body.Bytes(), &result); a.Code != 200 || err != nil || !result.Done {
		s.t.Fatalf("%s: %d %s", body, a.Code, a.Body)
	}
	return result
}

// thrown lists the switches of a tenant as the API shows them.
func (s *side) thrown(tenant string) []string {
	s.t.Helper()
	a := get(admin.Handler(s.config()), switchPath+"?tenant="+tenant)
	var list admin.Switches
	if err := json.Unmarshal(a.Body.Bytes(), &list); a.Code != 200 || err != nil || list.Tenant != tenant {
		s.t.Fatalf("%s: %d %s", tenant, a.Code, a.Body)
	}
	names := []string{}
	for _, w := range list.Switches {
		if w.Event == 0 || w.At != "2026-09-01T12:30:00Z" {
			s.t.Errorf("%+v", w)
		}
		names = append(names, w.Switch)
	}
	return names
}

// TestSwitches throws and lifts a switch of every scope.
func TestSwitches(t *testing.T) {
	s := newSide(t)
	for _, row := range []struct{ order, name string }{
		{`"scope":"tenant","tenant":"acme"`, "tenant"},
		{`"scope":"key","tenant":"acme","key":"one"`, "key:one"},
		{`"scope":"run","tenant":"acme","run":"r1"`, policy.RunSwitch("r1")},
		{`"scope":"global","reason":"the bill"`, "global"},
	} {
		first := s.carriedOut(`{"action":"throw",` + row.order + `}`)
		again := s.carriedOut(`{"action":"throw",` + row.order + `}`)
		if first.Switch != row.name || again.Event != first.Event || again.Tenants != first.Tenants {
			t.Errorf("%s: %+v, then %+v", row.order, first, again)
		}
		if got := s.thrown("acme"); !slices.Equal(got, []string{row.name}) {
			t.Errorf("%s: thrown are %q", row.order, got)
		}
		lifted := s.carriedOut(`{"action":"lift",` + row.order + `}`)
		if got := s.thrown("acme"); len(got) > 0 || lifted.Tenants != first.Tenants {
			t.Errorf("%s: thrown are %q after %+v", row.order, got, lifted)
		}
	}
	if want := []string{"*", "acme", "quiet"}; !slices.Equal(s.receipted(), want) {
		t.Errorf("receipts were asked for of %q, want %q", s.receipted(), want)
	}
}

// receipted are the tenants whose receipts were asked for.
func (s *side) receipted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.receipts)
	return slices.Compact(s.receipts)
}

// TestGlobalSwitch: it is at every tenant and at those to come, and done only
// when all have it.
func TestGlobalSwitch(t *testing.T) {
	s := newSide(t)
	if result := s.carriedOut(`{"action":"throw","scope":"global"}`); result.Tenants != 2 || result.Event != 0 {
		t.Errorf("%+v", result)
	}
	for _, tenant := range []string{"acme", "quiet", "*"} {
		if got := s.thrown(tenant); !slices.Equal(got, []string{"global"}) {
			t.Errorf("%s: %q", tenant, got)
		}
	}
	s.carriedOut(`{"action":"lift","scope":"global"}`)

	s.missing = "quiet"
	a := order(s.config(), `{"action":"throw","scope":"global"}`)
	var result admin.SwitchResult
	if err := json.Unmarshal(a.Body.Bytes(), &result); err != nil || a.Code != 503 || result.Done || result.Tenants != 1 || result.Failing != 1 {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	if len(result.Failed) != 1 || result.Failed[0].Tenant != "quiet" || !strings.Contains(result.Failed[0].Error, "no record") {
		t.Errorf("failed: %+v", result.Failed)
	}
	if got := s.thrown("acme"); !slices.Equal(got, []string{"global"}) {
		t.Errorf("acme: %q", got)
	}
}

// TestGlobalSwitchIsNotHalfLifted: while tenants to come are stopped, those that
// exist stay so.
func TestGlobalSwitchIsNotHalfLifted(t *testing.T) {
	s := newSide(t)
	s.carriedOut(`{"action":"throw","scope":"global"}`)
	s.missing = budget.EveryTenant
	if a := order(s.config(), `{"action":"lift","scope":"global"}`); a.Code != 503 || !strings.Contains(a.Body.String(), `"done":false,"tenants":0`) {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	if got := s.thrown("acme"); !slices.Equal(got, []string{"global"}) {
		t.Errorf("acme: %q", got)
	}
}

// TestGlobalLiftYieldsToAThrow: what was thrown for all since the lift began is
// not taken back, and the answer says so.
func TestGlobalLiftYieldsToAThrow(t *testing.T) {
	s := newSide(t)
	s.carriedOut(`{"action":"throw","scope":"global"}`)
	c := s.config()
	c.Receipt = func(ctx context.Context, tenant string) error {
		if tenant == budget.EveryTenant { // is lifted by now; the others come next
			s.throwEverywhere("acme")
		}
		return nil
	}
	a := order(c, `{"action":"lift","scope":"global"}`)
	if a.Code != 503 || !strings.Contains(a.Body.String(), "thrown again meanwhile") {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	for _, tenant := range []string{"acme", "quiet", "*"} {
		if got := s.thrown(tenant); !slices.Equal(got, []string{"global"}) {
			t.Errorf("%s: %q", tenant, got)
		}
	}
}

// throwEverywhere throws the global switch as another replica would, whose
// policy has these tenants.
func (s *side) throwEverywhere(tenants ...string) {
	for _, tenant := range append([]string{budget.EveryTenant}, tenants...) {
		if _, err := s.ledger.Throw(s.t.Context(), tenant, budget.GlobalSwitch); err != nil {
			s.t.Error(err)
		}
	}
}

// TestBadOrders are refused whole.
func TestBadOrders(t *testing.T) {
	s := newSide(t)
	for body, status := range map[string]int{
		``:                   400,
		`[]`:                 400,
		`{"action":"throw"}`: 400,
		`{"scope":"global"}`: 400,
		`{"action":"toggle","scope":"tenant","tenant":"acme"}`:                                            400,
		`{"action":"throw","scope":"tenant"}`:                                                             400,
		`{"action":"throw","scope":"tenant","tenant":"acme","key":"one"}`:                                 400,
		`{"action":"throw","scope":"global","tenant":"acme"}`:                                             400,
		`{"action":"throw","scope":"run","tenant":"acme"}`:                                                400,
		`{"action":"throw","scope":"tenant","tenant":"acme","extra":1}`:                                   400,
		`{"action":"throw","scope":"tenant","tenant":"acme"} {}`:                                          400,
		`{"action":"throw","scope":"tenant","tenant":"acme","reason":"` + strings.Repeat("x", 513) + `"}`: 400,
		`{"action":"throw","scope":"tenant","tenant":"` + strings.Repeat("x", 9<<10) + `"}`:               400,
		`{"action":"throw","scope":"tenant","tenant":"nobody"}`:                                           404,
		`{"action":"throw","scope":"tenant","tenant":"*"}`:                                                404,
		`{"action":"throw","scope":"key","tenant":"quiet","key":"one"}`:                                   404,
	} {
		if a := order(s.config(), body); a.Code != status {
			t.Errorf("%.80s: %d %s, want %d", body, a.Code, a.Body, status)
		}
	}
	if got := s.thrown("acme"); len(got) > 0 {
		t.Errorf("thrown: %q", got)
	}
	s.carriedOut(`{"action":"lift","scope":"key","tenant":"acme","key":"gone-from-the-policy"}`)
	for query, status := range map[string]int{"": 404, "?tenant=nobody": 404, "?tenant=*": 503} {
		if a := get(admin.Handler(s.config()), switchPath+query); a.Code != status {
			t.Errorf("list%s: %d, want %d", query, a.Code, status)
		}
	}
}

// TestChangesAreGuarded: a page in the operator's browser changes nothing, nor
// does a stranger where the listener is in reach of one.
func TestChangesAreGuarded(t *testing.T) {
	const body, token = `{"action":"throw","scope":"tenant","tenant":"acme"}`, "correct-horse"
	for _, row := range []struct {
		name     string
		token    string
		loopback bool
		headers  []string
		status   int
	}{
		{"loopback", "", true, nil, 200},
		{"loopback, JSON with a charset", "", true, []string{"Content-Type", "application/json; charset=utf-8"}, 200},
		{"a page's form", "", true, []string{"Content-Type", "text/plain"}, 415},
		{"no type", "", true, []string{"Content-Type", ""}, 415},
		{"a page's script", "", true, []string{"Origin", "https://evil.example"}, 403},
		{"a page without an origin", "", true, []string{"Origin", "null"}, 403},
		{"in reach, without a token", "", false, nil, 403},
		{"in reach, a token of the caller's own", "", false, []string{"Authorization", "Bearer x"}, 403},
		{"in reach, no token sent", token, false, nil, 401},
		{"in reach, a wrong token", token, false, []string{"Authorization", "Bearer wrong"}, 401},
		{"in reach, another scheme", token, false, []string{"Authorization", "Basic " + token}, 401},
		{"in reach, the token", token, false, []string{"Authorization", "Bearer " + token}, 200},
		{"in reach, the token, from a page", token, false, []string{"Authorization", "Bearer " + token, "Origin", "null"}, 403},
		{"loopback with a token, none sent", token, true, nil, 401},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSide(t)
			c := s.config()
			c.Token, c.Loopback = row.token, row.loopback
			a := order(c, body, row.headers...)
			if a.Code != row.status || strings.Contains(a.Body.String(), token) {
				t.Errorf("%d %s, want %d", a.Code, a.Body, row.status)
			}
			if thrown := len(s.thrown("acme")) > 0; thrown != (row.status == 200) {
				t.Errorf("thrown: %v", thrown)
			}
		})
	}
}

// TestSwitchWithoutReceipt: a log that cannot be written now does not keep a
// switch from being thrown.
func TestSwitchWithoutReceipt(t *testing.T) {
	s := newSide(t)
	s.logErr = errors.New("disk full")
	s.carriedOut(`{"action":"throw","scope":"tenant","tenant":"acme"}`)
	if got := s.thrown("acme"); !slices.Equal(got, []string{"tenant"}) {
		t.Errorf("thrown: %q", got)
	}
}
