package openai

import (
	"encoding/json"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// Name is the dialect's, in policies and receipts.
const Name = "openai"

// Dialect is the dialect of OpenAI and of the servers that speak like it.
type Dialect struct{}

var _ providers.Dialect = Dialect{}

// endpoints are the operations with a body that pass.
var endpoints = map[string]Endpoint{
	call.ChatCompletions: ChatCompletions,
	call.Completions:     Completions,
	call.Embeddings:      Embeddings,
	call.Moderations:     Moderations,

	call.Responses:        Responses,
	call.CompactResponses: CompactResponses,
	call.CountResponses:   CountResponses,

	call.GenerateImages: GenerateImages,
	call.EditImages:     EditImages,
	call.Speech:         Speech,
	call.Transcriptions: Transcriptions,
	call.Translations:   Translations,
}

// Name returns the dialect's name.
func (Dialect) Name() string { return Name }

// Routes returns the operations.
func (Dialect) Routes() []providers.Route { return routes }

// bases are what may stand before an operation's path, as the base URLs of clients have it: OpenAI's version,
// and where Google serves this API (https://ai.google.dev/gemini-api/docs/openai).
var bases = []string{"/v1beta/openai", "/v1/openai", "/v1"}

// Match finds the operation of a request, with or without one of the bases in front.
func (Dialect) Match(h providers.Head) (providers.Operation, bool) {
	for _, base := range bases {
		if rest, ok := strings.CutPrefix(h.Path, base); ok && strings.HasPrefix(rest, "/") {
			return table.Find(h.Method, rest)
		}
	}
	return table.Find(h.Method, h.Path)
}

// errNoKey says where the SDKs put a key.
var errNoKey = &call.Denial{
	Class: call.Unidentified, Code: "no_key", Retry: call.RetryNever,
	Message: "no API key: send one tenant key as Authorization: Bearer",
}

// Credential returns the one bearer token. Two are an error, whether they differ or not.
func (Dialect) Credential(h providers.Head) (string, error) {
	headers := h.Header["Authorization"]
	if len(headers) != 1 {
		return "", errNoKey
	}
	scheme, secret, _ := strings.Cut(headers[0], " ")
	key := strings.TrimSpace(secret)
	if !strings.EqualFold(scheme, "Bearer") || key == "" {
		return "", errNoKey
	}
	return key, nil
}

// payers are the bearer token, and what says whose it is: an organization and a project of the
// API, or the account of a login with ChatGPT.
var payers = []string{"Authorization", "Openai-Organization", "Openai-Project", "Chatgpt-Account-Id"}

// Payer returns who pays.
func (Dialect) Payer(h providers.Head) map[string][]string { return providers.Named(h.Header, payers) }

// Parse reads a body, the query, and the headers whose cost the body does not show.
func (Dialect) Parse(op providers.Operation, h providers.Head, body []byte) (providers.Request, error) {
	r, err := read(endpoints[op.Operation], h, body)
	if err != nil {
		return nil, err
	}
	if err := r.SeeQuery(h.Query); err != nil {
		return nil, err
	}
	r.SeeHeaders(h.Header)
	r.head = h
	return r, nil
}

// read reads a body as the head says that it is: a form, or JSON.
func read(e Endpoint, h providers.Head, body []byte) (*Request, error) {
	if !e.takesForms() {
		return Parse(e, body)
	}
	boundary, isForm, err := boundaryOf(h.Header["Content-Type"])
	switch {
	case err != nil:
		return nil, err
	case isForm:
		return parseForm(e, boundary, body)
	case e.wantsForm():
		return nil, wire.Errorf("", "the body has to be multipart/form-data, with the recording as its part file")
	}
	return Parse(e, body)
}

// modelList is the answer to GET /v1/models.
type modelList struct {
	Object string       `json:"object"`
	Data   []modelEntry `json:"data"`
}

type modelEntry struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

func entryOf(m providers.Model) modelEntry {
	return modelEntry{ID: m.ID, Object: "model", OwnedBy: m.Owner}
}

// Models lists models, or describes the one that the path names.
func (Dialect) Models(op providers.Operation, models []providers.Model) providers.Reply {
	if op.Params["model"] != "" {
		return jsonReply(entryOf(models[0]))
	}
	list := modelList{Object: "list", Data: make([]modelEntry, len(models))}
	for i, m := range models {
		list.Data[i] = entryOf(m)
	}
	return jsonReply(list)
}

func jsonReply(v any) providers.Reply {
	body, err := json.Marshal(v)
	if err != nil { // strings and numbers always can be
		return providers.Reply{Status: 500}
	}
	return providers.Reply{Status: 200, Header: jsonHeader(), Body: append(body, '\n')}
}

func jsonHeader() map[string][]string {
	return map[string][]string{"Content-Type": {"application/json"}}
}
