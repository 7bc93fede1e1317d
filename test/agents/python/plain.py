"""Programs that know nothing of a proxy: each library is used as its own first example
has it, with no base URL and no key in the code. One line for each: its name, and what the
model said."""

import asyncio

OPENAI, CLAUDE = "gpt-5", "claude-sonnet-4-5"
PROMPT = "Say how the ledger is."
MESSAGES = [{"role": "user", "content": PROMPT}]


def openai_responses():
    import openai

    return openai.OpenAI().responses.create(model=OPENAI, input=PROMPT).output_text


def openai_chat():
    import openai

    return openai.OpenAI().chat.completions.create(model=OPENAI, messages=MESSAGES).choices[0].message.content


def anthropic_messages():
    import anthropic

    return anthropic.Anthropic().messages.create(model=CLAUDE, max_tokens=1000, messages=MESSAGES).content[0].text


def openai_agents():
    import agents

    return agents.Runner.run_sync(agents.Agent(name="one", model=OPENAI), PROMPT).final_output


def pydantic_ai_openai():
    from pydantic_ai import Agent

    return Agent("openai:" + OPENAI).run_sync(PROMPT).output


def pydantic_ai_anthropic():
    from pydantic_ai import Agent

    return Agent("anthropic:" + CLAUDE).run_sync(PROMPT).output


def langchain_openai():
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model=OPENAI).invoke(PROMPT).text


def langchain_anthropic():
    from langchain_anthropic import ChatAnthropic

    return ChatAnthropic(model=CLAUDE, max_tokens=1000).invoke(PROMPT).text


def litellm_openai():
    import litellm

    return litellm.completion(model=OPENAI, messages=MESSAGES).choices[0].message.content


def litellm_anthropic():
    import litellm

    return litellm.completion(model="anthropic/" + CLAUDE, max_tokens=1000, messages=MESSAGES).choices[0].message.content


for program in (
    openai_responses,
    openai_chat,
    anthropic_messages,
    openai_agents,
    pydantic_ai_openai,
    pydantic_ai_anthropic,
    langchain_openai,
    langchain_anthropic,
    litellm_openai,
    litellm_anthropic,
):
    try:
        asyncio.set_event_loop(asyncio.new_event_loop())
        print(program.__name__ + ":", program(), flush=True)
    except Exception as error:
        print(program.__name__ + ":", type(error).__name__, error, flush=True)
