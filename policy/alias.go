package policy

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/aegis-proxy/aegis-proxy/internal/names"
)

// maxAliases bounds the aliases of a policy.
const maxAliases = 1000

// alias is another name of a model.
type alias struct{ name, model string }

// aliasDoc is another name of a model.
type aliasDoc struct {
	Name  scalar `yaml:"name"`
	Model scalar `yaml:"model"`
}

// Named is the model that a name stands for: that of an alias, or the name itself. All rules, prices
// and budgets are of that model, so that an alias leads nowhere that its model does not.
func (p *Policy) Named(name string) string {
	if a, ok := p.aliases[names.Fold(name)]; ok {
		return a.model
	}
	return name
}

// Aliases are the other names of models, in order.
func (p *Policy) Aliases() []string {
	list := make([]string, 0, len(p.aliases))
	for _, a := range p.aliases {
		list = append(list, a.name)
	}
	slices.Sort(list)
	return list
}

func (l *loader) aliases(doc *fileDoc) {
	l.policy.aliases = map[string]alias{}
	targets := map[string]*entry{}
	for n, d := range doc.Aliases.read(&l.reader) {
		if a := l.alias(n, d); a.name != "" && a.model != "" {
			l.policy.aliases[names.Fold(a.name)] = a
			targets[a.model] = &d.Model.entry
		}
	}
	for model, at := range targets {
		if _, chain := l.policy.aliases[names.Fold(model)]; chain {
			l.refuse(at, "%s is an alias itself; name the model that it stands for", quote(model))
		} else if l.policy.ModelFor(model) == nil {
			l.refuse(at, "no entry of models has %s; add one", quote(model))
		}
	}
	if len(l.policy.aliases) > maxAliases {
		l.refuse(&doc.Aliases.entry, "%d aliases; a policy can have %d", len(l.policy.aliases), maxAliases)
	}
}

func (l *loader) alias(n *yaml.Node, d *aliasDoc) (a alias) {
	if l.require(n, &d.Name.entry, "name", "write the name that clients ask for") {
		a.name = l.modelName(&d.Name)
	}
	if l.require(n, &d.Model.entry, "model", "write the model that it stands for") {
		a.model = l.modelName(&d.Model)
	}
	if a.name != "" && l.taken("alias", names.Fold(a.name), &d.Name.entry) {
		return alias{}
	}
	return a
}

// modelName reads a name that stands for itself alone.
func (l *loader) modelName(s *scalar) string {
	name, ok := l.pattern(s)
	if ok && strings.Contains(name, "*") {
		l.refuse(&s.entry, "%s is a pattern; write one model's name", quote(name))
		return ""
	}
	return name
}
