package agents

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// The words of the provider, by which a client's output is known.
const (
	saidPlain = "The ledger is balanced today."
	saidAfter = "The tool has answered, all is well."
	saidImage = "The picture shows one pixel."
)

// structured is what the case "structured" asks for.
const structured = `{"city":"Paris","people":2}`

// aiderEdit makes the file "marker" as aider reads it: it has no tools, but edits in the text.
const aiderEdit = saidAfter + "\n\nmarker\n```\n<<<<<<< SEARCH\n=======\nhere\n>>>>>>> REPLACE\n```\n"

// caseMark is in every prompt, and says which case its request belongs to.
var caseMark = regexp.MustCompile(`aegis-case:([a-z-]+):([a-z0-9-]+)`)

// imageMark names the image that a client may look at.
var imageMark = regexp.MustCompile(`aegis-image:([a-zA-Z0-9/._-]+)`)

// script answers by the case that the prompt names, and the client's tools.
func (w *world) script(r *simulator.Request) simulator.Answer {
	if r.Model == "blocker" {
		var body struct{ User string }
		_ = json.Unmarshal(r.Body, &body) // the test's own
		w.blocked.hold(body.User)
		return simulator.Answer{OutputTokens: 1}
	}
	mark := caseMark.FindSubmatch(r.Body)
	if mark == nil {
		return simulator.Answer{Text: saidPlain}
	}
	c := clientNamed(string(mark[2]))
	switch string(mark[1]) {
	case "tool":
		return toolTurn(r, c)
	case "structured":
		return structuredTurn(r)
	case "image":
		return imageTurn(r, c)
	case "killed":
		return simulator.Answer{Text: strings.Repeat(saidPlain+" ", 20), Fault: simulator.HangMidStream}
	case "killed-tool":
		if call, ok := c.call(r.Tools); ok {
			call.Arguments = strings.Replace(call.Arguments, "{", `{"reason":"`+strings.Repeat(saidPlain, 3)+`",`, 1)
			return simulator.Answer{Call: call, Fault: simulator.HangMidStream}
		}
	}
	return simulator.Answer{Text: saidPlain}
}

// toolTurn asks for the client's harmless tool, and has the last word once it has its result.
func toolTurn(r *simulator.Request, c client) simulator.Answer {
	if c.Name == "aider" {
		return simulator.Answer{Text: aiderEdit}
	}
	call, offered := c.call(r.Tools)
	if r.AfterTool || !offered {
		return simulator.Answer{Text: saidAfter}
	}
	return simulator.Answer{Call: call}
}

// structuredTurn answers with the JSON that was asked for, as text where the request has a
// format, else by the tool that stands for one.
func structuredTurn(r *simulator.Request) simulator.Answer {
	at := slices.IndexFunc(r.Tools, func(name string) bool {
		return strings.Contains(strings.ToLower(name), "output") || strings.Contains(name, "final_result") || name == "json" || name == "City"
	})
	if at < 0 || bytes.Contains(r.Body, []byte(`"json_schema"`)) || r.AfterTool {
		return simulator.Answer{Text: structured}
	}
	return simulator.Answer{Call: simulator.ToolCall{Name: r.Tools[at], Arguments: structured}}
}

// imageTurn says that it saw an image, if there is one.
func imageTurn(r *simulator.Request, c client) simulator.Answer {
	for _, mark := range []string{`"input_image"`, `"image_url"`, `"type":"image"`, `"type": "image"`, `"inlineData"`} {
		if bytes.Contains(r.Body, []byte(mark)) {
			return simulator.Answer{Text: saidImage}
		}
	}
	if c.look != nil && !r.AfterTool {
		look := *c.look
		look.Arguments = strings.ReplaceAll(look.Arguments, "$IMAGE", string(imageMark.FindSubmatch(r.Body)[1]))
		return simulator.Answer{Call: look}
	}
	return simulator.Answer{Text: "There is no picture."}
}
