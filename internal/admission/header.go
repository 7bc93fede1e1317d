package admission

import (
	"cmp"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/agents"
)

// Headers that are added to responses.
const (
	DecisionHeader  = "X-Aegis-Decision" // Allowed, Denied or Failed
	ReceiptHeader   = "X-Aegis-Receipt"
	warningHeader   = "X-Aegis-Warning"
	outputCapHeader = "X-Aegis-Output-Cap"
	insteadHeader   = "X-Aegis-Instead-Of"
	betasHeader     = "X-Aegis-Betas-Removed"
	toolsHeader     = "X-Aegis-Tools-Removed"
)

// OurHeaders are all of them.
const OurHeaders = DecisionHeader + ", " + ReceiptHeader + ", " + warningHeader + ", " + outputCapHeader + ", " + insteadHeader + ", " + betasHeader + ", " + toolsHeader

// authorizationHeader goes to upstreams that the policy marks, and holds the base64 of an
// AuthorizationV1.
const authorizationHeader = "X-Aegis-Authorization"

// Values of the decision header. An answer of the upstream carries Allowed.
const (
	Allowed = "allow"
	Denied  = "deny"
	Failed  = "error" // allowed, but the upstream gave no answer
)

// maxRemovedBytes bounds what is said back of the betas that were taken out, and of the tools.
const maxRemovedBytes = 1 << 10

// Mark puts our headers on the response of an upstream to a call that had leave.
func Mark(h http.Header, grant *gate.Grant, removed *providers.Removed) {
	DropOurs(h)
	h[DecisionHeader] = []string{Allowed}
	if grant.Receipt != "" {
		h[ReceiptHeader] = []string{grant.Receipt}
	}
	Warn(h, grant.Warnings)
	tellRemoved(h, betasHeader, removed.Betas)
	tellRemoved(h, toolsHeader, removed.Tools)
	if asked := grant.Bid().InsteadOf; asked != "" {
		h[insteadHeader] = []string{asked}
	}
	if grant.Clamped {
		h[outputCapHeader] = []string{strconv.FormatInt(grant.OutputCap, 10)}
	}
}

// ShowGauge fills the gauge that a client has for limits, if it has one.
func ShowGauge(h http.Header, client providers.Head, grant *gate.Grant) {
	if !agents.HasGauge(client) {
		return
	}
	if gauge, ok := grant.Gauge(); ok {
		agents.ShowGauge(h, gauge)
	}
}

// tellRemoved names what was taken out, if anything was.
func tellRemoved(h http.Header, header string, names []string) {
	if len(names) > 0 {
		all := strings.Join(names, ", ")
		h[header] = []string{all[:min(len(all), maxRemovedBytes)]}
	}
}

// Authorization signs what goes in the header of that name; "" for an upstream that gets
// none. Without it nothing may be sent; the error is a *call.Denial then.
func Authorization(grant *gate.Grant) (string, error) {
	if !grant.Upstream().Authorized {
		return "", nil
	}
	auth, err := grant.Authorization()
	if err != nil {
		return "", FailedAfter(grant.Receipt, Deny(call.Unavailable, "authorization_unavailable", call.RetryNever,
			"the upstream wants an authorization, and none can be signed"))
	}
	return base64.StdEncoding.EncodeToString(auth), nil
}

// Warn tells what budgets warn of, if there is anything.
func Warn(h http.Header, warnings []policy.Warning) {
	if len(warnings) == 0 {
		return
	}
	texts := make([]string, len(warnings))
	for i, w := range warnings {
		texts[i] = w.String()
	}
	h[warningHeader] = []string{strings.Join(texts, "; ")}
}

// MarkDenied puts them on an answer that is our own.
func MarkDenied(h http.Header, d *call.Denial) {
	h[DecisionHeader] = []string{cmp.Or(d.Decision, Denied)}
	if d.Receipt != "" {
		h[ReceiptHeader] = []string{d.Receipt}
	}
}

// clientOnly are request headers that are not for the upstream, whatever API it speaks:
// what would open a tunnel, and the wait for a leave to send a body that has arrived
// already. The client's credentials are the dialect's to take out.
var clientOnly = []string{"Connection", "Upgrade", "Http2-Settings", "Expect"}

// misleading are request headers that can make a server read another request
// than the one that was bounded: what the body was as the client sent it (coding,
// charset, part, digest), and another method, path or number of tries. The last
// are mostly added by hops before the proxy, so they are taken out, not refused.
var misleading = []string{
	"Content-Type", "Content-Encoding", "Content-Transfer-Encoding", "Content-Range", "Content-Location",
	"Content-Md5", "Digest", "Content-Digest", "Repr-Digest",
	"X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Original-Method",
	"X-Original-Url", "X-Original-Uri", "X-Rewrite-Url", "X-Envoy-Original-Path",
	"X-Envoy-Max-Retries", "X-Envoy-Retry-On", "X-Envoy-Retry-Grpc-On", "X-Envoy-Hedge-On-Per-Try-Timeout",
}

var withheld = func() map[string]bool {
	set := map[string]bool{}
	for _, list := range [...][]string{clientOnly, misleading} {
		for _, name := range list {
			set[name] = true
		}
	}
	return set
}()

// ForDialect are the request headers without those that do not pass in any dialect. Of what
// is said of the body only that it is a form is left, which cannot be read without its boundary.
func ForDialect(h http.Header) map[string][]string {
	out := make(map[string][]string, len(h))
	for name, values := range h {
		if plain := providers.Plain(name); !withheld[plain] && !strings.HasPrefix(plain, oursPrefix) {
			out[name] = values
		}
	}
	if kind := h["Content-Type"]; len(kind) == 1 && strings.HasPrefix(strings.ToLower(kind[0]), form) {
		out["Content-Type"] = kind
	}
	return out
}

// form begins the content type of a form.
const form = "multipart/form-data"

// Adopt makes a header what the dialect sends, with the authorization, if there is one, and
// without leave to compress the answer. Before, it is the client's without what concerns a
// single connection; came is what the dialect was given.
func Adopt(out http.Header, came, sent map[string][]string, authorization string) {
	for name := range out {
		if _, passes := sent[name]; !passes {
			delete(out, name)
		}
	}
	for name, values := range sent {
		if before, was := came[name]; !was || !slices.Equal(before, values) {
			out[name] = values
		}
	}
	if authorization != "" {
		out[authorizationHeader] = []string{authorization}
	}
	out["Accept-Encoding"] = []string{"identity"}
}

// oursPrefix begins the names of headers that only we may set.
const oursPrefix = "X-Aegis-"

// DropOurs removes headers that only we may set.
func DropOurs(h http.Header) {
	for name := range h {
		if strings.HasPrefix(name, oursPrefix) {
			delete(h, name)
		}
	}
}
