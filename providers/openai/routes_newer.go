package openai

// Why some of the newer operations are denied.
const (
	whyTraces  = "it stores prompts and answers at the vendor, past every rule; switch tracing off, or export it elsewhere"
	whyOldName = "it is the old name of another operation; call that one, with the model in the body"
)

// newer are the operations that are denied and that OpenAI's own description does not have
// yet, or has no more: those of its SDK (package openai 3.54.0), WebSockets, the traces of its
// Agents SDK, and the paths by engine.
var newer = []denied{
	{whyRuns, []string{
		"GET POST /agents",
		"GET POST /agents/automations",
		"GET POST DELETE /agents/automations/{automation_id}",
		"GET POST /agents/automations/{automation_id}/invocations",
		"GET /agents/automations/{automation_id}/invocations/{invocation_id}",
		"POST /agents/automations/{automation_id}/pause",
		"POST /agents/automations/{automation_id}/resume",
		"GET POST /agents/environments",
		"GET POST /agents/environments/templates",
		"GET POST DELETE /agents/environments/templates/{environment_template_id}",
		"GET /agents/environments/{environment_id}",
		"GET POST /agents/environments/{environment_id}/files",
		"GET POST /agents/sessions",
		"GET POST DELETE /agents/sessions/{session_id}",
		"GET /agents/sessions/{session_id}/artifacts",
		"GET DELETE /agents/sessions/{session_id}/artifacts/{artifact_id}",
		"GET /agents/sessions/{session_id}/artifacts/{artifact_id}/content",
		"GET POST /agents/sessions/{session_id}/events",
		"GET /agents/sessions/{session_id}/items",
		"GET /agents/sessions/{session_id}/subagents",
		"GET /agents/sessions/{session_id}/subagents/{subagent_id}",
		"GET /agents/sessions/{session_id}/subagents/{subagent_id}/items",
		"GET /agents/sessions/{session_id}/subagents/{subagent_id}/turns",
		"GET /agents/sessions/{session_id}/subagents/{subagent_id}/turns/{turn_id}",
		"GET /agents/sessions/{session_id}/subagents/{subagent_id}/turns/{turn_id}/items",
		"GET /agents/sessions/{session_id}/traces",
		"GET /agents/sessions/{session_id}/turns",
		"GET /agents/sessions/{session_id}/turns/{turn_id}",
		"GET /agents/sessions/{session_id}/turns/{turn_id}/items",
		"GET POST DELETE /agents/{agent_id}",
		"GET POST /vaults",
		"GET POST DELETE /vaults/{vault_id}",
		"GET POST /vaults/{vault_id}/credentials",
		"GET POST DELETE /vaults/{vault_id}/credentials/{credential_id}",
	}},
	{whyUnbounded, []string{
		"POST /decisions",
	}},
	{whyStored, []string{
		"POST /evals/{eval_id}/runs/{run_id}/cancel",
	}},
	{whySession, []string{
		"POST /live/sessions",
		"POST /live/sessions/{session_id}/accept",
		"GET /live/sessions/{session_id}/content",
		"POST /live/sessions/{session_id}/fork",
		"POST /live/sessions/{session_id}/hangup",
		"POST /live/sessions/{session_id}/refer",
		"POST /live/sessions/{session_id}/reject",
		"GET /live",
		"GET /realtime",
		"GET /realtime/translations",
	}},
	{whyShared, []string{
		"DELETE /audio/voices/{voice_id}",
	}},
	{whyTraces, []string{
		"POST /traces/ingest",
	}},
	{whyOldName, []string{
		"GET /engines",
		"GET /engines/{engine_id}",
		"POST /engines/{engine_id}/completions",
		"POST /engines/{engine_id}/chat/completions",
		"POST /engines/{engine_id}/embeddings",
	}},
	{whyAdmin, []string{
		"GET POST /organization/external_keys",
		"GET DELETE /organization/external_keys/{external_key_id}",
		"POST /organization/external_keys/{external_key_id}/validate",
		"GET POST /organization/external_storage",
		"GET DELETE /organization/external_storage/{external_storage_id}",
		"POST /organization/external_storage/{external_storage_id}/validate",
		"POST /organization/projects/{project_id}/api_keys/{api_key_id}",
		"GET POST /organization/projects/{project_id}/service_tier_settings",
		"GET /organization/usage/decisions",
		"GET POST /organization/workload_identity_providers",
		"GET POST DELETE /organization/workload_identity_providers/{workload_identity_provider_id}",
		"GET POST /organization/workload_identity_providers/{workload_identity_provider_id}/federation_rules",
		"GET POST DELETE /organization/workload_identity_providers/{workload_identity_provider_id}/federation_rules/{workload_identity_federation_rule_id}",
		"GET /safety/alerts/{id}",
		"GET /safety/cases/{id}",
		"GET POST /webhook_endpoints",
		"GET POST DELETE /webhook_endpoints/{webhook_endpoint_id}",
		"POST /webhook_endpoints/{webhook_endpoint_id}/rotate_secret",
		"POST /webhook_endpoints/{webhook_endpoint_id}/test",
		"GET /webhook_event_types",
	}},
}
