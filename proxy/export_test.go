package proxy

import (
	"crypto/x509"
	"net"
	"time"

	"github.com/aegis-proxy/aegis-proxy/policy"
)

// Route is what the API for actions knows of one verb.
type Route struct {
	Members  []string
	Required []string
}

// Routes are the verbs of the API for actions.
func Routes() map[string]Route {
	routes := map[string]Route{}
	for verb, r := range actionRoutes {
		var route Route
		for _, m := range r.members {
			route.Members = append(route.Members, m.name)
			if m.required {
				route.Required = append(route.Required, m.name)
			}
		}
		routes[verb] = route
	}
	return routes
}

// Answers are the shapes of answers, by their names in docs/openapi.yaml.
var Answers = map[string]any{
	"Leave":     leaveAnswer{},
	"Remaining": remainingAnswer{},
	"Extended":  extendAnswer{},
	"Ended":     endAnswer{},
}

// ParsedAction is a body as it was read.
type ParsedAction struct {
	ID, Action, Target, Tool, Run, Lease string
	Amount, TTLSeconds                   int64
}

// ParseAction reads the body of a verb.
func ParseAction(verb string, text []byte) (ParsedAction, error) {
	b, err := parseAction(text, actionRoutes[verb].members)
	return ParsedAction{b.id, b.action, b.target, b.tool, b.run, b.lease, b.amount, b.ttlSeconds}, err
}

const (
	ActionBodyLimit    = actionBodyLimit
	MaxActionIDBytes   = maxActionIDBytes
	MaxActionTextBytes = maxActionTextBytes
)

// Taken is the memory that bodies take now, in bytes.
func (p *Proxy) Taken() int64 {
	p.intake.mu.Lock()
	defer p.intake.mu.Unlock()
	return p.intake.taken
}

// Trust has requests to an upstream trust these authorities alone. It is for use before
// the first one.
func (p *Proxy) Trust(u *policy.Upstream, roots *x509.CertPool) {
	d := &dialer{net.Dialer{Timeout: u.ConnectLimit}, roots}
	p.transports.of(u).DialTLSContext = d.secure
}

// Unreached says why a connection was not made.
var Unreached = unreached

// CoolFor is for how long an upstream that fails is tried last.
const CoolFor = coolFor

// Health is which upstreams have failed, by a clock of the test's.
type Health struct{ health }

// NewHealth returns one of which none has failed.
func NewHealth(now func() time.Time) *Health { return &Health{health{now: now}} }

func (h *Health) Failed(upstream string)     { h.failed(upstream) }
func (h *Health) Answered(upstream string)   { h.answered(upstream) }
func (h *Health) Cools(upstream string) bool { return h.cools(upstream) }
