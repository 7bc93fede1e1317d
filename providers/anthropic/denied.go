package anthropic

// deniedOperations are those that are denied, by why: the operations of the official SDK
// for Python, version 2.14.0 (https://github.com/anthropics/anthropic-sdk-python), and the
// older completions. A line has the methods of a path behind the version.
var deniedOperations = map[string]string{
	"a batch is billed long after it was taken": `
		POST /messages/batches
	`,
	"all tenants share the upstream's key, and it reaches what others have stored": `
		GET /files
		DELETE GET /files/{file_id}
		GET /files/{file_id}/content
		GET /messages/batches
		DELETE GET /messages/batches/{message_batch_id}
		POST /messages/batches/{message_batch_id}/cancel
		GET /messages/batches/{message_batch_id}/results
		GET /skills
		DELETE GET /skills/{skill_id}
		GET /skills/{skill_id}/versions
		DELETE GET /skills/{skill_id}/versions/{version}
		GET /skills/{skill_id}/versions/{version}/content
	`,
	"what it stores becomes the input of calls whose bodies do not show it": `
		POST /files
		POST /skills
		POST /skills/{skill_id}/versions
	`,
	"agents run at the provider, over what is stored there, and are billed by the hour too": `
		GET POST /agents
		GET POST /agents/{agent_id}
		POST /agents/{agent_id}/archive
		GET /agents/{agent_id}/versions
		GET /deployment_runs
		GET /deployment_runs/{deployment_run_id}
		GET POST /deployments
		GET POST /deployments/{deployment_id}
		POST /deployments/{deployment_id}/archive
		POST /deployments/{deployment_id}/pause
		POST /deployments/{deployment_id}/run
		POST /deployments/{deployment_id}/unpause
		GET POST /dreams
		GET /dreams/{dream_id}
		POST /dreams/{dream_id}/archive
		POST /dreams/{dream_id}/cancel
		GET POST /environments
		DELETE GET POST /environments/{environment_id}
		POST /environments/{environment_id}/archive
		GET /environments/{environment_id}/work
		GET /environments/{environment_id}/work/poll
		GET /environments/{environment_id}/work/stats
		GET POST /environments/{environment_id}/work/{work_id}
		POST /environments/{environment_id}/work/{work_id}/ack
		POST /environments/{environment_id}/work/{work_id}/heartbeat
		POST /environments/{environment_id}/work/{work_id}/stop
		GET POST /memory_stores
		DELETE GET POST /memory_stores/{memory_store_id}
		POST /memory_stores/{memory_store_id}/archive
		GET POST /memory_stores/{memory_store_id}/memories
		DELETE GET POST /memory_stores/{memory_store_id}/memories/{memory_id}
		GET /memory_stores/{memory_store_id}/memory_versions
		GET /memory_stores/{memory_store_id}/memory_versions/{memory_version_id}
		POST /memory_stores/{memory_store_id}/memory_versions/{memory_version_id}/redact
		GET POST /sessions
		DELETE GET POST /sessions/{session_id}
		POST /sessions/{session_id}/archive
		GET POST /sessions/{session_id}/events
		GET /sessions/{session_id}/events/stream
		GET POST /sessions/{session_id}/resources
		DELETE GET POST /sessions/{session_id}/resources/{resource_id}
		GET /sessions/{session_id}/threads
		GET /sessions/{session_id}/threads/{thread_id}
		POST /sessions/{session_id}/threads/{thread_id}/archive
		GET /sessions/{session_id}/threads/{thread_id}/events
		GET /sessions/{session_id}/threads/{thread_id}/stream
		GET POST /vaults
		DELETE GET POST /vaults/{vault_id}
		POST /vaults/{vault_id}/archive
		GET POST /vaults/{vault_id}/credentials
		DELETE GET POST /vaults/{vault_id}/credentials/{credential_id}
		POST /vaults/{vault_id}/credentials/{credential_id}/archive
		POST /vaults/{vault_id}/credentials/{credential_id}/mcp_oauth_validate
	`,
	"it administers the account that all tenants share": `
		GET /compliance/review/cases
		GET /compliance/review/cases/{case_id}
		POST /compliance/review/cases/{case_id}/respond
		GET /compliance/review/items/{item_id}
		GET /compliance/review/notices
		GET /organizations/analytics/apps/chat/projects
		GET /organizations/analytics/artifacts
		GET /organizations/analytics/connectors
		GET /organizations/analytics/cost
		GET /organizations/analytics/cost_report
		GET /organizations/analytics/plugins
		GET /organizations/analytics/skills
		GET /organizations/analytics/summaries
		GET /organizations/analytics/usage
		GET /organizations/analytics/usage_report
		GET /organizations/analytics/user_cost_report
		GET /organizations/analytics/user_usage_report
		GET /organizations/analytics/users
		GET /organizations/api_keys
		GET POST /organizations/api_keys/{api_key_id}
		GET POST /organizations/claude_code/managed_settings/configuration
		GET POST /organizations/claude_code/managed_settings/rbac_group_default
		GET /organizations/claude_code/managed_settings/rbac_groups
		DELETE GET POST /organizations/claude_code/managed_settings/rbac_groups/{rbac_group_id}
		GET /organizations/claude_tag/bundles
		GET POST /organizations/claude_tag/bundles/{bundle_id}
		GET POST /organizations/claude_tag/bundles/{bundle_id}/targets
		DELETE GET /organizations/claude_tag/bundles/{bundle_id}/targets/{target_id}
		GET POST /organizations/claude_tag/slack_channels
		DELETE GET POST /organizations/claude_tag/slack_channels/{id}
		GET /organizations/claude_tag/slack_workspaces
		GET POST /organizations/claude_tag/slack_workspaces/{id}
		GET POST /organizations/compliance_settings
		GET POST /organizations/external_keys
		DELETE GET POST /organizations/external_keys/{external_key_id}
		POST /organizations/external_keys/{external_key_id}/validate
		GET POST /organizations/external_storage
		DELETE GET POST /organizations/external_storage/{external_storage_id}
		POST /organizations/external_storage/{external_storage_id}/activate
		GET POST /organizations/federation_issuers
		GET POST /organizations/federation_issuers/{federation_issuer_id}
		POST /organizations/federation_issuers/{federation_issuer_id}/archive
		GET POST /organizations/federation_rules
		GET POST /organizations/federation_rules/{federation_rule_id}
		POST /organizations/federation_rules/{federation_rule_id}/archive
		GET POST /organizations/federation_rules/{federation_rule_id}/workspaces
		DELETE /organizations/federation_rules/{federation_rule_id}/workspaces/{workspace_id}
		GET POST /organizations/invites
		DELETE GET /organizations/invites/{invite_id}
		GET /organizations/me
		GET /organizations/plugin_marketplaces
		POST /organizations/plugin_marketplaces/validate_archive
		POST /organizations/plugin_marketplaces/validate_repository
		GET POST /organizations/plugin_marketplaces/{marketplace_id}
		GET POST /organizations/plugins
		DELETE GET POST /organizations/plugins/{plugin_id}
		GET /organizations/plugins/{plugin_id}/installation_settings
		DELETE POST /organizations/plugins/{plugin_id}/installation_settings/{target}
		GET /organizations/plugins/{plugin_id}/shares
		GET POST /organizations/plugins/{plugin_id}/versions
		GET /organizations/plugins/{plugin_id}/versions/{version}
		GET /organizations/plugins/{plugin_id}/versions/{version}/content
		GET POST /organizations/providers/google/projects/{project_number}/data_controls
		GET /organizations/rate_limits
		GET POST /organizations/rbac_groups
		DELETE GET POST /organizations/rbac_groups/{rbac_group_id}
		GET POST /organizations/rbac_groups/{rbac_group_id}/members
		DELETE /organizations/rbac_groups/{rbac_group_id}/members/{user_id}
		GET /organizations/rbac_roles
		GET /organizations/rbac_roles/{rbac_role_id}
		GET /organizations/rbac_roles/{rbac_role_id}/permissions
		GET POST /organizations/service_accounts
		GET POST /organizations/service_accounts/{service_account_id}
		POST /organizations/service_accounts/{service_account_id}/archive
		GET POST /organizations/service_accounts/{service_account_id}/workspaces
		DELETE /organizations/service_accounts/{service_account_id}/workspaces/{workspace_id}
		GET /organizations/spend_limit_increase_requests
		GET /organizations/spend_limit_increase_requests/{spend_limit_increase_request_id}
		POST /organizations/spend_limit_increase_requests/{spend_limit_increase_request_id}/approve
		POST /organizations/spend_limit_increase_requests/{spend_limit_increase_request_id}/deny
		GET POST /organizations/spend_limits
		GET /organizations/spend_limits/effective
		DELETE GET /organizations/spend_limits/{spend_limit_id}
		GET POST /organizations/telemetry_destinations
		DELETE GET POST /organizations/telemetry_destinations/{destination_id}
		POST /organizations/telemetry_destinations/{destination_id}/test
		GET /organizations/telemetry_destinations/{destination_id}/workspaces
		DELETE POST /organizations/telemetry_destinations/{destination_id}/workspaces/{workspace_id}
		GET /organizations/users
		DELETE GET POST /organizations/users/{user_id}
		POST /organizations/users/{user_id}/sign_out
		GET POST /organizations/webhooks
		DELETE GET POST /organizations/webhooks/{webhook_endpoint_id}
		POST /organizations/webhooks/{webhook_endpoint_id}/regenerate_signing_secret
		GET POST /organizations/workspaces
		GET POST /organizations/workspaces/{workspace_id}
		POST /organizations/workspaces/{workspace_id}/archive
		GET POST /organizations/workspaces/{workspace_id}/members
		DELETE GET POST /organizations/workspaces/{workspace_id}/members/{user_id}
		GET /organizations/workspaces/{workspace_id}/rate_limits
		POST /organizations/workspaces/{workspace_id}/rate_limits/{rate_limit_id}
		GET POST /organizations/workspaces/{workspace_id}/service_accounts
		DELETE GET POST /organizations/workspaces/{workspace_id}/service_accounts/{service_account_id}
		GET POST /tunnels
		GET /tunnels/{tunnel_id}
		POST /tunnels/{tunnel_id}/archive
		GET POST /tunnels/{tunnel_id}/certificates
		GET /tunnels/{tunnel_id}/certificates/{certificate_id}
		POST /tunnels/{tunnel_id}/certificates/{certificate_id}/archive
		POST /tunnels/{tunnel_id}/reveal_token
		POST /tunnels/{tunnel_id}/rotate_token
		GET POST /user_profiles
		DELETE GET POST /user_profiles/{user_profile_id}
		POST /user_profiles/{user_profile_id}/action_urls
		POST /user_profiles/{user_profile_id}/enrollment_url
		GET POST /user_profiles/{user_profile_id}/providers/google/data_controls
	`,
	"nothing here bounds the older API of completions": `
		POST /complete
	`,
}
