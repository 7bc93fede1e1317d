package policy

import (
	"errors"
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/names"
)

// exhausted is what happens where a budget is exhausted: deny or clamp, or a mapping that names another model.
type exhausted struct{ section[exhaustedDoc] }

type exhaustedDoc struct {
	Use  scalar `yaml:"use"`
	Then scalar `yaml:"then"`
}

// Words of when_exhausted.
const (
	exhaustedDeny  = "deny"
	exhaustedClamp = "clamp"
)

// exhausted lays over what happens to a request that a budget has no room for.
func (l *loader) exhausted(t *Tenant, e *exhausted) {
	switch {
	case !e.given():
		return
	case e.node.Kind != yaml.MappingNode:
		t.Clamp, t.Downgrade = l.clamps(&scalar{e.entry}), ""
		return
	}
	doc := e.read(&l.reader)
	if !l.require(e.node, &doc.Use.entry, "use", "write the model that is asked for instead") {
		return
	}
	t.Clamp, t.Downgrade = doc.Then.given() && l.clamps(&doc.Then), l.policy.Named(l.modelName(&doc.Use))
	if t.Downgrade != "" && l.policy.ModelFor(t.Downgrade) == nil {
		l.refuse(&doc.Use.entry, "no entry of models has %s; add one", quote(t.Downgrade))
	}
}

func (l *loader) clamps(s *scalar) bool {
	return choice(&l.reader, s, exhaustedDeny, exhaustedDeny, exhaustedClamp) == exhaustedClamp
}

// checkDowngrade refuses another model that the tenant may not use.
func (l *loader) checkDowngrade(n *yaml.Node, t *Tenant) {
	if t.Downgrade != "" && !allows(t.AllowModels, t.DenyModels, t.Downgrade) {
		l.reject(n, "tenant %s: when_exhausted uses %s, which its models do not allow; allow it, or use another", quote(t.Name), quote(t.Downgrade))
	}
}

// Instead is the model that is asked for in the place of a call's own where a budget is exhausted; ok is false
// where the tenant has none, and for a call of that model itself.
func (t *Tenant) Instead(f *call.Facts) (model string, ok bool) {
	return t.Downgrade, t.Downgrade != "" && !t.isDowngrade(f.Model)
}

// Clamps reports whether the output cap of a call is lowered to what fits. Where another model is asked for
// first, it is that one's.
func (t *Tenant) Clamps(f *call.Facts) bool {
	return t.Clamp && (t.Downgrade == "" || t.isDowngrade(f.Model))
}

// DeniedTwice is the error that a caller is told where a call and the one in its place were both refused: the
// second where that lacks money too, since it is the cheaper one, or where nobody could decide about it; else the first. It
// is nil if the second is.
func DeniedTwice(first, second error) error {
	d, denied := errors.AsType[*call.Denial](second)
	if !denied || OfMoney(d) || slices.Contains(undecided, d.Reason) {
		return second
	}
	return first
}

// undecided are the reasons of denials that no rule has made.
var undecided = []call.Reason{LedgerUnavailable, ReceiptsUnavailable, StalePolicy, ClientClosedRequest, Killed}

func (t *Tenant) isDowngrade(model string) bool { return names.Fold(model) == names.Fold(t.Downgrade) }
