package providertest

import (
	"reflect"

	"github.com/aegis-proxy/aegis-proxy/providers"
)

// alias is what a policy calls a model.
const alias = "house-model"

// checkAlias: a model that the client names by an alias is bounded as it is under its own name. unbounded says that it
// has no bound there.
func (x *exchange) checkAlias(unbounded bool) {
	model := x.model()
	head, body, ok := x.renamed(alias)
	if model == "" || !ok {
		return
	}
	got, err := x.boundAs(model, head, body)
	if unbounded {
		if err == nil {
			x.errorf("model %q has a bound by an alias alone", model)
		}
		return
	}
	if head, body, ok = x.renamed(model); !ok {
		return
	}
	if want, wrong := x.boundAs(model, head, body); err != nil || wrong != nil || !reflect.DeepEqual(got, want) {
		x.errorf("by an alias the bound is %+v (%v), by its name %+v (%v)", got, err, want, wrong)
	}
}

// renamed is the recording's request as it leaves for another model; ok is false where that has no bound.
func (x *exchange) renamed(model string) (head providers.Head, body []byte, ok bool) {
	offer, err := x.offerAs(model, x.head, x.Request.Bytes())
	if err != nil {
		return head, nil, false
	}
	sent := offer.Send(offer.Bound().Output.Cap)
	head = x.head
	head.Path = sent.Path
	return head, x.sentBody(sent), true
}

// boundAs is the bound of a request whose model stands for this one.
func (x *exchange) boundAs(model string, head providers.Head, body []byte) (*providers.Bound, error) {
	offer, err := x.offerAs(model, head, body)
	if err != nil {
		return nil, err
	}
	return offer.Bound(), nil
}

func (x *exchange) offerAs(model string, head providers.Head, body []byte) (providers.Offer, error) {
	op, ok := x.Suite.Dialect.Match(head)
	if !ok {
		x.errorf("%s %s is sent, and is no operation", head.Method, head.Path)
	}
	r, err := x.Suite.Dialect.Parse(op, head, body)
	if err != nil {
		return nil, err
	}
	r.Rename(model)
	return r.On(x.terms)
}
