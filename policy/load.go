package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// MaxFileBytes bounds a policy file.
const MaxFileBytes = 64 << 20

// Load reads the policy file at path. Its errors are those of Parse.
func Load(path string) (*Policy, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return Parse(path, data)
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, MaxFileBytes+1))
}

// Parse reads a policy from the bytes of a file, whose name stands in errors.
// It takes all or nothing: the error tells everything that is wrong, a line
// each as "file:line:column: what, and what to write instead", up to 100.
func Parse(name string, data []byte) (*Policy, error) {
	if len(data) > MaxFileBytes {
		return nil, fmt.Errorf("%s: the file is larger than %d MiB", name, MaxFileBytes>>20)
	}
	hash := sha256.Sum256(data)
	l := loader{
		reader: reader{file: name, layouts: map[reflect.Type]layout{}},
		policy: &Policy{
			Version:   budget.PolicyVersion{Hash: hex.EncodeToString(hash[:])},
			Upstreams: map[string]*Upstream{},
			byName:    map[string]*Tenant{},
			byKey:     map[[32]byte]*Key{},
		},
		first: map[thing]int{},
		plans: map[string]*rules{},
	}
	if root := l.parse(data); root != nil {
		l.document(root)
	}
	if err := l.problems.err(); err != nil {
		return nil, err
	}
	return l.policy, nil
}

// loader builds a policy from a document.
type loader struct {
	reader
	policy   *Policy
	timezone *time.Location
	plans    map[string]*rules
	first    map[thing]int
}

// thing is a name that must be unique among those of its kind.
type thing struct{ kind, name string }

// taken reports, and refuses, a name that an earlier line has taken.
func (l *loader) taken(kind, name string, e *entry) bool {
	line, taken := l.first[thing{kind, name}]
	if taken {
		l.refuse(e, "%s %s is already given on line %d; each needs its own", kind, quote(name), line)
		return true
	}
	l.first[thing{kind, name}] = e.node.Line
	return false
}

func (l *loader) document(root *yaml.Node) {
	var doc fileDoc
	if !l.fields(root, "the policy", &doc) {
		return
	}
	if l.require(root, &doc.Generation.entry, "generation", "begin with 1 and raise it with every change") {
		l.policy.Version.Generation = l.count(&doc.Generation, 0, 1, budget.MaxAmount)
	}
	l.timezone = l.zone(&doc.Timezone, time.UTC)
	receipts := doc.Receipts.read(&l.reader)
	l.policy.Receipts.Sync = choice(&l.reader, &receipts.Sync, "always", "always", "never") == "always"
	l.cors(&doc.CORS)
	l.upstreams(root, &doc)
	l.models(root, &doc)
	l.aliases(&doc)
	l.freeUpstream(&doc.Free)
	l.planned(&doc)
	l.tenants(root, &doc)
}

func (l *loader) models(root *yaml.Node, doc *fileDoc) {
	if !l.require(root, &doc.Models.entry, "models", "list the models that may be called") {
		return
	}
	for n, d := range doc.Models.read(&l.reader) {
		l.policy.Models = append(l.policy.Models, l.model(n, d))
	}
	l.policy.byModel = indexOf(l.policy.Models)
}

func (l *loader) model(n *yaml.Node, d *modelDoc) *Model {
	m := &Model{
		DefaultOutputCap: l.count(&d.DefaultOutputCap, 0, 1, maxTokens),
		MaxOutputTokens:  l.count(&d.MaxOutputTokens, 0, 1, maxTokens),
		ContextTokens:    l.count(&d.ContextTokens, 0, 1, maxTokens),
		MaxImageTokens:   l.count(&d.MaxImageTokens, 0, 1, maxTokens),
		MaxDocTokens:     l.count(&d.MaxDocTokens, 0, 1, maxTokens),
	}
	if l.require(n, &d.Match.entry, "match", "write a model's name or a pattern, as in \"gpt-*\"") {
		if p, ok := l.pattern(&d.Match); ok && !l.taken("model", p, &d.Match.entry) {
			m.Match = p
		}
	}
	m.Price = l.price(m.Match, &d.Price)
	if l.require(n, &d.Upstreams.entry, "upstreams", "name the upstreams to send it to, primary first") {
		for _, name := range l.upstreamNames(&d.Upstreams, nil) {
			m.Upstreams = append(m.Upstreams, l.policy.Upstreams[name])
		}
	}
	m.Weights = l.weights(&d.Weights, len(m.Upstreams))
	if m.MaxOutputTokens > 0 && m.DefaultOutputCap > m.MaxOutputTokens {
		l.refuse(&d.DefaultOutputCap.entry, "%d is more than max_output_tokens; write at most %d", m.DefaultOutputCap, m.MaxOutputTokens)
	}
	if m.ContextTokens > 0 && m.MaxOutputTokens > m.ContextTokens {
		l.refuse(&d.MaxOutputTokens.entry, "%d is more than context_tokens; write at most %d", m.MaxOutputTokens, m.ContextTokens)
	}
	return m
}

// maxWeight bounds the share of an upstream.
const maxWeight = 1000

// weights reads the shares of so many upstreams.
func (l *loader) weights(w *words, upstreams int) (list []int64) {
	if !w.given() {
		return nil
	}
	sum := int64(0)
	for _, s := range l.each(w) {
		list = append(list, l.count(&s, 0, 0, maxWeight))
		sum += list[len(list)-1]
	}
	switch {
	case len(list) != upstreams:
		l.refuse(&w.entry, "%d weights for %d upstreams; give each one, 0 for what is a fallback alone", len(list), upstreams)
	case sum == 0:
		l.refuse(&w.entry, "all are 0; give the upstreams that are called first a weight")
	}
	return list
}

// upstreamNames returns a list of known upstreams, or what stood before.
func (l *loader) upstreamNames(w *words, before []string) []string {
	if !w.given() {
		return before
	}
	names := []string{}
	given := l.each(w)
	for _, s := range given {
		name, ok := l.text(&s)
		switch {
		case !ok:
		case l.policy.Upstreams[name] == nil:
			l.refuse(&s.entry, "there is no upstream %s%s", quote(name), l.knownUpstreams())
		case slices.Contains(names, name):
			l.refuse(&s.entry, "upstream %s is named twice; remove one", quote(name))
		default:
			names = append(names, name)
		}
	}
	if len(given) == 0 && w.node.Kind == yaml.SequenceNode {
		l.refuse(&w.entry, "the list is empty; name an upstream%s", l.knownUpstreams())
	}
	return names
}

func (l *loader) knownUpstreams() string {
	if len(l.policy.Upstreams) == 0 {
		return ""
	}
	names := make([]string, 0, len(l.policy.Upstreams))
	for name := range l.policy.Upstreams {
		names = append(names, name)
	}
	slices.Sort(names)
	return "; there is " + joinSome(names)
}
