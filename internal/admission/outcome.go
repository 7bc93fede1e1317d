package admission

import (
	"cmp"
	"net/http"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// AnswerOf is how a response begins, as a meter needs to know it.
func AnswerOf(resp *http.Response) providers.Answer {
	a := providers.Answer{Status: resp.StatusCode, Header: resp.Header}
	a.Framed = a.Coding() != "" || !unframed(resp)
	return a
}

// unframed reports whether only the closing of its connection ends a response: it
// has neither a length nor chunks (RFC 9112, section 6.3).
func unframed(resp *http.Response) bool {
	return resp.ProtoMajor == 1 && resp.ContentLength < 0 && len(resp.TransferEncoding) == 0
}

// Outcome is what became of a call that was answered, by what its meter saw to the end.
// Its cost is unknown where nothing tells.
func Outcome(u *policy.Upstream, status int, report providers.Report) gate.Outcome {
	o := gate.Outcome{Status: status, Sent: true, Basis: audit.BasisUnknown, Lines: report.Lines}
	switch {
	case report.HasUsage:
		o.Basis = audit.BasisReported
	case unbilled(u, status, report):
		o.Basis = audit.BasisUnbilled
	}
	return o
}

// unbilled reports whether the upstream bills nothing for a response of that
// status that says this.
func unbilled(u *policy.Upstream, status int, report providers.Report) bool {
	if !report.Refused() {
		return false
	}
	switch u.Unbilled(status) {
	case policy.Always:
		return true
	case policy.ByError:
		return report.Failed
	case policy.ByErrorObject:
		return report.ErrorObject
	case policy.ByStream:
		inside := cmp.Or(report.ErrorStatus, http.StatusInternalServerError)
		return report.Failed && report.Stream && u.Unbilled(inside) != policy.Never
	}
	return false
}
