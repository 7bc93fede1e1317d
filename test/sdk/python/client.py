"""Runs one scenario with the official Python SDK; see ../README.md."""

import json
import os
import sys

import openai

MODEL = os.environ.get("SDK_MODEL", "gpt-4o-mini")
EMBEDDING_MODEL = os.environ.get("SDK_EMBEDDING_MODEL", "text-embedding-3-small")
MAX_TOKENS = int(os.environ.get("SDK_MAX_TOKENS", "8"))
MESSAGES = [{"role": "user", "content": os.environ.get("SDK_PROMPT", "Say hello.")}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def chat(client, cap=MAX_TOKENS, **more):
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=MESSAGES, max_completion_tokens=cap, **more
    )
    return raw, raw.parse()


def run_chat(client):
    raw, answer = chat(client)
    choice = answer.choices[0]
    return raw, {
        "content": choice.message.content,
        "finish_reason": choice.finish_reason,
        "model": answer.model,
        "usage": usage(answer.usage),
    }


def run_tools(client):
    raw, answer = chat(client, cap=max(MAX_TOKENS, 64), tools=[WEATHER])
    call = answer.choices[0].message.tool_calls[0].function
    return raw, {
        "tool": {"name": call.name, "arguments": call.arguments},
        "finish_reason": answer.choices[0].finish_reason,
        "model": answer.model,
        "usage": usage(answer.usage),
    }


def run_stream(client, **more):
    raw, stream = chat(client, stream=True, **more)
    seen = {"content": "", "chunks": 0, "usage_chunks": 0}
    for chunk in stream:
        seen["chunks"] += 1
        seen["model"] = chunk.model
        if chunk.usage is not None:
            seen["usage_chunks"] += 1
            seen["usage"] = usage(chunk.usage)
        for choice in chunk.choices:
            seen["content"] += choice.delta.content or ""
            seen["finish_reason"] = choice.finish_reason or seen.get("finish_reason")
    return raw, seen


def run_stream_usage(client):
    return run_stream(client, stream_options={"include_usage": True})


def run_embeddings(client):
    raw = client.embeddings.with_raw_response.create(
        model=EMBEDDING_MODEL, input=["Say hello.", "Say goodbye."]
    )
    answer = raw.parse()
    return raw, {
        "embeddings": [len(one.embedding) for one in answer.data],
        "model": answer.model,
        "usage": usage(answer.usage),
    }


def run_model(client):
    raw = client.models.with_raw_response.retrieve(MODEL)
    return raw, {"model": raw.parse().id}


def run_moderation(client):
    raw = client.moderations.with_raw_response.create(input="Say hello.")
    answer = raw.parse()
    return raw, {"model": answer.model, "content": str(answer.results[0].flagged).lower()}


def usage(u):
    return {
        "prompt_tokens": u.prompt_tokens,
        "completion_tokens": getattr(u, "completion_tokens", 0),
        "total_tokens": u.total_tokens,
    }


def headers(h):
    kept = ("retry-after", "content-type")
    return {k.lower(): v for k, v in h.items() if k.lower().startswith("x-") or k.lower() in kept}


def refused(e):
    """Describes what the SDK raised. A connection error has no response."""
    seen = {
        "error": {
            "class": type(e).__name__,
            "code": getattr(e, "code", None),
            "type": getattr(e, "type", None),
            "message": str(e),
        }
    }
    if getattr(e, "request", None) is not None:
        seen["attempts"] = int(e.request.headers.get("x-stainless-retry-count", 0)) + 1
    if getattr(e, "response", None) is not None:
        seen["status"] = e.response.status_code
        seen["headers"] = headers(e.response.headers)
    return seen


SCENARIOS = {
    "chat": run_chat,
    "stream": run_stream,
    "stream-usage": run_stream_usage,
    "tools": run_tools,
    "embeddings": run_embeddings,
    "model": run_model,
    "moderation": run_moderation,
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
