package policy

import (
	"fmt"
	"slices"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/names"
)

// allowModel denies a model that a deny pattern matches, or that no allow
// pattern matches where there are any: the one that is asked for, or another that the call
// may run.
func allowModel(t *Tenant, f *call.Facts) *call.Denial {
	if f.Action() != "" || f.Model == "" && call.Listed(f.Endpoint) {
		return nil // it has no model
	}
	model, ok := f.Model, allows(t.AllowModels, t.DenyModels, f.Model)
	for i := 0; ok && i < len(f.Beside); i++ {
		if other := f.Beside[i].Model; other != "" {
			model, ok = other, allows(t.AllowModels, t.DenyModels, other)
		}
	}
	if ok {
		return nil
	}
	return &call.Denial{
		Reason:  ModelNotAllowed,
		Message: fmt.Sprintf("model %s is not allowed for this tenant", quote(model)),
	}
}

// allowCapabilities denies a request that needs what its tenant was not given.
func allowCapabilities(t *Tenant, f *call.Facts) *call.Denial {
	if t.Capabilities == nil {
		return nil
	}
	for _, need := range f.Needs {
		if !slices.Contains(t.Capabilities, need) {
			return &call.Denial{
				Reason:  CapabilityNotAllowed,
				Message: fmt.Sprintf("capability %s is not allowed for this tenant", quote(need)),
			}
		}
	}
	return nil
}

// allowEndpoint denies an endpoint, named by its path as in chat/completions,
// as allowModel does a model. Patterns that allow say what may run: a list of models runs
// nothing, and is denied by name alone.
func allowEndpoint(t *Tenant, f *call.Facts) *call.Denial {
	allow := t.AllowEndpoints
	if call.Listed(f.Endpoint) {
		allow = nil
	}
	if allows(allow, t.DenyEndpoints, f.Endpoint) {
		return nil
	}
	return &call.Denial{
		Reason:  EndpointNotAllowed,
		Message: fmt.Sprintf("endpoint %s is not allowed for this tenant", quote(f.Endpoint)),
	}
}

// MaxTools is how many tools one request may offer where a rule looks at them.
// OpenAI takes as many.
const MaxTools = 128

// LimitsTools reports whether the tenant's rules look at the tools that its
// requests offer.
func (t *Tenant) LimitsTools() bool { return t.AllowTools != nil || t.DenyTools != nil }

// allowTools denies a request that offers the model a tool which is not
// allowed. Tools whose names no receipt can tell as they are, or too many, are
// allowed only where all are: a receipt has all that the rule looked at.
func allowTools(t *Tenant, f *call.Facts) *call.Denial {
	if !t.LimitsTools() {
		return nil
	}
	for _, tool := range f.Tools {
		if !isTold(tool) || !allows(t.AllowTools, t.DenyTools, tool) {
			return &call.Denial{
				Reason:  ToolNotAllowed,
				Message: fmt.Sprintf("tool %s is not allowed for this tenant", quote(tool)),
			}
		}
	}
	if len(f.Tools) > MaxTools {
		return &call.Denial{
			Reason:  ToolNotAllowed,
			Message: fmt.Sprintf("more than %d tools in one request are not allowed for this tenant", MaxTools),
		}
	}
	return nil
}

// isTold reports whether a receipt can tell a tool's name as it is.
func isTold(tool string) bool {
	return tool != "" && len(tool) <= maxPatternBytes && only(tool, patternMarks)
}

// toldTools is what a receipt tells of the tools that a request offers: nothing where
// no rule looks at them. The rule says the same of it: what it cannot tell as it is
// has a "?", and of more than MaxTools it has one more.
func (t *Tenant) toldTools(tools []string) []string {
	if !t.LimitsTools() {
		return nil
	}
	tools = tools[:min(len(tools), MaxTools+1)]
	if !slices.ContainsFunc(tools, func(tool string) bool { return !isTold(tool) }) {
		return tools
	}
	told := make([]string, len(tools))
	for i, tool := range tools {
		told[i] = toldTool(tool)
	}
	return told
}

func toldTool(tool string) string {
	told := toolName(tool)
	if tool == "" || len(tool) > maxPatternBytes {
		return told[:min(len(told), maxPatternBytes-1)] + "?"
	}
	return told
}

// allows reports whether no deny pattern matches a name, and an allow pattern
// does where there are any.
func allows(allow, deny []string, name string) bool {
	return (allow == nil || matchAny(allow, name)) && !matchAny(deny, name)
}

// MayUse reports whether a tenant's patterns allow a model.
func (t *Tenant) MayUse(model string) bool {
	return allowModel(t, &call.Facts{Model: model}) == nil
}

func matchAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return names.Match(p, name) })
}
