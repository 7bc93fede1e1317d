package providers

import "github.com/tidwall/gjson"

// chatField reads a member of a chat completions body.
func (p *parser) chatField(name string) error {
	switch name {
	case "messages":
		return p.array(name, p.message)
	case "tools":
		return p.toolList(name, p.tool)
	case "functions":
		return p.toolList(name, func() error { return p.function("functions") })
	case "response_format":
		return p.responseFormat()
	case "modalities":
		return p.modalities()
	case "audio":
		_, err := p.skip() // voice and format; modalities says whether it is used
		return err
	case "prediction":
		return p.prediction()
	case "prompt", "input":
		return p.unboundedUnlessOff(name) // another endpoint's input
	}
	return p.unknown()
}

func (p *parser) message() error {
	p.load.messages++
	var m turn
	err := p.object("messages", func(name string) error {
		switch name {
		case "role":
			return p.noted(&m.role, "messages.role")
		case "tool_call_id":
			return p.noted(&m.callID, "messages.tool_call_id")
		case "refusal":
			return p.text("messages.refusal")
		case "name":
			p.load.names++
			return p.noted(&m.name, "messages.name")
		case "content":
			return p.content()
		case "audio":
			return p.unboundedUnlessOff(UnboundedAudioID)
		case "cache_control":
			p.CacheControl = true
		case "tool_calls":
			start := p.valueStart()
			err := p.values()
			m.calls = span{start, p.offset()}
			return err
		}
		return p.values() // function_call, and what other servers add
	})
	p.turn(&m)
	return err
}

func (p *parser) content() error {
	if p.dec.PeekKind() == '[' {
		return p.array("messages.content", p.part)
	}
	return p.text("messages.content")
}

// part reads a content part. Its type may come after its content, so each
// member speaks for itself and the type only has to be a known one.
func (p *parser) part() error {
	p.load.parts++
	if p.dec.PeekKind() == '"' { // some servers take plain strings
		return p.addText("messages.content")
	}
	known := false
	err := p.object("messages.content", func(name string) error {
		if name != "type" {
			return p.partField(name)
		}
		kind, err := p.optionalString("messages.content.type")
		known = kind == "text" || kind == "refusal" || kind == "image_url" || kind == "input_audio" || kind == "file"
		return err
	})
	if err == nil && !known {
		p.unbounded(UnboundedContentPart)
	}
	return err
}

func (p *parser) partField(name string) error {
	switch name {
	case "text", "refusal":
		return p.text("messages.content." + name)
	case "image_url":
		return p.image()
	case "input_audio":
		return p.unboundedUnlessOff(UnboundedInputAudio)
	case "file":
		return p.unboundedUnlessOff(UnboundedFile)
	case "prompt_cache_breakpoint", "cache_control":
		p.CacheControl = true
		_, err := p.skip()
		return err
	}
	return p.unboundedUnlessOff(UnboundedContentPart)
}

// image counts an image by its detail. Some servers take a bare URL.
func (p *parser) image() error {
	p.Images = true
	if p.dec.PeekKind() == '"' {
		p.load.images.add("")
		_, err := p.skip()
		return err
	}
	detail := ""
	err := p.object("messages.content.image_url", func(name string) error {
		if name != "detail" {
			_, err := p.skip()
			return err
		}
		var err error
		detail, err = p.optionalString("messages.content.image_url.detail")
		return err
	})
	p.load.images.add(detail)
	return err
}

// values reads any value and adds every string in it to the texts, and every
// name, number and bracket to the overhead.
func (p *parser) values() error {
	switch p.dec.PeekKind() {
	case '"':
		if err := p.addText("messages"); err != nil {
			return err
		}
		// Templates of other servers may write an argument string anew.
		p.load.rewritten += renderedBytes([]byte(p.Texts[len(p.Texts)-1]))
		return nil
	case '{':
		return p.object("messages", func(name string) error {
			p.load.rendered += int64(len(name)) + jsonMemberBytes
			return p.values()
		})
	case '[':
		return p.array("messages", p.values)
	}
	return p.rendered()
}

func (p *parser) toolList(param string, element func() error) error {
	if null, err := p.null(); null || err != nil {
		return err
	}
	start := p.valueStart()
	err := p.array(param, element)
	if err == nil {
		p.load.rendered += renderedBytes(p.scanner.body[start:p.offset()])
	}
	return err
}

// tool reads one entry of tools. Only functions and custom tools run at the
// client; any other kind runs, and is billed, at the provider.
func (p *parser) tool() error {
	known, before, kind := false, len(p.Tools), ""
	err := p.object("tools", func(name string) error {
		switch name {
		case "function", "custom":
			return p.function("tools." + name)
		case "type":
			var err error
			kind, err = p.optionalString("tools.type")
			known = kind == "function" || kind == "custom"
			return err
		case "cache_control":
			p.CacheControl = true
		}
		_, err := p.skip()
		return err
	})
	if err == nil && !known {
		p.unbounded(UnboundedServerTool)
		return p.offer("tools", kind)
	}
	if err == nil && len(p.Tools) == before {
		return p.offer("tools", "")
	}
	return err
}

// function notes the name of a function or custom tool.
func (p *parser) function(param string) error {
	p.load.tools++
	tool := ""
	err := p.object(param, func(name string) error {
		if name != "name" {
			p.CacheControl = p.CacheControl || name == "cache_control"
			_, err := p.skip()
			return err
		}
		var err error
		tool, err = p.optionalString(param + ".name")
		return err
	})
	if err != nil {
		return err
	}
	return p.offer(param, tool)
}

func (p *parser) responseFormat() error {
	if null, err := p.null(); null || err != nil {
		return err
	}
	p.load.formats++
	if err := p.expect("response_format", '{', "an object"); err != nil {
		return err
	}
	start := p.valueStart()
	err := p.rendered()
	if err == nil {
		format := gjson.ParseBytes(p.scanner.body[start:p.offset()])
		p.JSONSchema = memberOf(format, "type").Str == "json_schema"
	}
	return err
}

func (p *parser) modalities() error {
	if null, err := p.null(); null || err != nil {
		return err
	}
	return p.array("modalities", func() error {
		kind, err := p.optionalString("modalities")
		if kind == "audio" {
			p.AudioOutput = true
		} else if kind != "text" && kind != "" {
			p.unbounded(UnboundedModality)
		}
		return err
	})
}

// prediction reads the predicted output: a string, or parts of type text.
func (p *parser) prediction() error {
	if null, err := p.null(); null || err != nil {
		return err
	}
	p.PredictedOutput = true
	return p.object("prediction", func(name string) error {
		if name != "content" {
			_, err := p.skip()
			return err
		}
		return p.predicted()
	})
}

func (p *parser) predicted() error {
	const param = "prediction.content"
	if p.dec.PeekKind() != '[' {
		return p.predictedText()
	}
	return p.array(param, func() error {
		return p.object(param, func(name string) error {
			if name == "text" {
				return p.predictedText()
			}
			_, err := p.skip()
			return err
		})
	})
}

func (p *parser) predictedText() error {
	text, err := p.optionalString("prediction.content")
	if len(p.Prediction) == MaxTexts {
		return parseErrorf("prediction.content", "request has more than %d texts", MaxTexts)
	}
	if err == nil && text != "" {
		p.Prediction = append(p.Prediction, text)
	}
	return err
}
