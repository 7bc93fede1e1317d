package oxdeai

// authorizationRules are the members that an authorization must have. The ones below may be there besides.
var authorizationRules = []fieldRule{
	textRule("auth_id"), textRule("issuer"), textRule("audience"), hashRule("intent_hash"), hashRule("state_hash"),
	hashRule("policy_id"),
	enumRule("decision", "must be ALLOW", string(Allow)), timeRule("issued_at"), timeRule("expiry"),
	enumRule("alg", "must be Ed25519 or HMAC-SHA256", AlgEd25519, AlgHMAC), textRule("kid"), textRule("signature"),
}

var authorizationExtras = []fieldRule{
	stringRule("nonce"), stringRule("capability"), hashRule("authorization_id"), stringRule("policy_version"),
	hashRule("state_snapshot_hash"), timeRule("expires_at"), stringRule("engine_signature"),
}

func hashRule(name string) fieldRule {
	return fieldRule{name, isHash, issueFormat, "must be 64 lowercase hex digits"}
}

func isHash(v Value) bool {
	s, ok := v.(string)
	return ok && isHashText(s)
}

// CheckAuthorization lists what keeps a flat authorization from following the published schema, sorted by path, code and message.
// It is for tools: the schema is narrower than what VerifyAuthorization takes, and it checks no signature.
func CheckAuthorization(auth *Object) []Issue {
	issues := checkSchema(auth, authorizationRules, authorizationExtras)
	sortIssues(issues)
	return issues
}
