package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aegis-proxy/aegis-proxy/policy"
)

// entry is a line of the table of contestants. In command, these are replaced:
// {listen} an address, {upstream} a base URL without /v1, {redis} a host and
// port, {dir} a directory of its own, {bin} where the programs beside this one
// are. The environment has OPENAI_API_KEY.
type entry struct {
	name    string
	command []string // empty: requests go straight to the upstream
	aegis   string   // path of the binary under test; "": it is another program
	redis   bool     // needs a Redis of its own
}

// entries are all contestants: the yardsticks, and each binary with both ledgers.
func entries(binaries []string) []entry {
	list := []entry{
		{name: "direct"},
		{name: "plain", command: []string{"{bin}/plain", "{listen}", "{upstream}"}},
	}
	for _, path := range binaries {
		name := "aegis"
		if len(binaries) > 1 {
			name = filepath.Base(path)
		}
		serve := []string{path, "serve", "--listen", "{listen}", "--admin-listen", "127.0.0.1:0", "--policy", "{dir}/policy.yaml", "--data", "{dir}/data"}
		list = append(list,
			entry{name: name + " embedded", command: serve, aegis: path},
			entry{name: name + " redis", command: append(slices.Clip(serve), "--ledger", "redis://{redis}"), aegis: path, redis: true})
	}
	return list
}

// contestant is an entry that runs, and what was measured of it.
type contestant struct {
	name   string
	target string   // address to send requests to
	key    string   // that clients show
	proxy  *process // nil: there is none
	redis  *process // nil: it uses none
	rest   int64    // resident memory when it had just started, in bytes
	rounds map[string][]round
}

// ground is what the contestants stand on.
type ground struct {
	dir      string
	upstream string // address
}

func (g *ground) startUpstream(ctx context.Context) (*process, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	g.upstream = address
	return start(ctx, address, filepath.Join(g.dir, "bin", "upstream"), address)
}

// start starts a contestant.
func (g ground) start(ctx context.Context, e entry) (*contestant, error) {
	c := &contestant{name: e.name, target: g.upstream, rounds: map[string][]round{}}
	if len(e.command) == 0 {
		return c, nil
	}
	dir := filepath.Join(g.dir, strings.ReplaceAll(e.name, " ", "-"))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	if err := g.startHelpers(ctx, e, c, dir); err != nil {
		return nil, err
	}
	return c, g.startProxy(ctx, e, c, dir)
}

// startHelpers starts and writes what the proxy needs.
func (g ground) startHelpers(ctx context.Context, e entry, c *contestant, dir string) (err error) {
	if e.redis {
		if c.redis, err = startRedis(ctx, dir); err != nil {
			return err
		}
	}
	if e.aegis != "" {
		c.key, err = g.writePolicy(ctx, e, c, dir)
	}
	return err
}

func (g ground) startProxy(ctx context.Context, e entry, c *contestant, dir string) (err error) {
	if c.target, err = freeAddress(); err != nil {
		return err
	}
	redis := ""
	if c.redis != nil {
		redis = c.redis.address
	}
	fill := strings.NewReplacer("{listen}", c.target, "{upstream}", "http://"+g.upstream, "{redis}", redis,
		"{dir}", dir, "{bin}", filepath.Join(g.dir, "bin"))
	arguments := make([]string, len(e.command))
	for i, a := range e.command {
		arguments[i] = fill.Replace(a)
	}
	if c.proxy, err = start(ctx, c.target, arguments[0], arguments[1:]...); err != nil {
		return err
	}
	c.rest, err = c.proxy.resident()
	return err
}

// startRedis starts a server that keeps what it is told, as the ledger asks.
func startRedis(ctx context.Context, dir string) (*process, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return start(ctx, address, "redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", dir,
		"--save", "", "--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction")
}

// benchPolicy has one tenant with the budgets of a usual customer: a month, a
// day and one per key.
const benchPolicy = `generation: 1
upstreams:
  - name: bench
    base_url: http://%s/v1
    api_key_env: OPENAI_API_KEY
    provider: openai
    cap_field: max_completion_tokens
  - name: messages
    base_url: http://%s/v1
    api_key_env: OPENAI_API_KEY
    key_header: x-api-key
    provider: anthropic
    dialects: [{name: anthropic}]
models:
  - {match: "claude-*", upstreams: [messages], default_output_cap: 1000}
  - {match: "*", upstreams: [bench], default_output_cap: 1000}
tenants:
  - name: bench
    keys: [{id: bench-1, sha256: "%x"}]
    budgets:
      - {name: month, window: month, limit_usd: "1000000"}
      - {name: day, window: day, limit_usd: "100000"}
      - {name: key, scope: key, window: day, limit_usd: "100000"}
`

// writePolicy makes a policy with one tenant and ample budgets, a signing key,
// and where there is a shared ledger the tenant in it.
func (g ground) writePolicy(ctx context.Context, e entry, c *contestant, dir string) (string, error) {
	secret, hash := policy.NewSecret()
	path, data := filepath.Join(dir, "policy.yaml"), filepath.Join(dir, "data")
	text := fmt.Appendf(nil, benchPolicy, g.upstream, g.upstream, hash)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return "", err
	}
	if err := runQuietly(ctx, e.aegis, "init", "--policy", path+".unused", "--data", data); err != nil {
		return "", err
	}
	if c.redis == nil {
		return secret, nil
	}
	return secret, runQuietly(ctx, e.aegis, "ledger", "provision", "--policy", path, "--ledger", "redis://"+c.redis.address)
}

func runQuietly(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, args[0], err, out)
	}
	return nil
}

// round runs one workload once.
func (c *contestant) round(ctx context.Context, w workload, connections int) (round, error) {
	before, err := c.cpu()
	if err != nil {
		return round{}, err
	}
	began := time.Now()
	l, err := load(ctx, c.target, c.key, w, connections)
	if err != nil {
		return round{}, err
	}
	took := time.Since(began)
	after, err := c.cpu()
	if err != nil {
		return round{}, err
	}
	r := l.round(took)
	r.cpu = (after.proxy - before.proxy) / time.Duration(w.requests)
	r.redisCPU = (after.redis - before.redis) / time.Duration(w.requests)
	if c.proxy != nil {
		r.memory, err = c.proxy.resident()
	}
	return r, err
}

// spent is CPU time.
type spent struct{ proxy, redis time.Duration }

func (c *contestant) cpu() (s spent, err error) {
	if c.proxy != nil {
		if s.proxy, err = c.proxy.cpu(); err != nil {
			return s, err
		}
	}
	if c.redis != nil {
		s.redis, err = c.redis.cpu()
	}
	return s, err
}

func (c *contestant) end() {
	for _, p := range []*process{c.proxy, c.redis} {
		if p != nil {
			p.end()
		}
	}
}
