"""Runs one scenario of the Responses API with the official Python SDK; see ../README.md."""

import json
import sys

import openai
import pydantic

from client import MAX_TOKENS, MESSAGES, MODEL, headers, refused

CAP = max(MAX_TOKENS, 16)  # the least that the API takes
WEATHER = {
    "type": "function",
    "name": "weather",
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


class Weather(pydantic.BaseModel):
    city: str


def create(client, **more):
    raw = client.responses.with_raw_response.create(
        **{"model": MODEL, "input": MESSAGES, "max_output_tokens": CAP} | more
    )
    return raw, raw.parse()


def answered(answer):
    return {
        "content": answer.output_text,
        "finish_reason": answer.status,
        "model": answer.model,
        "usage": usage(answer.usage),
    }


def usage(u):
    return {
        "prompt_tokens": u.input_tokens,
        "completion_tokens": u.output_tokens,
        "total_tokens": u.total_tokens,
    }


def run_chat(client):
    raw, answer = create(client)
    return raw, answered(answer)


def run_stream(client):
    raw, stream = create(client, stream=True)
    seen = {"content": "", "chunks": 0}
    for event in stream:
        seen["chunks"] += 1
        if event.type == "response.output_text.delta":
            seen["content"] += event.delta
        if event.type in ("response.completed", "response.incomplete"):
            seen |= answered(event.response) | {"content": seen["content"]}
    return raw, seen


def run_tools(client):
    """A round trip: the call of a tool, and an answer to its result."""
    raw, answer = create(client, max_output_tokens=64, tools=[WEATHER])
    call = answer.output[0]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    history = MESSAGES + [item.to_dict() for item in answer.output] + [result]
    _, after = create(client, input=history)
    tool = {"name": call.name, "arguments": call.arguments}
    return raw, answered(after) | {"tool": tool, "finish_reason": answer.status}


def run_parse(client):
    """A tool whose arguments the SDK reads as an object of ours."""
    tool = openai.pydantic_function_tool(Weather, name="weather")
    raw = client.responses.with_raw_response.parse(
        model=MODEL, input=MESSAGES, max_output_tokens=64, tools=[tool]
    )
    answer = raw.parse()
    call = answer.output[0]
    return raw, answered(answer) | {"content": call.parsed_arguments.city}


def run_chain(client):
    _, first = create(client)
    raw, answer = create(client, previous_response_id=first.id)
    return raw, answered(answer)


def run_count(client):
    raw = client.responses.input_tokens.with_raw_response.count(model=MODEL, input=MESSAGES)
    return raw, {"usage": {"prompt_tokens": raw.parse().input_tokens}}


def run_compact(client):
    raw = client.responses.with_raw_response.compact(model=MODEL, input=MESSAGES)
    answer = raw.parse()
    return raw, {"usage": usage(answer.usage), "finish_reason": answer.object}


SCENARIOS = {
    "chat": run_chat,
    "stream": run_stream,
    "tools": run_tools,
    "parse": run_parse,
    "chain": run_chain,
    "count": run_count,
    "compact": run_compact,
}


def main():
    scenario = sys.argv[1]
    seen = {"sdk": "python " + openai.__version__, "scenario": scenario, "ok": True}
    try:
        raw, answer = SCENARIOS[scenario](openai.OpenAI())
        seen |= {"status": raw.status_code, "headers": headers(raw.headers)}
        seen |= {"attempts": raw.retries_taken + 1} | answer
    except openai.OpenAIError as e:
        seen |= {"ok": False} | refused(e)
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
