package gemini

import (
	"flag"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers/providertest"
)

var _ = flag.Bool("update", false, "write the section of docs/dialects.md anew")

// Ways in which what a name brings is bounded.
const (
	asText    = "text: at most a token a byte"
	asJSON    = "its JSON as any template may write it, at most a token a byte"
	noInput   = "nothing: it is no input, and makes nothing dearer"
	asPieces  = "by what lies in it, below"
	asSchema  = "its JSON as any template may write it, twice"
	atContext = "the model's whole context"
	other     = "denied: another model may answer"
)

// how says of every name that the dialect reads how what it brings is bounded. A test holds it against the levels.
func how() []providertest.Explained {
	return []providertest.Explained{
		{Title: "Members of the body that generates", Known: namesOf(contentLevel.Members), How: map[string]string{
			"contents": asPieces, "systemInstruction": asPieces, "tools": asPieces, "toolConfig": asPieces, "generationConfig": asPieces,
			"cachedContent": atContext, "continuationToken": atContext + ": the beginning of the answer is input too. Each hop is a request of its own",
			"model": "it must be that of the path, and is renamed with it", "serviceTier": "`flex` and `priority` at `provider: google` at the prices of these; others the policy must admit as `tiers`. What the answer says was served is charged",
			"safetySettings": noInput, "labels": noInput, "store": noInput,
			"modelSelectionConfig": other, "generateContentRequest": "denied: it is the body of another operation",
		}},
		{Title: "Members of `generationConfig`", Known: namesOf(configLevel.Members), How: map[string]string{
			"maxOutputTokens": "the output of each candidate, thoughts among it: held, inserted where it is absent, null or 0, and lowered by a clamp. Of Gemini 4 a request writes at most 32,768 tokens, or 65,536 streamed, whatever a larger cap says",
			"candidateCount":  "it multiplies the output, 8 at most; above 1 it needs the capability `multiple_choices`",
			"thinkingConfig":  "nothing: it bounds nothing, and thoughts stay in `maxOutputTokens`", "imageConfig": "its images by `maxOutputTokens`",
			"responseModalities": "`maxOutputTokens` at the dearest of the model's prices for what is asked for: `TEXT`, `IMAGE`, `AUDIO`; any other is denied. Models whose names say so write images or sound unasked",
			"responseSchema":     asSchema, "responseJsonSchema": asSchema, "_responseJsonSchema": asSchema, "responseFormat": asSchema,
			"responseLogprobs": "nothing; it needs the capability `logprobs`", "continuationToken": atContext, "routingConfig": other, "modelSelectionConfig": other, "speechConfig": asJSON,
			"mediaResolution": "nothing less: an image is held at the most of any", "audioTimestamp": noInput, "temperature": noInput, "topP": noInput, "topK": noInput, "seed": noInput, "stopSequences": noInput,
			"presencePenalty": noInput, "frequencyPenalty": noInput, "responseMimeType": noInput, "logprobs": noInput, "enableEnhancedCivicAnswers": noInput,
			"enableAffectiveDialog": noInput, "automaticFunctionCalling": noInput,
		}},
		{Title: "Members of a content", Known: namesOf(contentsLevel.Members), How: map[string]string{"role": "its bytes", "parts": asPieces}},
		{Title: "Members of a part", Known: namesOf(partLevel.Members), How: map[string]string{
			"text": asText, "thought": noInput, "thoughtSignature": asJSON + ": what was thought is no longer", "functionCall": asJSON + ", and 64 tokens",
			"functionResponse": "its members, and 64 tokens; media in it as those of a content",
			"inlineData":       "an image by `max_image_tokens`, or 2,304 tokens of models since Gemini 3, or before by its size, 258 tokens a tile (of a model whose name tells no version both together), and where that cannot be read " + atContext + "; a text by its bytes; a WAV file of plain samples by its length, 32 tokens a second; anything else by `max_document_tokens`, or else " + atContext + ". Images, documents and films need the capability `images`",
			"fileData":         "`max_document_tokens` of the model, or else " + atContext, "videoMetadata": "as a film", "mediaResolution": asJSON,
			"toolCall": asJSON, "toolResponse": asJSON, "executableCode": asJSON, "codeExecutionResult": asJSON,
		}},
		{Title: "Members of `functionResponse`", Known: namesOf(responseLevel.Members), How: map[string]string{
			"id": "its bytes", "name": "its bytes", "response": asJSON, "parts": asPieces, "willContinue": noInput, "scheduling": noInput,
		}},
		{Title: "Members of an entry of `tools`", Known: namesOf(toolLevel.Members), How: map[string]string{
			"functionDeclarations": "its JSON twice, 32 tokens each, and 512", "computerUse": "32,768 tokens: its functions are the API's",
			"googleSearch":          "as `hosted_tools` say of `web_search`. Priced: `calls` fees, of Gemini 2 one, and a round of the model more for each call, with the whole `maxOutputTokens`, which reads the request, what was written and the results again. The API has no cap of calls, and nothing is written into the request. The fee by `groundingMetadata.webSearchQueries`",
			"googleSearchRetrieval": "as `googleSearch`", "enterpriseWebSearch": "denied or taken out, as `hosted_tools` say of `web_search`",
			"urlContext": "as `hosted_tools` say of `web_fetch`", "codeExecution": "denied or taken out, as `hosted_tools` say of `code_execution`",
			"fileSearch": "denied or taken out, as `hosted_tools` say of `file_search`", "mcpServers": "denied or taken out, as `hosted_tools` say of `mcp`",
			"googleMaps": "denied", "retrieval": "denied", "parallelAiSearch": "denied", "exaAiSearch": "denied",
		}},
		{Title: "Members of `toolConfig`", Known: namesOf(toolConfigLevel.Members), How: map[string]string{
			"functionCallingConfig": asJSON, "retrievalConfig": asJSON, "includeServerSideToolInvocations": noInput,
		}},
		{Title: "Members of what is to be embedded", Known: namesOf(requestsLevel.Members), How: map[string]string{
			"content": "as a content above; each has the model's context to itself", "model": "it must be that of the path, and is renamed with it", "title": asText, "taskType": asJSON,
			"outputDimensionality": noInput, "autoTruncate": noInput, "embedContentConfig": asJSON,
		}},
	}
}

// namesOf are names in the spelling of the API's reference.
func namesOf(members map[string]reader) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(members)), func(name string) bool { return strings.Contains(strings.TrimPrefix(name, "_"), "_") })
}

// TestDialectPage: docs/dialects.md says of every name that is read how it is bounded.
func TestDialectPage(t *testing.T) {
	providertest.Page(t, "../../docs/dialects.md", "<!-- gemini: go test ./providers/gemini -run TestDialectPage -update -->\n", "<!-- end of gemini -->", providertest.Explain(t, how())+"\n")
}
