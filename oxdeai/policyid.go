package oxdeai

import "strconv"

// policyModules is the part of the policy id's preimage that names the modules of this engine.
const policyModules = `{"engine":"PolicyEngine","engineVersion":"unknown","modules":{"execute":[` +
	`{"id":"AllowlistModule","version":null},{"id":"BudgetModule","version":null},{"id":"ConcurrencyModule","version":null},` +
	`{"id":"KillSwitchModule","version":null},{"id":"RecursionDepthModule","version":null},` +
	`{"id":"ReplayModule","version":null},{"id":"ToolAmplificationModule","version":null},` +
	`{"id":"VelocityModule","version":null}],"release":[{"id":"ConcurrencyModule","version":null},` +
	`{"id":"KillSwitchModule","version":null},{"id":"ReplayModule","version":null}]},"opts":{"authorization_ttl_seconds":`

// policyID returns the id that the options name, or the hash of the options that decide. It identifies the engine's
// configuration only: the limits are in the state, so two deployments with different budgets share it. The policy
// version is not normalized here.
func policyID(o *Options) string {
	if o.PolicyID != "" {
		return o.PolicyID
	}
	b := strconv.AppendInt([]byte(policyModules), *o.AuthorizationTTLSeconds, 10)
	b = appendQuoted(append(b, `,"deny_mode":`...), string(o.DenyMode))
	b = appendQuoted(append(b, `,"policy_version":`...), o.PolicyVersion)
	b = strconv.AppendBool(append(b, `,"strict":`...), o.StrictDeterminism)
	return hashBytes(append(b, "}}"...))
}
