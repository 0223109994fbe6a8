"""An agent program that uses the official OpenAI SDK in every ordinary way.

Synchronous and asynchronous, streamed and whole, with and without a limit on the output, with
tools, several choices and a cached prefix. See `team.py` for its environment and its output.
"""

import asyncio
import json

import openai

import team

PROGRAM = "openai"
SMALL = "gpt-4o-mini"
REASONING = "o4-mini"

LOOKUP = {
    "type": "function",
    "function": {
        "name": "lookup",
        "description": "Looks up the population of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
USE_LOOKUP = {"type": "function", "function": {"name": "lookup"}}


class Call:
    """One call: who makes it, under which case it is reported, and what it asks for."""

    def __init__(self, case, agent, op, model, messages, **parameters):
        self.case, self.agent, self.op, self.model = case, agent, op, model
        self.stream = bool(parameters.get("stream"))
        user = team.label(agent, op)
        self.parameters = {"model": model, "messages": messages, "user": user, **parameters}

    def identity(self):
        return (PROGRAM, self.case, self.agent, self.op, self.model, self.stream)

    def options(self):
        return team.client_options("OPENAI_BASE_URL", self.agent, self.op)

    def report_whole(self, completion):
        finish = completion.choices[0].finish_reason
        said = [word for choice in completion.choices for word in words(choice)]
        more = {"choices": len(completion.choices), "said": team.digest(*said)}
        team.report(*self.identity(), completion.usage, finish, **more)

    def report_stream(self, gathered):
        said = team.digest(gathered.text, gathered.tool_name, gathered.tool_arguments)
        more = {
            "usage_chunks": gathered.usage_chunks,
            "empty_chunks": gathered.empty_chunks,
            "said": said,
        }
        team.report(*self.identity(), gathered.usage, gathered.finish, **more)

    def report_error(self, error):
        team.report_error(*self.identity(), error)


class Gathered:
    """What a stream's chunks add up to."""

    def __init__(self):
        self.text, self.usage, self.finish = "", None, None
        self.usage_chunks = self.empty_chunks = 0
        self.tool_name, self.tool_arguments, self.tool_id = "", "", None

    def add(self, chunk):
        if chunk.usage is not None:
            self.usage_chunks += 1
            self.usage = chunk.usage
        if not chunk.choices:
            self.empty_chunks += 1
        for choice in chunk.choices:
            self.text += choice.delta.content or ""
            self.finish = choice.finish_reason or self.finish
            for part in choice.delta.tool_calls or []:
                self.tool_id = part.id or self.tool_id
                self.tool_name += part.function.name or ""
                self.tool_arguments += part.function.arguments or ""


def words(choice):
    """Lists what a choice says: its text, and its tools with what they are called with."""
    calls = choice.message.tool_calls or []
    called = (part for call in calls for part in (call.function.name, call.function.arguments))
    return [choice.message.content or "", *called]


def ask(text):
    return [{"role": "user", "content": text}]


def run(call):
    """Makes a call; returns the completion or what its stream gathered, or None on failure."""
    try:
        with openai.OpenAI(**call.options()) as client:
            answer = client.chat.completions.create(**call.parameters)
            if not call.stream:
                call.report_whole(answer)
                return answer
            gathered = Gathered()
            for chunk in answer:
                gathered.add(chunk)
            call.report_stream(gathered)
            return gathered
    except openai.OpenAIError as error:
        call.report_error(error)
        return None


async def run_async(call):
    try:
        async with openai.AsyncOpenAI(**call.options()) as client:
            answer = await client.chat.completions.create(**call.parameters)
            if not call.stream:
                call.report_whole(answer)
                return
            gathered = Gathered()
            async for chunk in answer:
                gathered.add(chunk)
            call.report_stream(gathered)
    except openai.OpenAIError as error:
        call.report_error(error)


def whole_answers():
    question = ask("Name three rivers of Europe and say where they end.")
    run(Call("sync", "writer", "draft", SMALL, question, max_tokens=120))
    run(Call("sync, no limit", "writer", "draft", SMALL, question))
    thinker = {"max_completion_tokens": 900, "reasoning_effort": "low"}
    run(Call("sync, reasoning", "thinker", "plan", REASONING, question, **thinker))
    run(Call("sync, reasoning, no limit", "thinker", "plan", REASONING, question))
    run(Call("sync, two choices", "writer", "vary", SMALL, question, n=2, max_tokens=60))


def streamed_answers():
    question = ask("Tell the story of a lighthouse — naïve, with an “ending” — in 日本語.")
    with_usage = {"stream": True, "stream_options": {"include_usage": True}}
    run(Call("stream", "writer", "tell", SMALL, question, stream=True, max_tokens=200))
    run(Call("stream, no limit", "writer", "tell", SMALL, question, stream=True))
    run(Call("stream, usage", "writer", "tell", SMALL, question, max_tokens=200, **with_usage))
    thinker = {"max_completion_tokens": 700, **with_usage}
    run(Call("stream, reasoning, usage", "thinker", "plan", REASONING, question, **thinker))
    without = {"stream": True, "stream_options": {"include_usage": False}}
    run(Call("stream, usage refused", "writer", "tell", SMALL, question, **without))


def stream_helper():
    call = Call("stream helper", "writer", "tell", SMALL, ask("One more story."))
    call.stream = True
    try:
        with openai.OpenAI(**call.options()) as client:
            with client.chat.completions.stream(**call.parameters) as stream:
                for _event in stream:
                    pass
                call.report_whole(stream.get_final_completion())
    except openai.OpenAIError as error:
        call.report_error(error)


def cached_prefix():
    for question in ["What does rule 7 say?", "What does rule 70 say?"]:
        messages = [{"role": "system", "content": team.HANDBOOK}, *ask(question)]
        run(Call("cached prefix", "clerk", "cite", SMALL, messages, max_tokens=80))


def tools():
    question = ask("How many people live in Lisbon?")
    forced = {"tools": [LOOKUP], "tool_choice": USE_LOOKUP, "max_tokens": 100}
    asked = run(Call("tool call", "researcher", "search", SMALL, question, **forced))
    if asked is not None and asked.choices[0].message.tool_calls:
        message = asked.choices[0].message
        result = {
            "role": "tool",
            "tool_call_id": message.tool_calls[0].id,
            "content": json.dumps({"population": 545_000}),
        }
        spoken = [*question, message.model_dump(exclude_none=True), result]
        parameters = {"tools": [LOOKUP], "max_tokens": 100}
        run(Call("tool result", "researcher", "read", SMALL, spoken, **parameters))
    forced["stream"] = True
    gathered = run(Call("tool call, stream", "researcher", "search", SMALL, question, **forced))
    if gathered is not None and gathered.tool_arguments:
        json.loads(gathered.tool_arguments)


async def eight_at_once():
    calls = []
    for number in range(8):
        stream = {"stream": True, "max_tokens": 80} if number % 2 else {}
        if number % 4 == 3:
            stream["stream_options"] = {"include_usage": True}
        question = ask(f"Write {20 + 10 * number} words about the number {number}.")
        model = REASONING if number == 6 else SMALL
        calls.append(Call("async", f"worker-{number}", "work", model, question, **stream))
    await asyncio.gather(*(run_async(call) for call in calls))


def models():
    with openai.OpenAI(**team.client_options("OPENAI_BASE_URL", "writer", "list")) as client:
        names = [model.id for model in client.models.list()]
    team.report(PROGRAM, "models", "writer", "list", None, False, models=len(names))


def main():
    whole_answers()
    streamed_answers()
    stream_helper()
    cached_prefix()
    tools()
    asyncio.run(eight_at_once())
    models()
    team.finish()


if __name__ == "__main__":
    main()
