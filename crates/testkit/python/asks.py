"""Agents for which nothing is left: each makes one call, which waits until somebody decides.

Four agents, OpenAI's and Anthropic's wire, whole and streamed, call at once by the official SDKs.
Each prints one JSON line: the agent, how many requests were sent, retries included, and the text
that came, or the kind and status of the error.
"""

import concurrent.futures
import json

import anthropic
import openai
from counted import Counted

PROMPT = [{"role": "user", "content": "[[rehearsal tokens=20]] Go on."}]


def named(name):
    return {"fisc-agent": name, "fisc-op": "work"}


def openai_text(http, name, stream):
    client = openai.OpenAI(http_client=http, default_headers=named(name))
    answer = client.chat.completions.create(
        model="gpt-4o-mini",
        messages=PROMPT,
        max_tokens=20,
        stream=stream,
        user=f"{name}|work",
    )
    if not stream:
        return answer.choices[0].message.content
    deltas = [chunk.choices[0].delta.content for chunk in answer if chunk.choices]
    return "".join(delta or "" for delta in deltas)


def anthropic_text(http, name, stream):
    client = anthropic.Anthropic(http_client=http, default_headers=named(name))
    call = {"model": "claude-haiku-4-5", "messages": PROMPT, "max_tokens": 20}
    call["metadata"] = {"user_id": f"{name}|work"}
    if not stream:
        return client.messages.create(**call).content[0].text
    with client.messages.stream(**call) as answer:
        return "".join(answer.text_stream)


def run(agent):
    name, text, stream = agent
    line = {"agent": name}
    with Counted(timeout=60) as http:
        try:
            line["text"] = text(http, name, stream)
        except (openai.APIError, anthropic.APIError) as error:
            line["error"] = type(error).__name__
            line["status"] = getattr(error, "status_code", None)
            line["message"] = str(error)
        line["sent"] = http.sent
    return line


AGENTS = [
    ("openai-whole", openai_text, False),
    ("openai-streamed", openai_text, True),
    ("anthropic-whole", anthropic_text, False),
    ("anthropic-streamed", anthropic_text, True),
]

if __name__ == "__main__":
    with concurrent.futures.ThreadPoolExecutor(len(AGENTS)) as pool:
        for line in pool.map(run, AGENTS):
            print(json.dumps(line), flush=True)
