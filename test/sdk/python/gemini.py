"""Runs one scenario with Google's official Python SDK; see ../README.md."""

import json
import os
import sys

import httpx2
from google import genai
from google.genai import errors, types

MODEL = os.environ.get("SDK_MODEL", "gemini-2.5-flash")
MAX_TOKENS = int(os.environ.get("SDK_MAX_TOKENS", "8"))
PROMPT = os.environ.get("SDK_PROMPT", "Say hello.")
WEATHER = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="weather",
            parameters=types.Schema(type="OBJECT", properties={"city": types.Schema(type="STRING")}, required=["city"]),
        )
    ]
)

# The SDK does not tell its attempts.
responses = []


def client():
    transport = httpx2.Client(event_hooks={"response": [responses.append]})
    return genai.Client(
        api_key=os.environ["GEMINI_API_KEY"],
        http_options=types.HttpOptions(base_url=os.environ["GEMINI_BASE_URL"], httpx_client=transport),
    )


def config(**more):
    return types.GenerateContentConfig(max_output_tokens=MAX_TOKENS, **more)


def answered(answer):
    usage = answer.usage_metadata
    reason = answer.candidates[0].finish_reason if answer.candidates else None
    return {
        "finish_reason": reason.value if reason else "",
        "model": answer.model_version,
        "usage": {"prompt_tokens": usage.prompt_token_count, "completion_tokens": usage.candidates_token_count or 0},
    }


def run_chat(c):
    answer = c.models.generate_content(model=MODEL, contents=PROMPT, config=config())
    return answered(answer) | {"content": answer.text}


def run_stream(c):
    seen = {"content": "", "chunks": 0}
    for chunk in c.models.generate_content_stream(model=MODEL, contents=PROMPT, config=config()):
        seen["chunks"] += 1
        text = seen["content"] + (chunk.text or "")
        seen |= answered(chunk) | {"content": text}
    return seen


def run_tools(c):
    asked = types.GenerateContentConfig(
        max_output_tokens=64, tools=[WEATHER], automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True)
    )
    answer = c.models.generate_content(model=MODEL, contents=PROMPT, config=asked)
    call = answer.function_calls[0]
    return answered(answer) | {"tool": {"name": call.name, "arguments": json.dumps(call.args, separators=(",", ":"))}}


def run_count(c):
    return {"usage": {"prompt_tokens": c.models.count_tokens(model=MODEL, contents=PROMPT).total_tokens}}


def run_model(c):
    names = [one.name for one in c.models.list()]
    return {"model": c.models.get(model=MODEL).name, "content": " ".join(names)}


SCENARIOS = {"chat": run_chat, "stream": run_stream, "tools": run_tools, "count": run_count, "model": run_model}


def headers():
    if not responses:
        return {}
    return {name: value for name, value in responses[-1].headers.items() if name.startswith("x-") or name in ("retry-after", "content-type")}


def main():
    scenario = sys.argv[1]
    seen = {"sdk": "google " + genai.__version__, "scenario": scenario, "ok": True}
    try:
        seen |= SCENARIOS[scenario](client())
    except errors.APIError as e:
        seen |= {"ok": False, "error": {"class": type(e).__name__, "type": e.status, "message": e.message}}
    seen |= {"attempts": len(responses), "status": responses[-1].status_code if responses else 0, "headers": headers()}
    print(json.dumps(seen))


main()
