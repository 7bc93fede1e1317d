package openai

import (
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// routes are all operations of the API, by their paths behind the version: what passes,
// what the policy answers, and what is denied. What is in none the API does not have.
var routes = slices.Concat([]providers.Route{
	{Method: "POST", Path: "/chat/completions", Kind: providers.Governed, Operation: call.ChatCompletions},
	{Method: "POST", Path: "/completions", Kind: providers.Governed, Operation: call.Completions},
	{Method: "POST", Path: "/embeddings", Kind: providers.Governed, Operation: call.Embeddings},
	{Method: "POST", Path: "/images/generations", Kind: providers.Governed, Operation: call.GenerateImages},
	{Method: "POST", Path: "/images/edits", Kind: providers.Governed, Operation: call.EditImages},
	{Method: "POST", Path: "/audio/speech", Kind: providers.Governed, Operation: call.Speech},
	{Method: "POST", Path: "/audio/transcriptions", Kind: providers.Governed, Operation: call.Transcriptions},
	{Method: "POST", Path: "/audio/translations", Kind: providers.Governed, Operation: call.Translations},
	{Method: "POST", Path: "/moderations", Kind: providers.Free, Operation: call.Moderations},
	{Method: "POST", Path: "/responses", Kind: providers.Governed, Operation: call.Responses},
	{Method: "POST", Path: "/responses/compact", Kind: providers.Governed, Operation: call.CompactResponses},
	{Method: "POST", Path: "/responses/input_tokens", Kind: providers.Free, Operation: call.CountResponses},
	{Method: "GET", Path: "/models", Kind: providers.Listed, Operation: call.ListModels},
	{Method: "GET", Path: "/models/{model...}", Kind: providers.Listed, Operation: call.DescribeModel},
}, deniedRoutes())

var table = providers.NewTable(routes)

// denied is a list of operations that are denied for one reason.
type denied struct {
	why   string
	paths []string // each with its methods in front
}

// Why operations are denied, as what follows "is denied: ".
const (
	whyUnbounded = "nothing here bounds yet what it costs"
	whyStored    = "all tenants share the upstream's key, and it reaches what others have stored"
	whyStoring   = "what it stores becomes the input of calls whose bodies do not show it"
	whyBatch     = "a batch is billed long after it was taken, for what a stored file has"
	whyTraining  = "training is billed by what stored files have, and makes models that all tenants share"
	whyEvals     = "it runs models over stored data that no body shows"
	whyRuns      = "it runs models and tools by itself, over what is stored"
	whyByTime    = "it is billed by the minute or the day, long after the request"
	whySocket    = "it opens a WebSocket for many responses, and each has to be bounded by itself; send POST /responses"
	whySession   = "a session is billed as long as it lasts, past this proxy"
	whySecret    = "it makes a secret by which its holder calls the upstream past this proxy"
	whyAdmin     = "it administers the account that all tenants share, its keys, limits and bills"
	whyShared    = "it changes what all tenants share"
)

// socketPath is where the Responses API takes WebSockets
// (https://platform.openai.com/docs/guides/websocket-mode).
const socketPath = "/responses"

// denials are the operations that are denied.
var denials = []denied{
	{whyUnbounded, []string{
		"POST /images/variations",
		"POST /content_provenance_checks",
		"POST /videos",
		"POST /videos/characters",
		"POST /videos/edits",
		"POST /videos/extensions",
		"POST /videos/{video_id}/remix",
	}},
	{whyStored, []string{
		"GET /chat/completions",
		"GET POST DELETE /chat/completions/{completion_id}",
		"GET /chat/completions/{completion_id}/messages",
		"GET DELETE /responses/{response_id}",
		"POST /responses/{response_id}/cancel",
		"GET /responses/{response_id}/input_items",
		"GET POST DELETE /conversations/{conversation_id}",
		"GET /conversations/{conversation_id}/items",
		"GET DELETE /conversations/{conversation_id}/items/{item_id}",
		"GET /files",
		"GET DELETE /files/{file_id}",
		"GET /files/{file_id}/content",
		"POST /uploads/{upload_id}/cancel",
		"GET /batches",
		"GET /batches/{batch_id}",
		"POST /batches/{batch_id}/cancel",
		"GET /videos",
		"GET /videos/characters/{character_id}",
		"GET DELETE /videos/{video_id}",
		"GET /videos/{video_id}/content",
		"GET /skills",
		"GET POST DELETE /skills/{skill_id}",
		"GET /skills/{skill_id}/content",
		"GET /skills/{skill_id}/versions",
		"GET DELETE /skills/{skill_id}/versions/{version}",
		"GET /skills/{skill_id}/versions/{version}/content",
		"GET /vector_stores",
		"GET POST DELETE /vector_stores/{vector_store_id}",
		"GET /vector_stores/{vector_store_id}/file_batches/{batch_id}",
		"POST /vector_stores/{vector_store_id}/file_batches/{batch_id}/cancel",
		"GET /vector_stores/{vector_store_id}/file_batches/{batch_id}/files",
		"GET /vector_stores/{vector_store_id}/files",
		"GET POST DELETE /vector_stores/{vector_store_id}/files/{file_id}",
		"GET /vector_stores/{vector_store_id}/files/{file_id}/content",
		"GET /containers",
		"GET DELETE /containers/{container_id}",
		"GET /containers/{container_id}/files",
		"GET DELETE /containers/{container_id}/files/{file_id}",
		"GET /containers/{container_id}/files/{file_id}/content",
		"GET /evals",
		"GET POST DELETE /evals/{eval_id}",
		"GET /evals/{eval_id}/runs",
		"GET POST DELETE /evals/{eval_id}/runs/{run_id}",
		"GET /evals/{eval_id}/runs/{run_id}/output_items",
		"GET /evals/{eval_id}/runs/{run_id}/output_items/{output_item_id}",
		"GET /fine_tuning/jobs",
		"GET /fine_tuning/jobs/{fine_tuning_job_id}",
		"POST /fine_tuning/jobs/{fine_tuning_job_id}/cancel",
		"GET /fine_tuning/jobs/{fine_tuning_job_id}/checkpoints",
		"GET /fine_tuning/jobs/{fine_tuning_job_id}/events",
		"POST /fine_tuning/jobs/{fine_tuning_job_id}/pause",
		"GET /assistants",
		"GET POST DELETE /assistants/{assistant_id}",
		"GET POST DELETE /threads/{thread_id}",
		"GET /threads/{thread_id}/messages",
		"GET POST DELETE /threads/{thread_id}/messages/{message_id}",
		"GET /threads/{thread_id}/runs",
		"GET POST /threads/{thread_id}/runs/{run_id}",
		"POST /threads/{thread_id}/runs/{run_id}/cancel",
		"GET /threads/{thread_id}/runs/{run_id}/steps",
		"GET /threads/{thread_id}/runs/{run_id}/steps/{step_id}",
		"GET /chatkit/threads",
		"GET DELETE /chatkit/threads/{thread_id}",
		"GET /chatkit/threads/{thread_id}/items",
		"POST /chatkit/sessions/{session_id}/cancel",
		"GET /audio/voice_consents",
		"GET POST DELETE /audio/voice_consents/{consent_id}",
	}},
	{whyStoring, []string{
		"POST /conversations",
		"POST /conversations/{conversation_id}/items",
		"POST /files",
		"POST /uploads",
		"POST /uploads/{upload_id}/complete",
		"POST /uploads/{upload_id}/parts",
		"POST /skills",
		"POST /skills/{skill_id}/versions",
		"POST /assistants",
		"POST /threads",
		"POST /threads/{thread_id}/messages",
	}},
	{whyBatch, []string{"POST /batches"}},
	{whyTraining, []string{
		"POST /fine_tuning/jobs",
		"POST /fine_tuning/jobs/{fine_tuning_job_id}/resume",
	}},
	{whyEvals, []string{
		"POST /evals",
		"POST /evals/{eval_id}/runs",
		"POST /fine_tuning/alpha/graders/run",
		"POST /fine_tuning/alpha/graders/validate",
	}},
	{whyRuns, []string{
		"POST /threads/runs",
		"POST /threads/{thread_id}/runs",
		"POST /threads/{thread_id}/runs/{run_id}/submit_tool_outputs",
	}},
	{whyByTime, []string{
		"POST /containers",
		"POST /containers/{container_id}/files",
		"POST /vector_stores",
		"POST /vector_stores/{vector_store_id}/file_batches",
		"POST /vector_stores/{vector_store_id}/files",
		"POST /vector_stores/{vector_store_id}/search",
	}},
	{whySocket, []string{"GET " + socketPath}},
	{whySession, []string{
		"POST /realtime/calls",
		"POST /realtime/calls/{call_id}/accept",
		"POST /realtime/calls/{call_id}/hangup",
		"POST /realtime/calls/{call_id}/refer",
		"POST /realtime/calls/{call_id}/reject",
	}},
	{whySecret, []string{
		"POST /realtime/client_secrets",
		"POST /realtime/sessions",
		"POST /realtime/transcription_sessions",
		"POST /realtime/translations/client_secrets",
		"POST /chatkit/sessions",
	}},
	{whyShared, []string{
		"DELETE /models/{model...}",
		"POST /audio/voices",
		"POST /audio/voice_consents",
	}},
	{whyAdmin, []string{
		"GET POST /fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions",
		"DELETE /fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions/{permission_id}",
		"GET POST /organization/admin_api_keys",
		"GET DELETE /organization/admin_api_keys/{key_id}",
		"GET /organization/audit_logs",
		"GET POST /organization/certificates",
		"POST /organization/certificates/activate",
		"POST /organization/certificates/deactivate",
		"GET POST DELETE /organization/certificates/{certificate_id}",
		"GET /organization/costs",
		"GET POST /organization/data_retention",
		"GET POST /organization/groups",
		"GET POST DELETE /organization/groups/{group_id}",
		"GET POST /organization/groups/{group_id}/roles",
		"GET DELETE /organization/groups/{group_id}/roles/{role_id}",
		"GET POST /organization/groups/{group_id}/users",
		"GET DELETE /organization/groups/{group_id}/users/{user_id}",
		"GET POST /organization/invites",
		"GET DELETE /organization/invites/{invite_id}",
		"GET POST /organization/projects",
		"GET POST /organization/projects/{project_id}",
		"GET /organization/projects/{project_id}/api_keys",
		"GET DELETE /organization/projects/{project_id}/api_keys/{api_key_id}",
		"POST /organization/projects/{project_id}/archive",
		"GET /organization/projects/{project_id}/certificates",
		"POST /organization/projects/{project_id}/certificates/activate",
		"POST /organization/projects/{project_id}/certificates/deactivate",
		"GET POST /organization/projects/{project_id}/data_retention",
		"GET POST /organization/projects/{project_id}/groups",
		"GET DELETE /organization/projects/{project_id}/groups/{group_id}",
		"GET POST /organization/projects/{project_id}/hosted_tool_permissions",
		"GET POST DELETE /organization/projects/{project_id}/model_permissions",
		"GET /organization/projects/{project_id}/rate_limits",
		"POST /organization/projects/{project_id}/rate_limits/{rate_limit_id}",
		"GET POST /organization/projects/{project_id}/service_accounts",
		"GET POST DELETE /organization/projects/{project_id}/service_accounts/{service_account_id}",
		"POST /organization/projects/{project_id}/service_accounts/{service_account_id}/api_keys",
		"GET POST /organization/projects/{project_id}/spend_alerts",
		"GET POST DELETE /organization/projects/{project_id}/spend_alerts/{alert_id}",
		"GET POST DELETE /organization/projects/{project_id}/spend_limit",
		"GET POST /organization/projects/{project_id}/users",
		"GET POST DELETE /organization/projects/{project_id}/users/{user_id}",
		"GET POST /organization/roles",
		"GET POST DELETE /organization/roles/{role_id}",
		"GET POST /organization/spend_alerts",
		"GET POST DELETE /organization/spend_alerts/{alert_id}",
		"GET POST DELETE /organization/spend_limit",
		"GET /organization/usage/audio_speeches",
		"GET /organization/usage/audio_transcriptions",
		"GET /organization/usage/code_interpreter_sessions",
		"GET /organization/usage/completions",
		"GET /organization/usage/embeddings",
		"GET /organization/usage/file_search_calls",
		"GET /organization/usage/images",
		"GET /organization/usage/moderations",
		"GET /organization/usage/vector_stores",
		"GET /organization/usage/web_search_calls",
		"GET /organization/users",
		"GET POST DELETE /organization/users/{user_id}",
		"GET POST /organization/users/{user_id}/roles",
		"GET DELETE /organization/users/{user_id}/roles/{role_id}",
		"GET POST /projects/{project_id}/groups/{group_id}/roles",
		"GET DELETE /projects/{project_id}/groups/{group_id}/roles/{role_id}",
		"GET POST /projects/{project_id}/roles",
		"GET POST DELETE /projects/{project_id}/roles/{role_id}",
		"GET POST /projects/{project_id}/users/{user_id}/roles",
		"GET DELETE /projects/{project_id}/users/{user_id}/roles/{role_id}",
	}},
}

// deniedRoutes are the routes of the denials. Where two paths may be the same one the
// one with fewer names goes first.
func deniedRoutes() (list []providers.Route) {
	for _, d := range slices.Concat(denials, newer) {
		for _, line := range d.paths {
			words := strings.Fields(line)
			path := words[len(words)-1]
			for _, method := range words[:len(words)-1] {
				list = append(list, providers.Route{
					Method: method, Path: path, Kind: providers.Denied, Operation: strings.TrimPrefix(path, "/"), Why: d.why,
				})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b providers.Route) int {
		return strings.Count(a.Path, "{") - strings.Count(b.Path, "{")
	})
	return list
}
