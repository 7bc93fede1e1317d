package gemini

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// tool reads an entry of tools: functions, tools that run at the provider, or several of both.
func (p *parser) tool() error {
	start := p.ElementStart()
	if p.Peek() != '{' {
		return wire.Errorf("tools", "an element of tools must be an object")
	}
	var members []wire.Span
	err := p.Object("tools", func(name string) error {
		from := p.NameAt.Start
		p.member = len(members)
		err := toolLevel.Member(p, "tools", name)
		members = append(members, wire.Span{Start: from, End: p.Offset()})
		return err
	})
	at := p.Since(start)
	at.Start += strings.IndexByte(wire.View(p.Scanner.Body[start:at.End]), '{')
	p.entries = append(p.entries, entry{at, members})
	return err
}

// hostedKinds are the tools that run at the provider, by the API's names for them, and what policies call them.
var hostedKinds = map[string]string{
	"googleSearch": call.WebSearch, "googleSearchRetrieval": call.WebSearch, "enterpriseWebSearch": call.WebSearch,
	"urlContext": call.WebFetch, "codeExecution": call.CodeExecution, "fileSearch": call.FileSearch, "mcpServers": call.MCP,
	"googleMaps": "", "retrieval": "", "parallelAiSearch": "", "exaAiSearch": "",
}

var toolLevel = level("tools", func() map[string]reader {
	members := map[string]reader{
		"functionDeclarations": func(p *parser, name string) error { return p.each(name, p.declares) },
		"computerUse":          func(p *parser, name string) error { return p.computer(name) },
	}
	for name, kind := range hostedKinds {
		members[name] = func(p *parser, _ string) error {
			at, err := p.Skip()
			if value := p.Scanner.Body[at.Start:at.End]; err == nil && value[0] != 'n' {
				p.hosted = append(p.hosted, hostedTool{name, kind, len(p.entries), p.member})
				p.load.bytes += wire.RenderedBytes(value)
				err = p.offers(name)
			}
			return err
		}
	}
	return members
}())

// computer reads a tool that runs at the client, and whose functions the API defines.
func (p *parser) computer(name string) error {
	if null, err := p.Null(); null || err != nil {
		return err
	}
	p.load.declared += computerBytes
	if err := p.offers("computerUse"); err != nil {
		return err
	}
	return opaque(p, name)
}

// computerBytes are the declarations of its functions, at most.
const computerBytes = 16 << 10

// offers notes a tool that is offered.
func (p *parser) offers(name string) error {
	if len(p.tools) == providers.MaxTools {
		return wire.Errorf("tools", "the body has more than %d tools", providers.MaxTools)
	}
	p.tools = append(p.tools, name)
	return nil
}

// functionLevel is the declaration of a function, all of which becomes input.
var functionLevel = wire.NewLevel(skipped, map[string]reader{
	"name": func(p *parser, name string) error {
		p.Half = false
		if err := p.Word(&p.function, name); err != nil {
			return err
		}
		return p.Identity("tools.functionDeclarations.name")
	},
})

// declares reads the declaration of a function.
func (p *parser) declares() error {
	start := p.Offset()
	p.function = ""
	if err := functionLevel.Object(p, "tools.functionDeclarations"); err != nil {
		return err
	}
	p.load.functions++
	p.load.declared += wire.RenderedBytes(p.Scanner.Body[start:p.Offset()])
	return p.offers(strings.Clone(p.function))
}

// toolConfigLevel says how tools are to be called.
var toolConfigLevel = level("toolConfig", map[string]reader{
	"functionCallingConfig":            func(p *parser, name string) error { return p.calling(name) },
	"retrievalConfig":                  opaque,
	"includeServerSideToolInvocations": skipped,
})

// callingNames are the members of functionCallingConfig.
var callingNames = wire.NewVocabulary("mode", "allowedFunctionNames", "allowed_function_names")

// calling reads whether the model must call a function. It may be told of that.
func (p *parser) calling(place string) error {
	start := p.ValueStart()
	if err := opaque(p, place); err != nil {
		return err
	}
	config := gjson.ParseBytes(p.Scanner.Body[start:p.Offset()])
	if !config.IsObject() {
		return nil
	}
	var err error
	config.ForEach(func(name, value gjson.Result) bool {
		err = callingNames.Check(place, name.Str)
		p.forced = p.forced || name.Str == "mode" && value.Type != gjson.Null && value.Str != "AUTO" && value.Str != "NONE"
		return err == nil
	})
	return err
}
