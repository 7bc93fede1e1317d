package policy

// The types below are the shape of the policy file. Their tags are the one
// list of its fields: what they do not name is refused.

type fileDoc struct {
	Generation scalar               `yaml:"generation"`
	Timezone   scalar               `yaml:"timezone"`
	Receipts   section[receiptsDoc] `yaml:"receipts"`
	CORS       section[corsDoc]     `yaml:"cors"`
	Upstreams  list[upstreamDoc]    `yaml:"upstreams"`
	Models     list[modelDoc]       `yaml:"models"`
	Aliases    list[aliasDoc]       `yaml:"aliases"`
	Free       scalar               `yaml:"free_upstream"`
	Plans      named[rulesDoc]      `yaml:"plans"`
	Tenants    list[tenantDoc]      `yaml:"tenants"`
}

type receiptsDoc struct {
	Sync scalar `yaml:"sync"`
}

type corsDoc struct {
	Origins words `yaml:"origins"`
}

type upstreamDoc struct {
	Name                scalar           `yaml:"name"`
	BaseURL             scalar           `yaml:"base_url"`
	APIKeyEnv           scalar           `yaml:"api_key_env"`
	APIKeyFile          scalar           `yaml:"api_key_file"`
	Credential          scalar           `yaml:"credential"`
	Provider            scalar           `yaml:"provider"`
	KeyHeader           scalar           `yaml:"key_header"`
	Dialects            list[dialectDoc] `yaml:"dialects"`
	CapField            scalar           `yaml:"cap_field"`
	StreamUsage         scalar           `yaml:"stream_usage"`
	CancelStopsBilling  scalar           `yaml:"cancel_stops_billing"`
	UnbilledStatuses    words            `yaml:"unbilled_statuses"`
	BilledStatuses      words            `yaml:"billed_statuses"`
	AttachAuthorization scalar           `yaml:"attach_authorization"`
	allowance
	ConnectTimeout   scalar `yaml:"connect_timeout"`
	KeepaliveTimeout scalar `yaml:"keepalive_timeout"`
	HeaderTimeout    scalar `yaml:"header_timeout"`
	IdleTimeout      scalar `yaml:"idle_timeout"`
}

// allowDoc has a list of each kind of call.ExtraNames.
type allowDoc struct {
	Members words `yaml:"members"`
	Parts   words `yaml:"parts"`
	Tools   words `yaml:"tools"`
	Tiers   words `yaml:"tiers"`
	Queries words `yaml:"queries"`
	Headers words `yaml:"headers"`
	Betas   words `yaml:"betas"`
}

// dialectDoc is one dialect of an upstream.
type dialectDoc struct {
	Name               scalar `yaml:"name"`
	BaseURL            scalar `yaml:"base_url"`
	CapField           scalar `yaml:"cap_field"`
	StreamUsage        scalar `yaml:"stream_usage"`
	CancelStopsBilling scalar `yaml:"cancel_stops_billing"`
	allowance
}

type modelDoc struct {
	Match            scalar            `yaml:"match"`
	Upstreams        words             `yaml:"upstreams"`
	Weights          words             `yaml:"weights"`
	DefaultOutputCap scalar            `yaml:"default_output_cap"`
	MaxOutputTokens  scalar            `yaml:"max_output_tokens"`
	ContextTokens    scalar            `yaml:"context_tokens"`
	MaxImageTokens   scalar            `yaml:"max_image_tokens"`
	MaxDocTokens     scalar            `yaml:"max_document_tokens"`
	Price            section[priceDoc] `yaml:"price"`
}

// rulesDoc is what a plan and a tenant may both say.
type rulesDoc struct {
	Project       scalar               `yaml:"project"`
	Environment   scalar               `yaml:"environment"`
	Mode          scalar               `yaml:"mode"`
	Capabilities  words                `yaml:"capabilities"`
	ActionKinds   words                `yaml:"action_kinds"`
	Models        section[accessDoc]   `yaml:"models"`
	Endpoints     section[accessDoc]   `yaml:"endpoints"`
	Tools         section[accessDoc]   `yaml:"tools"`
	HostedTools   list[hostedDoc]      `yaml:"hosted_tools"`
	WhenUnknown   scalar               `yaml:"when_response_unknown"`
	Upstreams     words                `yaml:"upstreams"`
	PerRequest    scalar               `yaml:"per_request_usd"`
	MinOutput     scalar               `yaml:"min_output_tokens"`
	WhenExhausted exhausted            `yaml:"when_exhausted"`
	WhenHeld      scalar               `yaml:"when_held"`
	WaitLimit     scalar               `yaml:"wait_limit"`
	OnDisconnect  scalar               `yaml:"on_disconnect"`
	DrainLimit    scalar               `yaml:"drain_limit"`
	OnKill        scalar               `yaml:"on_kill"`
	RedactAmounts scalar               `yaml:"redact_amounts"`
	RunLifetime   scalar               `yaml:"run_lifetime"`
	MaxRuns       scalar               `yaml:"max_runs"`
	MaxUsers      scalar               `yaml:"max_users"`
	Denials       scalar               `yaml:"denial_receipts_per_second"`
	RunsFrom      words                `yaml:"runs_from"`
	RunRequired   scalar               `yaml:"run_required"`
	UserField     scalar               `yaml:"user_field"`
	UserHeader    scalar               `yaml:"user_header"`
	UserRequired  scalar               `yaml:"user_required"`
	Replay        section[replayDoc]   `yaml:"replay"`
	MaxDepth      scalar               `yaml:"max_depth"`
	Concurrency   list[concurrencyDoc] `yaml:"concurrency"`
	ToolCalls     list[toolCallsDoc]   `yaml:"tool_calls"`
	Budgets       list[budgetDoc]      `yaml:"budgets"`
	Rates         list[rateDoc]        `yaml:"rates"`
}

type tenantDoc struct {
	Name scalar       `yaml:"name"`
	Plan scalar       `yaml:"plan"`
	Keys list[keyDoc] `yaml:"keys"`
	rulesDoc
}

type keyDoc struct {
	ID      scalar `yaml:"id"`
	SHA256  scalar `yaml:"sha256"`
	Trusted scalar `yaml:"trusted"`
}

type accessDoc struct {
	Allow words `yaml:"allow"`
	Deny  words `yaml:"deny"`
}

// hostedDoc is what is said of one kind of call.HostedKinds.
type hostedDoc struct {
	Kind   scalar `yaml:"kind"`
	When   scalar `yaml:"when_offered"`
	Calls  scalar `yaml:"calls"`
	Tokens scalar `yaml:"tokens"`
	Fee    scalar `yaml:"fee"`
}

type replayDoc struct {
	Window    scalar `yaml:"window"`
	Retries   scalar `yaml:"retries"`
	MaxNonces scalar `yaml:"max_nonces"`
	Required  scalar `yaml:"required"`
}

// limitDoc is what all limits have in common.
type limitDoc struct {
	Name   scalar `yaml:"name"`
	Scope  words  `yaml:"scope"`
	Models scalar `yaml:"models"`
}

type windowDoc struct {
	Window   scalar `yaml:"window"`
	Length   scalar `yaml:"length"`
	Timezone scalar `yaml:"timezone"`
}

type budgetDoc struct {
	limitDoc
	windowDoc
	Limit  scalar `yaml:"limit_usd"`
	Kind   scalar `yaml:"kind"`
	WarnAt words  `yaml:"warn_at"`
}

type rateDoc struct {
	limitDoc
	windowDoc
	Endpoint scalar `yaml:"endpoint"`
	Limit    scalar `yaml:"limit"`
}

type toolCallsDoc struct {
	limitDoc
	Window   scalar `yaml:"window"`
	Timezone scalar `yaml:"timezone"`
	Tool     scalar `yaml:"tool"`
	Limit    scalar `yaml:"limit"`
}

type concurrencyDoc struct {
	limitDoc
	Limit scalar `yaml:"limit"`
}
