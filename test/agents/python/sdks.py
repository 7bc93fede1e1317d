"""Runs one client through one case: python sdks.py CLIENT CASE.

AEGIS_BASE is the base URL without a version, AEGIS_KEY the key, AEGIS_PROMPT the
prompt and AEGIS_IMAGE the file of an image. What a person would read goes to
standard output; an error is written as the class and the text that the client's
library gives it, with exit status 1. A tool, where the model calls it, makes the file
"marker" in the working directory.
"""

import asyncio
import base64
import os
import pathlib
import sys

CLIENT, CASE = sys.argv[1:]
BASE, KEY = os.environ["AEGIS_BASE"], os.environ["AEGIS_KEY"]
PROMPT = os.environ["AEGIS_PROMPT"]
IMAGE = base64.b64encode(pathlib.Path(os.environ["AEGIS_IMAGE"]).read_bytes()).decode()
OPENAI, CLAUDE = "gpt-5", "claude-sonnet-4-5"
CAP = 1000
STREAMS = CASE in ("stream", "killed", "killed-tool")
TOOLS = CASE in ("tool", "killed-tool")
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["city", "people"],
    "additionalProperties": False,
}
NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}


def touch() -> str:
    """Make a file."""
    pathlib.Path("marker").touch()
    return "made"


def city_model():
    from pydantic import BaseModel

    class City(BaseModel):
        city: str
        people: int

    return City


# OpenAI's and Anthropic's own libraries.


def openai_client():
    import openai

    return openai.OpenAI(base_url=BASE + "/v1", api_key=KEY)


def openai_responses():
    client = openai_client()
    content = [{"type": "input_text", "text": PROMPT}]
    options = {"model": OPENAI}
    if CASE == "image":
        content.append({"type": "input_image", "image_url": "data:image/png;base64," + IMAGE, "detail": "low"})
    if TOOLS:
        options["tools"] = [{"type": "function", "name": "touch", "parameters": NOTHING, "strict": True}]
    items = [{"role": "user", "content": content}]
    if CASE == "structured":
        return client.responses.parse(input=items, text_format=city_model(), **options).output_parsed
    for _ in range(3):
        if STREAMS:
            with client.responses.stream(input=items, **options) as stream:
                for event in stream:
                    pass
                response = stream.get_final_response()
        else:
            response = client.responses.create(input=items, **options)
        calls = [item for item in response.output if item.type == "function_call" and item.status == "completed"]
        if not calls:
            return response.output_text
        items += response.output
        items += [{"type": "function_call_output", "call_id": call.call_id, "output": touch()} for call in calls]


def openai_chat():
    client = openai_client()
    content = [{"type": "text", "text": PROMPT}]
    options = {"model": OPENAI}
    if CASE == "image":
        content.append({"type": "image_url", "image_url": {"url": "data:image/png;base64," + IMAGE, "detail": "low"}})
    if TOOLS:
        options["tools"] = [{"type": "function", "function": {"name": "touch", "parameters": NOTHING, "strict": True}}]
    messages = [{"role": "user", "content": content}]
    if CASE == "structured":
        return client.chat.completions.parse(messages=messages, response_format=city_model(), **options).choices[0].message.parsed
    for _ in range(3):
        if STREAMS:
            with client.chat.completions.stream(messages=messages, **options) as stream:
                for event in stream:
                    pass
                message = stream.get_final_completion().choices[0].message
        else:
            message = client.chat.completions.create(messages=messages, **options).choices[0].message
        if not message.tool_calls:
            return message.content
        messages.append(message)
        messages += [{"role": "tool", "tool_call_id": call.id, "content": touch()} for call in message.tool_calls]


def anthropic_messages():
    import anthropic

    client = anthropic.Anthropic(base_url=BASE, api_key=KEY)
    content = [{"type": "text", "text": PROMPT}]
    options = {"model": CLAUDE, "max_tokens": CAP}
    if CASE == "image":
        content.append({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": IMAGE}})
    if TOOLS:
        options["tools"] = [{"name": "touch", "input_schema": NOTHING}]
    messages = [{"role": "user", "content": content}]
    if CASE == "structured":
        return client.messages.parse(messages=messages, output_format=city_model(), **options).parsed_output
    for _ in range(3):
        if STREAMS:
            with client.messages.stream(messages=messages, **options) as stream:
                message = stream.get_final_message()
        else:
            message = client.messages.create(messages=messages, **options)
        calls = [block for block in message.content if block.type == "tool_use"]
        if message.stop_reason != "tool_use":
            return "".join(block.text for block in message.content if block.type == "text")
        messages.append({"role": "assistant", "content": message.content})
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": touch()} for call in calls]
        messages.append({"role": "user", "content": results})


# Frameworks.


def openai_agents():
    import agents

    agents.set_tracing_disabled(True)
    os.environ.update(OPENAI_BASE_URL=BASE + "/v1", OPENAI_API_KEY=KEY)
    agent = agents.Agent(
        name="ledger",
        model=OPENAI,
        tools=[agents.function_tool(touch)] if TOOLS else [],
        output_type=city_model() if CASE == "structured" else None,
    )
    items = PROMPT
    if CASE == "image":
        parts = [
            {"type": "input_text", "text": PROMPT},
            {"type": "input_image", "image_url": "data:image/png;base64," + IMAGE, "detail": "low"},
        ]
        items = [{"role": "user", "content": parts}]

    async def streamed():
        result = agents.Runner.run_streamed(agent, items)
        async for _ in result.stream_events():
            pass
        return result.final_output

    return asyncio.run(streamed()) if STREAMS else agents.Runner.run_sync(agent, items).final_output


def langchain(model):
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import tool

    content = [{"type": "text", "text": PROMPT}]
    if CASE == "image":
        content.append({"type": "image", "base64": IMAGE, "mime_type": "image/png"})
    messages = [HumanMessage(content=content)]
    if CASE == "structured":
        return model.with_structured_output(city_model()).invoke(messages)
    if TOOLS:
        model = model.bind_tools([tool(touch)])
    for _ in range(3):
        answer = None
        if STREAMS:
            for chunk in model.stream(messages):
                answer = chunk if answer is None else answer + chunk
        else:
            answer = model.invoke(messages)
        if not answer.tool_calls:
            return answer.text
        messages.append(answer)
        messages += [ToolMessage(touch(), tool_call_id=call["id"]) for call in answer.tool_calls]


def langchain_openai():
    from langchain_openai import ChatOpenAI

    return langchain(ChatOpenAI(model=OPENAI, base_url=BASE + "/v1", api_key=KEY))


def langchain_anthropic():
    from langchain_anthropic import ChatAnthropic

    return langchain(ChatAnthropic(model=CLAUDE, base_url=BASE, api_key=KEY, max_tokens=CAP))


def pydantic_ai(model):
    from pydantic_ai import Agent, BinaryContent

    agent = Agent(model, output_type=city_model() if CASE == "structured" else str)
    if TOOLS:
        agent.tool_plain(touch)
    prompt = [PROMPT]
    if CASE == "image":
        prompt.append(BinaryContent(base64.b64decode(IMAGE), media_type="image/png"))

    async def streamed():
        async with agent.run_stream(prompt) as result:
            return await result.get_output()

    return asyncio.run(streamed()) if STREAMS else agent.run_sync(prompt).output


def pydantic_ai_openai():
    from pydantic_ai.models.openai import OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    return pydantic_ai(OpenAIResponsesModel(OPENAI, provider=OpenAIProvider(base_url=BASE + "/v1", api_key=KEY)))


def pydantic_ai_anthropic():
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    return pydantic_ai(AnthropicModel(CLAUDE, provider=AnthropicProvider(base_url=BASE, api_key=KEY)))


def litellm_of(model, base):
    import litellm

    litellm.telemetry = False
    litellm.suppress_debug_info = True
    content = [{"type": "text", "text": PROMPT}]
    options = {"model": model, "api_base": base, "api_key": KEY, "max_tokens": CAP}
    if CASE == "image":
        content.append({"type": "image_url", "image_url": {"url": "data:image/png;base64," + IMAGE, "detail": "low"}})
    if TOOLS:
        options["tools"] = [{"type": "function", "function": {"name": "touch", "parameters": NOTHING}}]
    if CASE == "structured":
        options["response_format"] = city_model()
    messages = [{"role": "user", "content": content}]
    for _ in range(3):
        answer = litellm.completion(messages=messages, stream=STREAMS, **options)
        if STREAMS:
            answer = litellm.stream_chunk_builder(list(answer))
        message = answer.choices[0].message
        if not message.tool_calls:
            return message.content
        messages.append(message)
        messages += [{"role": "tool", "tool_call_id": call.id, "content": touch()} for call in message.tool_calls]


def litellm_openai():
    return litellm_of("openai/" + OPENAI, BASE + "/v1")


def litellm_anthropic():
    return litellm_of("anthropic/" + CLAUDE, BASE)


def llama_index(llm):
    from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
    from llama_index.core.tools import FunctionTool

    blocks = [TextBlock(text=PROMPT)]
    if CASE == "image":
        blocks.append(ImageBlock(image=base64.b64decode(IMAGE), image_mimetype="image/png"))
    messages = [ChatMessage(role="user", blocks=blocks)]
    if CASE == "structured":
        return llm.as_structured_llm(city_model()).chat(messages).raw
    tools = [FunctionTool.from_defaults(fn=touch)]
    for _ in range(3):
        if TOOLS and STREAMS:
            *_, answer = llm.stream_chat_with_tools(tools, chat_history=messages)
        elif TOOLS:
            answer = llm.chat_with_tools(tools, chat_history=messages)
        elif STREAMS:
            *_, answer = llm.stream_chat(messages)
        else:
            answer = llm.chat(messages)
        calls = llm.get_tool_calls_from_response(answer, error_on_no_tool_call=False) if TOOLS else []
        if not calls:
            return answer.message.content
        messages.append(answer.message)
        messages += [ChatMessage(role="tool", content=touch(), additional_kwargs={"tool_call_id": call.tool_id}) for call in calls]


def llama_index_openai():
    from llama_index.llms.openai import OpenAI

    return llama_index(OpenAI(model=OPENAI, api_base=BASE + "/v1", api_key=KEY))


def llama_index_anthropic():
    from llama_index.llms.anthropic import Anthropic

    return llama_index(Anthropic(model=CLAUDE, base_url=BASE, api_key=KEY, max_tokens=CAP))


RUN = {
    "openai-python": openai_responses,
    "openai-python-chat": openai_chat,
    "anthropic-python": anthropic_messages,
    "openai-agents-python": openai_agents,
    "langchain-openai": langchain_openai,
    "langchain-anthropic": langchain_anthropic,
    "pydantic-ai-openai": pydantic_ai_openai,
    "pydantic-ai-anthropic": pydantic_ai_anthropic,
    "litellm-openai": litellm_openai,
    "litellm-anthropic": litellm_anthropic,
    "llama-index-openai": llama_index_openai,
    "llama-index-anthropic": llama_index_anthropic,
}

if __name__ == "__main__":
    try:
        print(RUN[CLIENT]())
    except Exception as error:  # what the library gives its caller
        print(f"{type(error).__name__}: {error}")
        sys.exit(1)
