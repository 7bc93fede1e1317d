"""Runs one scenario with Anthropic's official Python SDK; see ../README.md."""

import json
import os
import sys

import anthropic

from client import headers, refused

MODEL = os.environ.get("SDK_MODEL", "claude-haiku-4-5")
MAX_TOKENS = int(os.environ.get("SDK_MAX_TOKENS", "8"))
MESSAGES = [{"role": "user", "content": os.environ.get("SDK_PROMPT", "Say hello.")}]
WEATHER = {
    "name": "weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


def create(client, cap=MAX_TOKENS, **more):
    raw = client.messages.with_raw_response.create(
        model=MODEL, messages=MESSAGES, max_tokens=cap, **more
    )
    return raw, raw.parse()


def run_chat(client):
    raw, answer = create(client)
    return raw, answered(answer) | {"content": answer.content[0].text}


def run_tools(client):
    raw, answer = create(client, cap=max(MAX_TOKENS, 64), tools=[WEATHER])
    call = answer.content[0]
    arguments = json.dumps(call.input, separators=(",", ":"))
    return raw, answered(answer) | {"tool": {"name": call.name, "arguments": arguments}}


def run_stream(client):
    raw, stream = create(client, stream=True)
    seen = {"content": "", "chunks": 0, "usage": {}}
    for event in stream:
        seen["chunks"] += 1
        if event.type == "message_start":
            seen["model"] = event.message.model
            seen["usage"]["prompt_tokens"] = event.message.usage.input_tokens
        if event.type == "content_block_delta":
            seen["content"] += event.delta.text
        if event.type == "message_delta":
            seen["finish_reason"] = event.delta.stop_reason
            seen["usage"]["completion_tokens"] = event.usage.output_tokens
    return raw, seen


def run_beta(client):
    raw = client.beta.messages.with_raw_response.create(
        model=MODEL, messages=MESSAGES, max_tokens=MAX_TOKENS, betas=["interleaved-thinking-2025-05-14", "cache-keepalive-2026-09-03"]
    )
    answer = raw.parse()
    return raw, answered(answer) | {"content": answer.content[0].text}


def run_count(client):
    raw = client.messages.with_raw_response.count_tokens(model=MODEL, messages=MESSAGES)
    return raw, {"usage": {"prompt_tokens": raw.parse().input_tokens, "completion_tokens": 0}}


def run_model(client):
    ids = [one.id for one in client.models.list()]
    raw = client.models.with_raw_response.retrieve(MODEL)
    return raw, {"model": raw.parse().id, "content": " ".join(ids)}


def answered(answer):
    return {
        "finish_reason": answer.stop_reason,
        "model": answer.model,
        "usage": {
            "prompt_tokens": answer.usage.input_tokens,
            "completion_tokens": answer.usage.output_tokens,
        },
    }


SCENARIOS = {"chat": run_chat, "stream": run_stream, "tools": run_tools, "count": run_count, "model": run_model, "beta": run_beta}


def main():
    scenario = sys.argv[1]
    seen = {"sdk": "python " + anthropic.__version__, "scenario": scenario, "ok": True}
    try:
        raw, answer = SCENARIOS[scenario](anthropic.Anthropic())
        seen |= {"status": raw.status_code, "headers": headers(raw.headers)}
        seen |= {"attempts": raw.retries_taken + 1} | answer
    except anthropic.AnthropicError as e:
        seen |= {"ok": False} | refused(e)
        body = getattr(e, "body", None) or {}
        error = body.get("error") or {} if isinstance(body, dict) else {}
        seen["error"] |= {"type": error.get("type"), "code": (error.get("details") or {}).get("error_code")}
    print(json.dumps(seen))


main()
