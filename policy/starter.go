package policy

import (
	"encoding/hex"
	"strings"
)

// Starter returns a commented policy for one tenant with one key, to begin
// with: OpenAI behind OPENAI_API_KEY, and 10 USD a day. The name must be one
// that Parse accepts; hash is the SHA-256 of the key's secret.
func Starter(tenant string, hash [32]byte) []byte {
	return []byte(strings.NewReplacer(
		"TENANT", tenant,
		"HASH", hex.EncodeToString(hash[:]),
	).Replace(starter))
}

const starter = `# The policy of aegis-proxy: who may spend what. Every field is described in
# docs/configuration.md and shown in policy.example.yaml. Check a change with
# "aegis-proxy policy check FILE"; a running proxy takes it over by itself.

generation: 1 # raise it with every change

upstreams:
  - name: openai
    base_url: https://api.openai.com/v1
    api_key_env: OPENAI_API_KEY
    provider: openai
    cap_field: max_completion_tokens

models:
  - match: "*"
    upstreams: [openai]

tenants:
  - name: TENANT
    keys:
      # The key itself was shown once. "aegis-proxy keys new" makes another.
      - {id: key-1, sha256: "HASH"}
    budgets:
      # A hard stop: what may cost more than is left is denied.
      - {name: daily, window: day, limit_usd: "10"}
      # A warning on the response, before that.
      - {name: early, window: day, limit_usd: "8", kind: soft}
      # What one run of an agent may spend, if it names itself in x-aegis-run.
      - {name: run, scope: run, window: forever, limit_usd: "2"}
`
