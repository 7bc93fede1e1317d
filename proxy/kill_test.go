package proxy_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

func (w *world) throw(name string) {
	w.t.Helper()
	if _, err := w.ledger.Throw(context.Background(), "acme", name); err != nil {
		w.t.Fatal(err)
	}
}

// TestKilledRequest: a request that a kill switch stops is told so, in words
// and by a code that no SDK retries, and nothing is sent.
func TestKilledRequest(t *testing.T) {
	w := newWorld(t, setting{upstreams: []http.Handler{raw(nil)}})
	w.throw(policy.RunSwitch("r1"))
	a := w.post("/run/r1"+chatPath, hello)
	if a.status != 403 || a.code() != "kill_switch" || a.header.Get("X-Should-Retry") != "false" ||
		a.header.Get("X-Aegis-Decision") != "deny" || a.header.Get("X-Aegis-Receipt") == "" || a.header.Get("Retry-After") != "" {
		t.Errorf("%+v", a)
	}
	if want := "aegis: requests are stopped by an operator's kill switch (run)"; !strings.Contains(a.body, want) {
		t.Errorf("body is %s, want %q in it", a.body, want)
	}
	w.nothingReserved()
}

// TestKillInFlight is a kill switch thrown at a request in flight, by what the
// policy says of it. The answer costs 53.
func TestKillInFlight(t *testing.T) {
	const cuts = "\non_kill: cut"
	for _, row := range []struct {
		name, tenant, upstream string
		begun                  bool // the stream, when the switch is thrown
		basis                  string
	}{
		{"finished", "", "", true, audit.BasisReported},
		{"finished, the answer not yet begun", "", "", false, audit.BasisReported},
		{"cut", cuts, "", true, audit.BasisUnknown},
		{"cut where that stops billing", cuts, ", cancel_stops_billing: true", true, audit.BasisFloor},
		{"cut before the answer began", cuts, ", cancel_stops_billing: true", false, audit.BasisUnknown},
	} {
		t.Run(row.name, func(t *testing.T) {
			arrived, goOn := make(chan struct{}), make(chan struct{})
			finishes := row.tenant == ""
			up := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if row.begun {
					w.Header().Set("Content-Type", "text/event-stream")
					io.WriteString(w, `data: {"choices":[{"delta":{"content":"one"}}]}`+"\n\n")
					http.NewResponseController(w).Flush()
				}
				close(arrived)
				if !finishes {
					<-r.Context().Done()
					return
				}
				<-goOn
				w.Header().Set("Content-Type", "text/event-stream")
				io.WriteString(w, `data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":25}}`+"\n\ndata: [DONE]\n\n")
			})
			w := newWorld(t, setting{upstreams: []http.Handler{up}, tenant: ampleBudget + row.tenant, upstream: row.upstream})
			answers, begun := make(chan answer, 1), make(chan struct{})
			go func() { answers <- w.doTelling(request(context.Background(), w.front.URL+chatPath, stream), begun) }()
			<-arrived
			if row.begun {
				<-begun
			}
			w.throw(policy.KeySwitch("another"))
			w.gate.CutKilled(t.Context())
			w.throw(policy.KeySwitch("acme-1"))
			w.gate.CutKilled(t.Context())
			close(goOn)
			a := <-answers
			checkKilled(t, a, finishes, row.begun)
			// Where the upstream stops billing nobody waits for the client, which is told if the upstream ends in time.
			told, either := strings.Contains(a.body, "kill_switch"), row.basis == audit.BasisFloor
			if want := !finishes; told != want && !either {
				t.Errorf("told why: %v, in %q", told, a.body)
			}
			s := w.settled(1)[0]
			want := map[string]int64{audit.BasisReported: 53, audit.BasisUnknown: s.Hold, audit.BasisFloor: s.Hold - 20*2 + 3*2}[row.basis]
			if s.Basis != row.basis || s.Charge != want {
				t.Errorf("settled %+v, want basis %s and charge %d", s, row.basis, want)
			}
			if a := w.post(chatPath, hello); a.code() != "kill_switch" {
				t.Errorf("the next request got %+v", a)
			}
		})
	}
}

// doTelling sends a request and tells when the first byte of its answer is there.
func (w *world) doTelling(r *http.Request, begun chan<- struct{}) answer {
	resp, err := w.client.Do(r)
	if err != nil {
		close(begun)
		return answer{err: err}
	}
	defer resp.Body.Close()
	body := bufio.NewReader(resp.Body)
	_, _ = body.Peek(1)
	close(begun)
	text, err := io.ReadAll(body)
	return answer{resp.StatusCode, resp.Header, string(text), err}
}

// checkKilled holds what the client got against what was to become of it.
func checkKilled(t *testing.T, a answer, finishes, begun bool) {
	t.Helper()
	last := ""
	for lines := bufio.NewScanner(strings.NewReader(a.body)); lines.Scan(); {
		if lines.Text() != "" {
			last = lines.Text()
		}
	}
	switch {
	case finishes && (a.status != 200 || a.err != nil || last != "data: [DONE]"):
		t.Errorf("not finished: %+v", a)
	case !finishes && begun && (a.status != 200 || a.err == nil):
		t.Errorf("not cut: %+v", a)
	case !finishes && !begun && (a.status != 403 || a.code() != "kill_switch" || a.header.Get("X-Aegis-Decision") != "error"):
		t.Errorf("not told: %+v", a)
	}
}
