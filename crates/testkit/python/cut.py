"""Agents whose provider ignores the cap on the output, so that their budgets end their streams.

One agent with each official SDK makes one streamed call. Each prints one JSON line: the agent, why
the answer ended as the SDK has it, how much text came, and how many requests were sent.
"""

import json

import anthropic
import openai
from counted import Counted

PROMPT = [{"role": "user", "content": "[[rehearsal over_max=1 tokens=900 gap_ms=1]] Go on."}]


def openai_stream(http):
    client = openai.OpenAI(http_client=http, default_headers={"fisc-agent": "openai"})
    stream = client.chat.completions.create(
        model="gpt-4o-mini", messages=PROMPT, max_tokens=40, stream=True, user="openai|call"
    )
    finish, text = None, ""
    for chunk in stream:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    return finish, text


def anthropic_stream(http):
    client = anthropic.Anthropic(http_client=http, default_headers={"fisc-agent": "anthropic"})
    call = {"model": "claude-haiku-4-5", "messages": PROMPT, "max_tokens": 40}
    call["metadata"] = {"user_id": "anthropic|call"}
    with client.messages.stream(**call) as stream:
        text = "".join(stream.text_stream)
        return stream.get_final_message().stop_reason, text


if __name__ == "__main__":
    for name, ask in [("openai", openai_stream), ("anthropic", anthropic_stream)]:
        with Counted(timeout=60) as http:
            finish, text = ask(http)
            line = {"agent": name, "finish": finish, "text": len(text), "sent": http.sent}
            print(json.dumps(line), flush=True)
