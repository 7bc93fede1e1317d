package policy

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

const (
	// agentOutputCap is the output cap of a request that names none, in tokens: what
	// Claude Code asks for by itself. Codex names none, and the most that its models
	// write, 128,000, would be held for every turn.
	agentOutputCap = 32_000
	// agentFloor is the least output, in tokens, that is of use to an agent: below it an
	// edit of a file is cut off in its middle.
	agentFloor = 4_096
	// agentWait is how long a request waits in line. Clients give up after 10 minutes.
	agentWait = "5m"
	// agentSearches is how many web searches one request may make: each lets the model run
	// once more, which is held for every turn of Codex. agentResults is how
	// many tokens each brings, as is held for it.
	agentSearches = 2
	agentResults  = 10_000
	// agentDocument is how many tokens one document of pages may have: Claude Code reads at
	// most 20 pages at a time, each up to 3,000 of text and an image of 4,848. Without it
	// each turn after such a document would hold the model's whole context.
	agentDocument = 200_000
)

// Starter is a policy to begin with: one tenant with one key, the APIs that it may
// use, and what it may spend. It is made for agents: a request that names no output cap
// gets one, one that does not fit any more is cut down to a floor before it is denied,
// and one that only has to wait for others waits.
type Starter struct {
	Generation int64    // at least 1
	Tenant     string   // a name that Parse accepts
	KeyID      string   // of its key
	Hash       [32]byte // SHA-256 of the key's secret
	Vendors    []Vendor // at least one
	Budgets    []StarterBudget
}

// StarterBudget is one budget of a starter policy.
type StarterBudget struct {
	Why    string // the comment above it
	Name   string
	Scope  string // "": the tenant
	Window string
	Limit  int64 // nano-USD
	Soft   bool
}

// Bytes is the policy's file, with comments.
func (s *Starter) Bytes() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, starterHead, s.Generation)
	for i := range s.Vendors {
		s.Vendors[i].write(&b)
	}
	b.WriteString("\nmodels:\n")
	s.models(&b)
	if slices.ContainsFunc(s.Vendors, func(v Vendor) bool { return v.Name == moderator }) {
		b.WriteString("\n# Where moderations go, which cost nothing.\nfree_upstream: " + moderator + "\n")
	}
	fmt.Fprintf(&b, starterTenant, s.Tenant, s.KeyID, hex.EncodeToString(s.Hash[:]), agentFloor, agentWait, agentSearches, agentResults)
	if len(s.Budgets) == 0 {
		b.WriteString("    budgets: []\n")
		return []byte(b.String())
	}
	b.WriteString("    budgets:\n")
	for _, budget := range s.Budgets {
		budget.write(&b)
	}
	return []byte(b.String())
}

// anyModel is the pattern of all names.
const anyModel = "*"

// moderator is the vendor that has moderations.
const moderator = "openai"

// write adds the vendor as an upstream.
func (v *Vendor) write(b *strings.Builder) {
	fmt.Fprintf(b, "  - name: %s\n    base_url: %s\n", v.Name, v.BaseURL)
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(b, "    %s: %s\n", name, value)
		}
	}
	field("api_key_env", v.KeyEnv)
	field("key_header", v.KeyHeader)
	field("provider", v.Provider)
	field("cap_field", v.CapField)
	if v.Silent {
		field("stream_usage", "false")
	}
	if v.Dialect != "" {
		field("dialects", "[{name: "+v.Dialect+"}]")
	}
}

// models adds an entry for each pattern of each vendor, and one for all other names,
// which firsts serve. A single vendor needs no more than that.
func (s *Starter) models(b *strings.Builder) {
	written := map[string]bool{anyModel: true}
	for i := range s.Vendors {
		for _, pattern := range s.Vendors[i].Models {
			if len(s.Vendors) > 1 && !written[pattern] {
				writeModel(b, pattern, s.Vendors[i:i+1])
				written[pattern] = true
			}
		}
	}
	writeModel(b, anyModel, s.firsts())
}

// firsts serve the models that no pattern names: one's own machine, whose models have any
// name and cost nothing, else the first vendor of each dialect.
func (s *Starter) firsts() (list []Vendor) {
	if i := slices.IndexFunc(s.Vendors, func(v Vendor) bool { return v.Local }); i >= 0 {
		return s.Vendors[i : i+1]
	}
	for _, v := range s.Vendors {
		if !slices.ContainsFunc(list, func(other Vendor) bool { return other.Speaks() == v.Speaks() }) {
			list = append(list, v)
		}
	}
	return list
}

// writeModel adds the entry of a pattern, which these vendors serve.
func writeModel(b *strings.Builder, pattern string, vendors []Vendor) {
	names := make([]string, len(vendors))
	for i := range vendors {
		names[i] = vendors[i].Name
	}
	fmt.Fprintf(b, "  - {match: %q, upstreams: [%s], default_output_cap: %d, max_document_tokens: %d", pattern, strings.Join(names, ", "), agentOutputCap, agentDocument)
	if vendors[0].Local {
		b.WriteString(`, price: {input: "0", output: "0"}`)
	}
	b.WriteString("}\n")
}

func (s *StarterBudget) write(b *strings.Builder) {
	if s.Why != "" {
		fmt.Fprintf(b, "      # %s\n", s.Why)
	}
	fmt.Fprintf(b, "      - {name: %s", s.Name)
	if s.Scope != "" {
		fmt.Fprintf(b, ", scope: %s", s.Scope)
	}
	fmt.Fprintf(b, ", window: %s, limit_usd: %q", s.Window, Decimal(s.Limit))
	if s.Soft {
		b.WriteString(", kind: soft")
	}
	b.WriteString("}\n")
}

const starterHead = `# The policy of aegis-proxy: who may spend what. Every field is described in
# docs/configuration.md and shown in policy.example.yaml. Check a change with
# "aegis-proxy policy check FILE"; a running proxy takes it over by itself.

generation: %d # raise it with every change

upstreams:
`

const starterTenant = `
tenants:
  - name: %s
    keys:
      # The key itself was shown once. "aegis-proxy keys new" makes another.
      - {id: %s, sha256: %q}
    # Agents ask for far more output than they write. What does not fit any more is cut
    # down, to this much at least; what has to wait for others waits.
    when_exhausted: clamp
    min_output_tokens: %d
    when_held: wait
    wait_limit: %s
    # Tools that run at the provider. Codex offers a web search with every request, and
    # Claude Code searches by one: each call has its fee, and its results are input. The fee
    # is the list price, for models whose price has none.
    hosted_tools:
      - {kind: web_search, when_offered: price, calls: %d, tokens: %d, fee: "10"}
      - {kind: image_generation, when_offered: strip}
`
