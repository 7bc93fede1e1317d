package e2e

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

// mixed is how many requests TestMixedRequests sends to each deployment, and
// mixedShort how many at most under -short.
var mixed = flag.Int("mixed", 10_000, "how many mixed requests to send")

const mixedShort = 2000

// mixedClients is how many of them are under way at once.
const mixedClients = 64

// mixedPolicy sends gpt-4o to an upstream whose patience is short, so that
// answers that hang end soon.
const mixedPolicy = `generation: %d
upstreams:
  - {name: sim, base_url: "%[2]s/v1", api_key_env: SIM_KEY, provider: openai, cap_field: max_completion_tokens}
  - {name: hasty, base_url: "%[2]s/v1", api_key_env: SIM_KEY, provider: openai, cap_field: max_completion_tokens,
     header_timeout: 300ms, idle_timeout: 300ms}
models:
  - {match: "gpt-4o-mini*", upstreams: [sim]}
  - {match: "gpt-4o", upstreams: [hasty]}
  - {match: "text-embedding-*", upstreams: [sim]}
tenants:
  - name: acme
    keys: [{id: acme-1, sha256: "%[3]s", trusted: true}]
%[4]s
`

// leaving is when a client hangs up.
type leaving int

const (
	stays leaving = iota
	leavesBefore
	leavesMidway
)

// kind is one sort of request with what becomes of it.
type kind struct {
	name   string
	path   string
	model  string
	stream bool
	usage  bool // the client asks for it
	answer simulator.Answer
	leaves leaving
	basis  string // of the charge
	status int    // that the client sees; 0: not looked at
}

// slow makes a stream last long enough to be left midway.
var slow = simulator.Answer{OutputTokens: 20, TokenDelay: 5 * time.Millisecond}

// kinds are what the requests are mixed from.
var kinds = append([]kind{
	{name: "json", basis: audit.BasisReported, status: 200},
	{name: "stream", stream: true, basis: audit.BasisReported, status: 200},
	{name: "stream with usage", stream: true, usage: true, basis: audit.BasisReported, status: 200},
	{name: "stream with usage beside choices", stream: true, answer: simulator.Answer{UsageBesideChoices: true}, basis: audit.BasisReported, status: 200},
	{name: "stream without done", stream: true, answer: simulator.Answer{NoDone: true}, basis: audit.BasisReported, status: 200},
	{name: "gzip", answer: simulator.Answer{Gzip: true}, basis: audit.BasisReported, status: 200},
	{name: "gzip stream", stream: true, answer: simulator.Answer{Gzip: true}, basis: audit.BasisReported, status: 200},
	{name: "odd whitespace", answer: simulator.Answer{OddWhitespace: true}, basis: audit.BasisReported, status: 200},
	{name: "trickle", stream: true, answer: simulator.Answer{TrickleBytes: 40}, basis: audit.BasisReported, status: 200},
	{name: "cached and reasoning", answer: simulator.Answer{PromptTokens: 8, CachedTokens: 4, OutputTokens: 9, Reasoning: 5}, basis: audit.BasisReported, status: 200},
	{name: "renamed model", answer: simulator.Answer{Model: "gpt-4o-mini-2024-07-18"}, basis: audit.BasisReported, status: 200},
	{name: "embedding", path: "/v1/embeddings", model: "text-embedding-3-small", basis: audit.BasisReported, status: 200},
	{name: "completion", path: "/v1/completions", basis: audit.BasisReported, status: 200},

	{name: "no usage", answer: simulator.Answer{NoUsage: true}, basis: audit.BasisUnknown, status: 200},
	{name: "stream without usage", stream: true, answer: simulator.Answer{NoUsage: true}, basis: audit.BasisUnknown, status: 200},
	{name: "closed before headers", answer: simulator.Answer{Fault: simulator.CloseBeforeHeaders}, basis: audit.BasisUnknown, status: 502},
	{name: "closed after headers", answer: simulator.Answer{Fault: simulator.CloseAfterHeaders}, basis: audit.BasisUnknown, status: 200},
	{name: "closed in json", answer: simulator.Answer{Fault: simulator.CloseMidJSON}, basis: audit.BasisUnknown, status: 200},
	{name: "stream closed midway", stream: true, answer: simulator.Answer{Fault: simulator.CloseMidStream}, basis: audit.BasisUnknown, status: 200},
	{name: "stream closed in json", stream: true, answer: simulator.Answer{Fault: simulator.CloseMidJSON}, basis: audit.BasisUnknown, status: 200},
	{name: "stream with an error", stream: true, answer: simulator.Answer{Fault: simulator.ErrorMidStream}, basis: audit.BasisUnknown, status: 200},
	{name: "hangs", model: "gpt-4o", answer: simulator.Answer{Fault: simulator.Hang}, basis: audit.BasisUnknown, status: 504},
	{name: "stream hangs", model: "gpt-4o", stream: true, answer: simulator.Answer{Fault: simulator.HangMidStream}, basis: audit.BasisUnknown},
	{name: "error without an object", answer: simulator.Answer{Status: 503, Body: []byte("<html>busy</html>")}, basis: audit.BasisUnbilled, status: 503},

	{name: "left before", answer: simulator.Answer{Latency: 100 * time.Millisecond}, leaves: leavesBefore, basis: audit.BasisReported},
	{name: "stream left before", stream: true, answer: simulator.Answer{Latency: 100 * time.Millisecond}, leaves: leavesBefore, basis: audit.BasisReported},
	{name: "stream left midway", stream: true, answer: slow, leaves: leavesMidway, basis: audit.BasisReported, status: 200},
	{name: "stream with usage left midway", stream: true, usage: true, answer: slow, leaves: leavesMidway, basis: audit.BasisReported, status: 200},
	{name: "hangs and is left", model: "gpt-4o", answer: simulator.Answer{Fault: simulator.Hang}, leaves: leavesBefore, basis: audit.BasisUnknown},
}, failures()...)

// failures are the upstream's error statuses: those that are not billed, and
// those behind which an answer may have been generated.
func failures() []kind {
	var list []kind
	for _, status := range []int{400, 401, 402, 403, 404, 405, 409, 413, 415, 418, 422, 429, 500, 503, 529} {
		list = append(list, failing(status, audit.BasisUnbilled))
	}
	for _, status := range []int{408, 499, 501, 502, 504, 520} {
		list = append(list, failing(status, audit.BasisUnknown))
	}
	return list
}

func failing(status int, basis string) kind {
	return kind{name: fmt.Sprint("status ", status), answer: simulator.Fail(status), basis: basis, status: status}
}

// order is one request of the mix.
type order struct {
	kind
	number  int
	arrived chan struct{} // closed when the provider has it
}

func (o order) run() string { return fmt.Sprint("order-", o.number) }

// body names the order and its kind in the prompt, where the provider's script
// and its books find them.
func (o order) body() string {
	words := fmt.Sprintf("order %d kind %d", o.number, o.index())
	model := cmp.Or(o.model, "gpt-4o-mini")
	switch o.path {
	case "/v1/embeddings":
		return fmt.Sprintf(`{"model":%q,"input":%q}`, model, words)
	case "/v1/completions":
		return fmt.Sprintf(`{"model":%q,"prompt":%q,"max_tokens":12,"max_completion_tokens":12}`, model, words)
	}
	options := ""
	if o.usage {
		options = `,"stream_options":{"include_usage":true}`
	}
	return fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":%q}],"max_completion_tokens":40,"stream":%t%s}`,
		model, words, o.stream, options)
}

func (o order) index() int {
	for i := range kinds {
		if kinds[i].name == o.name {
			return i
		}
	}
	return -1
}

var orderWords = regexp.MustCompile(`order (\d+) kind (\d+)`)

// ordered reads which order a request is, and of which kind.
func ordered(body []byte) (number, index int) {
	found := orderWords.FindSubmatch(body)
	if found == nil {
		return -1, -1
	}
	number, _ = strconv.Atoi(string(found[1]))
	index, _ = strconv.Atoi(string(found[2]))
	return number, index
}

// TestMixedRequests sends requests of every kind with ample budget: not one is
// denied, each is settled once, at what the provider's books say where its cost
// is known and at its hold where it is not, and nothing is held at the end.
func TestMixedRequests(t *testing.T) {
	for _, d := range deployments {
		t.Run(d.name, func(t *testing.T) { sendMixed(t, d) })
	}
}

func sendMixed(t *testing.T, d deployment) {
	total := *mixed
	if testing.Short() {
		total = min(total, mixedShort)
	}
	seed := rand.Uint64()
	t.Logf("%d requests, seed %d", total, seed)
	arrived := make([]chan struct{}, total)
	for i := range arrived {
		arrived[i] = make(chan struct{})
	}
	w := newWorld(t, simulator.Config{Script: func(r *simulator.Request) simulator.Answer {
		number, index := ordered(r.Body)
		close(arrived[number])
		return kinds[index].answer
	}}, "")
	w.layout = mixedPolicy
	w.writePolicy(1, `budgets: [{name: daily, window: month, limit_usd: "1000000"}]`)
	replicas := d.up(t, w)

	orders := shuffled(arrived, seed)
	w.place(orders, replicas)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := w.sim.Await(ctx, simulator.Idle); err != nil {
		t.Error(err)
	}
	eventuallyAtRest(t, replicas[0])
	spent := replicas[0].balances()["daily"].Spent
	checkMetrics(t, replicas, total, spent)
	for _, r := range replicas {
		if code := r.stop(); code != 0 {
			t.Errorf("replica ended with %d", code)
		}
	}
	verifyAll(t, replicas)
	if charged := checkCharges(t, w, orders, replicas); policy.Decimal(charged) != spent {
		t.Errorf("the ledger says that %s is spent, the charges add up to %s", spent, policy.USD(charged))
	}
}

// shuffled has every kind about equally often.
func shuffled(arrived []chan struct{}, seed uint64) []order {
	random := rand.New(rand.NewPCG(seed, 0))
	orders := make([]order, len(arrived))
	for i := range orders {
		orders[i] = order{kinds[i%len(kinds)], i, arrived[i]}
	}
	random.Shuffle(len(orders), func(i, j int) { orders[i], orders[j] = orders[j], orders[i] })
	return orders
}

// place sends the orders, spread over the replicas.
func (w *world) place(orders []order, replicas []*replica) {
	client := newClient(w.t)
	next := make(chan order)
	var group sync.WaitGroup
	for i := range mixedClients {
		group.Go(func() {
			for o := range next {
				w.placeOne(client, replicas[i%len(replicas)], o)
			}
		})
	}
	for _, o := range orders {
		next <- o
	}
	close(next)
	group.Wait()
}

// orderLimit bounds one request.
const orderLimit = time.Minute

func (w *world) placeOne(client *http.Client, r *replica, o order) {
	ctx, leave := context.WithTimeout(context.Background(), orderLimit)
	defer leave()
	if o.leaves == leavesBefore {
		go func() {
			select {
			case <-o.arrived:
				leave()
			case <-ctx.Done():
			}
		}()
	}
	path := cmp.Or(o.path, "/v1/chat/completions")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+path, strings.NewReader(o.body()))
	if err != nil {
		w.t.Error(err)
		return
	}
	req.Header.Set("Authorization", "Bearer "+w.secret)
	req.Header.Set("X-Aegis-Run", o.run())
	resp, err := client.Do(req)
	if err != nil {
		if !errors.Is(err, context.Canceled) || o.leaves != leavesBefore {
			w.t.Errorf("%s: %v", o.name, err)
		}
		return
	}
	defer resp.Body.Close()
	if resp.Header.Get("X-Aegis-Decision") == "deny" || o.status != 0 && resp.StatusCode != o.status {
		body, _ := io.ReadAll(resp.Body)
		w.t.Errorf("%s: got %d %s", o.name, resp.StatusCode, body)
		return
	}
	if o.leaves == leavesMidway {
		io.ReadFull(resp.Body, make([]byte, 10))
		return
	}
	io.Copy(io.Discard, resp.Body) // broken bodies are among the kinds
}

// eventuallyAtRest waits for the ends that no client waits for.
func eventuallyAtRest(t testing.TB, r *replica) {
	t.Helper()
	eventually(t, restLimit, func() error {
		all, err := r.tryBalances()
		if err == nil && all["daily"].Held != "0.00" {
			err = fmt.Errorf("held is %s", all["daily"].Held)
		}
		return err
	})
}

// restLimit bounds the wait until everything is at rest: a lease that lost its
// holder ends after 30 s.
const restLimit = 60 * time.Second

// checkMetrics compares what operators see with what was sent. Money is a
// float there, for display.
func checkMetrics(t *testing.T, replicas []*replica, total int, spent string) {
	t.Helper()
	want, err := strconv.ParseFloat(spent, 64)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, labels string
		want         float64
	}{
		{"aegis_requests_total", `decision="allow"`, float64(total)},
		{"aegis_requests_total", `decision="deny"`, 0},
		{"aegis_open_leases", "", 0},
		{"aegis_held_usd", "", 0},
		{"aegis_spend_usd_total", "", want},
	} {
		sum := 0.0
		for _, r := range replicas {
			sum += r.metric(row.name, row.labels)
		}
		if math.Abs(sum-row.want) > 1e-6 {
			t.Errorf("metric %s{%s} is %v, want %v", row.name, row.labels, sum, row.want)
		}
	}
}

// story is what receipts tell of one order.
type story struct {
	decisions   []audit.Decision
	settlements []audit.Settlement
}

// stories sorts the receipts of all replicas by run.
func stories(replicas []*replica) map[call.Name]*story {
	byRun, byLease := map[call.Name]*story{}, map[string]*story{}
	var ends []audit.Settlement
	for _, r := range replicas {
		for _, receipt := range r.receipts() {
			switch body := receipt.Body.(type) {
			case audit.Decision:
				s := byRun[body.Facts.Run]
				if s == nil {
					s = new(story)
					byRun[body.Facts.Run] = s
				}
				s.decisions = append(s.decisions, body)
				byLease[body.Lease] = s
			case audit.Settlement:
				ends = append(ends, body)
			}
		}
	}
	for _, end := range ends {
		if s := byLease[end.Lease]; s != nil {
			s.settlements = append(s.settlements, end)
		}
	}
	return byRun
}

// checkCharges compares each order's receipts with the provider's books and
// returns the sum of the charges.
func checkCharges(t *testing.T, w *world, orders []order, replicas []*replica) int64 {
	t.Helper()
	told := stories(replicas)
	books := map[int][]simulator.Call{}
	for _, call := range w.sim.Calls() {
		number, _ := ordered(call.Body)
		books[number] = append(books[number], call)
	}
	var sum int64
	for _, o := range orders {
		s := told[call.HashName(o.run())]
		if s == nil {
			t.Errorf("order %d, %s: no receipt", o.number, o.name)
			continue
		}
		charge, err := checkOne(o, s, books[o.number])
		if err != nil {
			t.Errorf("order %d, %s: %v", o.number, o.name, err)
		}
		sum += charge
	}
	return sum
}

// checkOne returns what an order was charged, and an error if that is not what
// it cost.
func checkOne(o order, s *story, calls []simulator.Call) (int64, error) {
	if len(s.decisions) != 1 || len(s.settlements) != 1 {
		return 0, fmt.Errorf("%d decisions and %d settlements, want one of each", len(s.decisions), len(s.settlements))
	}
	decision, end := s.decisions[0], s.settlements[0]
	if decision.Verdict != audit.Allow {
		return end.Charge, fmt.Errorf("denied because of %v", decision.Reasons)
	}
	if end.Basis != o.basis {
		return end.Charge, fmt.Errorf("charged as %s, want %s", end.Basis, o.basis)
	}
	if len(calls) != 1 {
		return end.Charge, fmt.Errorf("the provider got %d calls", len(calls))
	}
	return end.Charge, checkCharge(decision, end, calls[0].Billed)
}

// checkCharge compares a charge with what the provider billed.
func checkCharge(decision audit.Decision, end audit.Settlement, billed simulator.Usage) error {
	price, err := pricing.Builtin().Lookup("openai", decision.Facts.Model, time.UnixMilli(decision.At))
	if err != nil {
		return err
	}
	cost, err := price.Cost(call.Usage{call.Input: billed.Prompt - billed.Cached, call.CachedInput: billed.Cached, call.Output: billed.Completion - billed.Reasoning, call.Reasoning: billed.Reasoning})
	if err != nil {
		return err
	}
	want := cost
	if end.Basis == audit.BasisUnknown {
		want = decision.Facts.Cost
	}
	if end.Charge != want || cost > decision.Facts.Cost {
		return fmt.Errorf("charged %d as %s; the books say %d, the hold was %d", end.Charge, end.Basis, cost, decision.Facts.Cost)
	}
	return nil
}
