"""Agents that use up a budget each, and show what the official SDKs see at every level.

Four agents, OpenAI's and Anthropic's wire, whole and streamed, call until they are refused. Each
prints one JSON line a call: the agent, the operation, the level and what was changed by the
answer's headers, the model that served, how the answer ended, how many requests were sent, and
the error. At Orange four calls are made at once; after the refusal one call is marked as wrapping
up. AGENTS limits who calls, by names separated by commas.
"""

import concurrent.futures
import json
import os

import anthropic
import openai
from counted import Counted

CALLS_MAX = 120
AT_ONCE = 4


class Agent:
    """One agent; `ask` makes a call and returns its raw response and what came of it."""

    def __init__(self, name, ask):
        self.name, self.ask = name, ask

    def call(self, op, tokens=200, delay=0, **headers):
        words = f"[[rehearsal tokens={tokens} delay_ms={delay}]] Go on."
        named = {"fisc-agent": self.name, "fisc-op": op, **headers}
        line = {"agent": self.name, "op": op}
        with Counted(timeout=60) as http:
            try:
                line |= self.ask(http, named, f"{self.name}|{op}", words, tokens)
            except (openai.APIStatusError, anthropic.APIStatusError) as error:
                headers = error.response.headers
                line |= {"status": error.status_code, "message": str(error)}
                line |= {"reason": headers.get("fisc-reason"), "level": None, "changed": ""}
            line["sent"] = http.sent
        print(json.dumps(line), flush=True)
        return line

    def call_at_once(self, op):
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            calls = [pool.submit(self.call, op, 20, 200) for _ in range(AT_ONCE)]
        return [call.result() for call in calls]

    def use_up(self):
        self.call_at_once("begin")
        slowed = False
        for _ in range(CALLS_MAX):
            line = self.call("work")
            if line["status"] != 200:
                break
            if not slowed and line["level"] == "orange":
                slowed = True
                self.call_at_once("slowed")
        self.call("end", 10, **{"fisc-finalize": "true"})


def seen(raw, model, finish, text):
    headers = raw.headers
    return {
        "status": 200,
        "level": headers.get("fisc-level"),
        "changed": headers.get("fisc-changed", ""),
        "model": model,
        "finish": finish,
        "text": text,
    }


def openai_whole(http, headers, user, words, tokens):
    client = openai.OpenAI(http_client=http)
    raw = client.chat.completions.with_raw_response.create(
        model="gpt-4o",
        messages=[{"role": "user", "content": words}],
        max_tokens=tokens,
        n=2,
        user=user,
        extra_headers=headers,
    )
    answer = raw.parse()
    choices = [choice.message.content for choice in answer.choices]
    return seen(raw, answer.model, answer.choices[0].finish_reason, len(choices))


def openai_stream(http, headers, user, words, tokens):
    client = openai.OpenAI(http_client=http)
    raw = client.chat.completions.with_raw_response.create(
        model="gpt-4o",
        messages=[{"role": "user", "content": [{"type": "text", "text": words}]}],
        max_tokens=tokens,
        stream=True,
        user=user,
        extra_headers=headers,
    )
    model, finish, text = None, None, 0
    for chunk in raw.parse():
        model = chunk.model or model
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            text += len(choice.delta.content or "")
    return seen(raw, model, finish, text > 0)


def anthropic_arguments(words, tokens, user, headers):
    return {
        "model": "claude-sonnet-4-5",
        "messages": [{"role": "user", "content": words}],
        "max_tokens": tokens,
        "metadata": {"user_id": user},
        "extra_headers": headers,
    }


def anthropic_whole(http, headers, user, words, tokens):
    client = anthropic.Anthropic(http_client=http)
    arguments = anthropic_arguments(words, tokens, user, headers)
    raw = client.messages.with_raw_response.create(**arguments)
    answer = raw.parse()
    return seen(raw, answer.model, answer.stop_reason, len(answer.content))


def anthropic_stream(http, headers, user, words, tokens):
    client = anthropic.Anthropic(http_client=http)
    arguments = anthropic_arguments(words, tokens, user, headers)
    raw = client.messages.with_raw_response.create(stream=True, **arguments)
    model, finish, text = None, None, 0
    for event in raw.parse():
        if event.type == "message_start":
            model = event.message.model
        elif event.type == "content_block_delta":
            text += len(event.delta.text)
        elif event.type == "message_delta":
            finish = event.delta.stop_reason
    return seen(raw, model, finish, text > 0)


AGENTS = [
    Agent("openai-whole", openai_whole),
    Agent("openai-stream", openai_stream),
    Agent("anthropic-whole", anthropic_whole),
    Agent("anthropic-stream", anthropic_stream),
]


def main():
    wanted = os.environ.get("AGENTS")
    for agent in AGENTS:
        if wanted is None or agent.name in wanted.split(","):
            agent.use_up()


if __name__ == "__main__":
    main()
