package gemini

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// verbs are the methods of a model that pass.
var verbs = []providers.Route{
	{Method: "POST", Path: ":generateContent", Kind: providers.Governed, Operation: generate},
	{Method: "POST", Path: ":streamGenerateContent", Kind: providers.Governed, Operation: stream},
	{Method: "POST", Path: ":embedContent", Kind: providers.Governed, Operation: call.EmbedContent},
	{Method: "POST", Path: ":batchEmbedContents", Kind: providers.Governed, Operation: call.BatchEmbedContents},
	{Method: "POST", Path: ":countTokens", Kind: providers.Free, Operation: call.CountContents},
}

// routes are the API's operations, by their paths behind the version
// (https://ai.google.dev/api).
var routes = slices.Concat(ofModels("/models/{model}"), ofModels("/tunedModels/{model}"), ofModels("/dynamic/{model}"), []providers.Route{
	{Method: "GET", Path: "/models", Kind: providers.Listed, Operation: call.ListModels},
	{Method: "GET", Path: "/models/{model}", Kind: providers.Listed, Operation: call.DescribeModel},
}, deniedRoutes())

// ofModels are the methods of models that have such a path.
func ofModels(path string) (list []providers.Route) {
	for _, verb := range verbs {
		verb.Path = path + verb.Path
		list = append(list, verb)
	}
	return list
}

var table = providers.NewTable(routes)

// Why operations are denied, as what follows "is denied: ".
const (
	whyUnbounded = "nothing here bounds yet what it costs"
	whyStored    = "all tenants share the upstream's key, and it reaches what others have stored"
	whyStoring   = "what it stores becomes the input of calls whose bodies do not show it"
	whyByTime    = "it is billed by the hour, long after the request"
	whyBatch     = "a batch is billed long after it was taken, for what a stored file has"
	whyRuns      = "it runs models and tools by itself, over what is stored"
	whySocket    = "it opens a WebSocket for many answers, and nothing caps them; send a request for each"
	whySecret    = "it makes a secret by which its holder calls the upstream past this proxy"
	whyOlder     = "it is an older way to ask, whose costs are in no list"
	whyMany      = "it takes several requests in one body"
	whyTraining  = "training is billed by what stored files have, and makes models that all tenants share"
)

// denials are the operations that are denied, each with its methods in front.
var denials = []struct {
	why   string
	paths []string
}{
	{whyUnbounded, []string{
		"POST /models/{model}:predict", "POST /models/{model}:predictLongRunning",
		"POST /tunedModels/{model}:predict", "POST /tunedModels/{model}:predictLongRunning", "POST /interactions", "POST /interactions/{id}/cancel", "GET DELETE /interactions/{id}",
	}},
	{whyBatch, []string{
		"POST /models/{model}:batchGenerateContent", "POST /models/{model}:asyncBatchEmbedContent",
		"POST /tunedModels/{model}:batchGenerateContent", "POST /tunedModels/{model}:asyncBatchEmbedContent",
		"GET POST /batches", "GET DELETE /batches/{id}", "POST /batches/{id}:cancel",
		"PATCH /batches/{id}:updateGenerateContentBatch", "PATCH /batches/{id}:updateEmbedContentBatch",
	}},
	{whyOlder, []string{
		"POST /models/{model}:generateAnswer", "POST /models/{model}:generateText", "POST /models/{model}:generateMessage",
		"POST /models/{model}:embedText", "POST /models/{model}:batchEmbedText", "POST /models/{model}:countTextTokens",
		"POST /models/{model}:countMessageTokens", "POST /tunedModels/{model}:generateText",
	}},
	{whyMany, []string{"POST /batch"}},
	{whyByTime, []string{"POST /cachedContents", "PATCH /cachedContents/{id}"}},
	{whyStored, []string{
		"GET /cachedContents", "GET DELETE /cachedContents/{id}",
		"GET /files", "GET DELETE /files/{id}", "GET /files/{id}:download",
		"GET /fileSearchStores", "GET DELETE /fileSearchStores/{id}", "GET /fileSearchStores/{id}/documents",
		"GET DELETE /fileSearchStores/{id}/documents/{document}",
		"GET /operations", "GET DELETE /operations/{id}", "GET /models/{model}/operations", "GET /models/{model}/operations/{id}",
		"GET /fileSearchStores/{id}/operations/{operation}", "GET /fileSearchStores/{id}/upload/operations/{operation}",
		"GET /generatedFiles", "GET /generatedFiles/{id}", "GET /generatedFiles/{id}:download", "GET /generatedFiles/{id}/operations/{operation}",
		"GET /corpora", "GET DELETE PATCH /corpora/{id}", "GET POST /corpora/{id}/permissions", "GET DELETE PATCH /corpora/{id}/permissions/{permission}",
		"GET POST /tunedModels/{model}/permissions", "GET DELETE PATCH /tunedModels/{model}/permissions/{permission}",
		"GET /tunedModels", "GET /tunedModels/{model}", "GET /tunedModels/{model}/operations", "GET /tunedModels/{model}/operations/{id}",
	}},
	{whyStoring, []string{
		"POST /upload/{version}/files", "POST /files", "POST /files:register",
		"POST /corpora", "POST /fileSearchStores", "POST /fileSearchStores/{id}:importFile", "POST /upload/{version}/fileSearchStores/{id}:uploadToFileSearchStore",
		"POST /fileSearchStores/{id}:uploadToFileSearchStore",
	}},
	{whyTraining, []string{"POST /tunedModels", "PATCH DELETE /tunedModels/{model}", "POST /tunedModels/{model}:transferOwnership"}},
	{whyRuns, []string{
		"GET POST /agents", "GET PATCH DELETE /agents/{id}", "GET POST /environments", "GET PATCH DELETE /environments/{id}",
		"GET POST /triggers", "GET PATCH DELETE /triggers/{id}", "GET POST /decisions", "GET PATCH DELETE /decisions/{id}",
		"GET POST /voices", "GET PATCH DELETE /voices/{id}", "GET POST /webhooks", "GET PATCH DELETE /webhooks/{id}",
	}},
	{whySecret, []string{"POST /auth_tokens"}},
	{whySocket, []string{"GET /interactions/live", "GET /ws/{service}"}},
}

// deniedRoutes are the routes of those, words before names.
func deniedRoutes() (list []providers.Route) {
	for _, d := range denials {
		for _, line := range d.paths {
			fields := strings.Fields(line)
			path := fields[len(fields)-1]
			for _, method := range fields[:len(fields)-1] {
				list = append(list, providers.Route{Method: method, Path: path, Kind: providers.Denied, Operation: strings.TrimPrefix(path, "/"), Why: d.why})
			}
		}
	}
	slices.SortFunc(list, func(a, b providers.Route) int {
		return cmp.Or(strings.Compare(spelled(a.Path), spelled(b.Path)), strings.Compare(a.Method, b.Method))
	})
	return list
}

// spelled is a path such that names come behind words, and those without a method behind those with one.
func spelled(path string) string {
	path = strings.ReplaceAll(strings.ReplaceAll(path, "}:", "}!"), "{", "\x7f")
	return path + "~"
}

// versions are those of the API; the second is what a request without one is sent to.
var versions = []string{"v1", defaultVersion, "v1alpha"}

const defaultVersion = "v1beta"

// Match finds the operation of a request. Other APIs have paths that this one has too: then
// the version tells them apart, the method of a model, or a header that its clients send.
func (Dialect) Match(h providers.Head) (providers.Operation, bool) {
	version, path := versioned(h.Path)
	op, ok := table.Find(h.Method, path)
	if ok && !own(version, &op, h) {
		return providers.Operation{}, false
	}
	return op, ok
}

// versioned cuts the version off a path, and writes the path as the API's reference does: a model may be named
// with its collection in front, and slashes and colons may be escaped.
func versioned(escaped string) (version, path string) {
	path = unescape.Replace(escaped)
	if rest, ok := strings.CutPrefix(path, "/ws/"); ok && strings.HasPrefix(rest, "google.") {
		return defaultVersion, "/ws/" + strings.ReplaceAll(rest, "/", ".")
	}
	if rest, ok := strings.CutPrefix(path, "/upload/"); ok {
		return defaultVersion, "/upload/" + rest
	}
	for _, v := range versions {
		if rest, ok := strings.CutPrefix(path, "/"+v+"/"); ok {
			version, path = v, "/"+rest
			break
		}
	}
	for _, twice := range []string{"/models/models/", "/models/tunedModels/"} {
		if strings.HasPrefix(path, twice) {
			path = path[len("/models"):]
		}
	}
	return version, path
}

var unescape = strings.NewReplacer("%3A", ":", "%3a", ":", "%2F", "/", "%2f", "/")

// own reports whether a request is no other API's. A colon alone does not tell: names of other APIs' models have some.
func own(version string, op *providers.Operation, h providers.Head) bool {
	if version != "" && version != "v1" || strings.Contains(op.Path, "}:") {
		return true
	}
	for _, header := range [...]string{keyHeader, "X-Goog-Api-Client"} {
		if len(h.Header[header]) > 0 {
			return true
		}
	}
	return len(keysInQuery(h.Query)) > 0
}

// collected is a model with its collection in front.
func collected(model string) string {
	if strings.Contains(model, "/") {
		return model
	}
	return "models/" + model
}

// pathOf is where a method of a model is, behind the version.
func pathOf(model, verb string) string {
	collection, name, _ := strings.Cut(collected(model), "/")
	return "/" + collection + "/" + url.PathEscape(name) + ":" + verb
}
