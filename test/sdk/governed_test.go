package sdk_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/test/sdk"
)

// house is a directory as aegis-proxy init makes it, for a program that governs itself.
type house struct {
	t   *testing.T
	dir string
	key audit.Key
}

// newHouse makes one for a provider at that base URL, with a daily budget.
func newHouse(t *testing.T, baseURL, limit string) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir()}
	nano, err := policy.ParseUSD(limit)
	h.must(err)
	vendors := policy.Vendors()[:2] // OpenAI and Anthropic
	for i := range vendors {
		vendors[i].BaseURL = baseURL
	}
	first := policy.Starter{
		Generation: 1, Tenant: "default", KeyID: "key-1", Hash: [32]byte{1}, Vendors: vendors,
		Budgets: []policy.StarterBudget{{Name: "daily", Window: "day", Limit: nano}},
	}
	signer, err := audit.NewSigner(audit.AlgEd25519)
	h.must(err)
	h.key = signer.Key()
	h.must(os.Mkdir(filepath.Join(h.dir, "aegis-data"), 0o700))
	h.must(audit.SaveSigner(filepath.Join(h.dir, "aegis-data/signing-key"), signer))
	h.must(os.WriteFile(filepath.Join(h.dir, "policy.yaml"), first.Bytes(), 0o600))
	return h
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// receipts verifies all, and returns the decisions and settlements.
func (h *house) receipts() (decisions []audit.Decision, ends []audit.Settlement) {
	h.t.Helper()
	sources, err := audit.Files(filepath.Join(h.dir, "aegis-data/receipts"))
	h.must(err)
	report, err := audit.Verify(h.t.Context(), sources, audit.VerifyOptions{Keys: audit.NewKeys(h.key)})
	if err != nil || !report.OK() || report.GapCount != 0 {
		h.t.Fatalf("receipts: %v %v %v", report.Findings, report.Gaps, err)
	}
	for r, err := range audit.Read(sources...) {
		h.must(err)
		switch b := r.Body.(type) {
		case audit.Decision:
			decisions = append(decisions, b)
		case audit.Settlement:
			ends = append(ends, b)
		}
	}
	return decisions, ends
}

// mustHaveSettled checks that the receipts tell of one call that was settled by reported usage.
func (h *house) mustHaveSettled(sim *simulator.Server) {
	h.t.Helper()
	decisions, ends := h.receipts()
	if len(decisions) != 1 || decisions[0].Verdict != audit.Allow || len(ends) != 1 || ends[0].Basis != audit.BasisReported || len(sim.Calls()) != 1 {
		h.t.Fatalf("%d calls; told of as %+v, %+v", len(sim.Calls()), decisions, ends)
	}
	billed := sim.Totals().Billed
	if billed.Prompt == 0 || ends[0].Charge == 0 || ends[0].Charge > ends[0].Hold {
		h.t.Errorf("billed %+v, charged %d of %d", billed, ends[0].Charge, ends[0].Hold)
	}
	if price := billed.Prompt*150 + billed.Completion*600; decisions[0].Facts.Model == "gpt-4o-mini" && price != ends[0].Charge {
		h.t.Errorf("billed %+v, %d nano-USD; charged %d", billed, price, ends[0].Charge)
	}
}

// goClient is the program of the official SDK for Go.
func goClient(t *testing.T) sdk.Client {
	t.Helper()
	for _, c := range sdk.Clients {
		if c.Name == "go" {
			c.Need(t)
			return c
		}
	}
	t.Fatal("there is no client for Go")
	return sdk.Client{}
}

// TestSDKThatGovernsItself: with two lines more the SDK sees what it sees at the provider,
// and what it does is charged.
func TestSDKThatGovernsItself(t *testing.T) {
	for _, scenario := range []string{"chat", "stream", "stream-usage", "tools", "embeddings", "responses-chat", "responses-stream"} {
		t.Run(scenario, func(t *testing.T) {
			direct, directURL := start(t, nil)
			want := goClient(t).Run(t, directURL, "sk-test", scenario)
			sim, url := start(t, nil)
			h := newHouse(t, url, "10")
			got := goClient(t).Run(t, url, "sk-test", scenario, "SDK_GOVERNED="+h.dir)
			if got.Headers["x-aegis-receipt"] == "" || got.Headers["x-aegis-decision"] != "allow" {
				t.Errorf("headers %v", got.Headers)
			}
			for name := range got.Headers {
				if strings.HasPrefix(name, "x-aegis-") {
					delete(got.Headers, name)
				}
			}
			want.Headers["x-request-id"], got.Headers["x-request-id"] = "", ""
			if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w || len(direct.Calls()) != 1 {
				t.Errorf("saw\n%s\nwant\n%s", g, w)
			}
			h.mustHaveSettled(sim)
		})
	}
}

// TestMessagesThatGovernThemselves: so does Anthropic's SDK, with the same two lines.
func TestMessagesThatGovernThemselves(t *testing.T) {
	sdk.GoMessages.Need(t)
	for _, scenario := range []string{"chat", "stream"} {
		t.Run(scenario, func(t *testing.T) {
			direct, directURL := start(t, nil)
			want := sdk.GoMessages.Run(t, strings.TrimSuffix(directURL, "/v1"), "sk-test", scenario)
			sim, url := start(t, nil)
			h := newHouse(t, url, "10")
			got := sdk.GoMessages.Run(t, strings.TrimSuffix(url, "/v1"), "sk-test", scenario, "SDK_GOVERNED="+h.dir)
			if got.Headers["x-aegis-receipt"] == "" || !got.OK || got.Content == "" {
				t.Errorf("saw %+v", got)
			}
			want.Headers, got.Headers = nil, nil
			if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w || len(direct.Calls()) != 1 {
				t.Errorf("saw\n%s\nwant\n%s", g, w)
			}
			h.mustHaveSettled(sim)

			poor := newHouse(t, url, "0.000000001")
			refused := sdk.GoMessages.Run(t, strings.TrimSuffix(url, "/v1"), "sk-test", scenario, "SDK_GOVERNED="+poor.dir)
			if refused.OK || refused.Error.Class != "*apierror.Error" || refused.Error.Type != "billing_error" || !strings.HasPrefix(refused.Error.Message, "aegis: ") {
				t.Errorf("saw %+v", refused)
			}
			if decisions, ends := poor.receipts(); len(decisions) != 1 || decisions[0].Verdict != audit.Deny || len(ends) != 0 || len(sim.Calls()) != 1 {
				t.Errorf("%d calls; told of as %+v, %+v", len(sim.Calls()), decisions, ends)
			}
		})
	}
}

// TestSDKRaisesADenial: as its usual error, after one request that was not sent.
func TestSDKRaisesADenial(t *testing.T) {
	for _, scenario := range []string{"chat", "stream", "embeddings", "responses-chat", "responses-stream"} {
		t.Run(scenario, func(t *testing.T) {
			sim, url := start(t, nil)
			h := newHouse(t, url, "0.000000001")
			saw := goClient(t).Run(t, url, "sk-test", scenario, "SDK_GOVERNED="+h.dir)
			if saw.OK || saw.Error.Class != "*apierror.Error" || saw.Error.Code != "insufficient_quota" || saw.Status != 402 || !strings.HasPrefix(saw.Error.Message, "aegis: ") {
				t.Errorf("saw %+v", saw)
			}
			if decisions, ends := h.receipts(); len(decisions) != 1 || decisions[0].Verdict != audit.Deny || len(ends) != 0 || saw.Attempts != 0 || len(sim.Calls()) != 0 {
				t.Errorf("%d requests sent; told of as %+v, %+v", saw.Attempts, decisions, ends)
			}
		})
	}
}

// TestLibraryExample: it answers, is charged what the provider bills, keeps its balance over
// restarts, and is refused what does not fit.
func TestLibraryExample(t *testing.T) {
	sim, url := start(t, nil)
	h := newHouse(t, url, "10")
	if out, err := h.library(url); err != nil || !strings.HasPrefix(out, "the ledger of a house") {
		t.Fatalf("%v\n%s", err, out)
	}
	h.mustHaveSettled(sim)
	if out, err := h.library(url); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, ends := h.receipts(); len(ends) != 2 || ends[0].Charge != ends[1].Charge {
		t.Errorf("charged %+v", ends)
	}
	if out, err := newHouse(t, url, "0.000000001").library(url); err == nil || !strings.Contains(out, "402 Payment Required") || !strings.Contains(out, "budget \"") || len(sim.Calls()) != 2 {
		t.Errorf("%d calls, %v\n%s", len(sim.Calls()), err, out)
	}
}

// library runs the example.
func (h *house) library(baseURL string) (string, error) {
	h.t.Helper()
	program, err := filepath.Abs("../../.tools/go/library")
	h.must(err)
	if _, err := os.Stat(program); err != nil {
		h.t.Fatalf("examples/library is not installed (%v); run make tools", err)
	}
	command := exec.CommandContext(h.t.Context(), program, "What is a lease?")
	command.Dir = h.dir
	command.Env = append(os.Environ(), "OPENAI_BASE_URL="+baseURL, "OPENAI_API_KEY=sk-test")
	out, err := command.CombinedOutput()
	return string(out), err
}
