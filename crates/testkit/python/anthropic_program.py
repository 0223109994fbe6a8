"""An agent program that uses the official Anthropic SDK in every ordinary way.

Synchronous and asynchronous, streamed and whole, with tools, extended thinking and prompt
caching of both lifetimes. See `team.py` for its environment and its output.
"""

import asyncio
import json

import anthropic

import team

PROGRAM = "anthropic"
LARGE = "claude-sonnet-4-5"
SMALL = "claude-haiku-4-5"

LOOKUP = {
    "name": "lookup",
    "description": "Looks up the population of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


class Call:
    """One call: who makes it, under which case it is reported, and what it asks for."""

    def __init__(self, case, agent, op, model, messages, max_tokens=160, **parameters):
        self.case, self.agent, self.op, self.model = case, agent, op, model
        self.stream = bool(parameters.get("stream"))
        self.parameters = {
            "model": model,
            "messages": messages,
            "max_tokens": max_tokens,
            "metadata": {"user_id": team.label(agent, op)},
            **parameters,
        }

    def identity(self):
        return (PROGRAM, self.case, self.agent, self.op, self.model, self.stream)

    def options(self):
        return team.client_options("ANTHROPIC_BASE_URL", self.agent, self.op)

    def report(self, answer):
        """Reports a message, or what a stream gathered of one."""
        said = team.digest(*words(answer))
        team.report(*self.identity(), answer.usage, answer.stop_reason, said=said)

    def report_error(self, error):
        team.report_error(*self.identity(), error)


class Gathered:
    """What a stream's events add up to: all words, and the last word on each count."""

    def __init__(self):
        self.usage, self.text, self.stop_reason = Counts(), "", None

    def add(self, event):
        if event.type == "message_start":
            self.usage.merge(event.message.usage)
        elif event.type == "content_block_delta" and event.delta.type == "text_delta":
            self.text += event.delta.text
        elif event.type == "message_delta":
            self.usage.merge(event.usage)
            self.stop_reason = event.delta.stop_reason


class Counts:
    """A usage of which later events know more."""

    def __init__(self):
        self.counts = {}

    def merge(self, usage):
        self.counts.update(usage.model_dump(exclude_none=True))

    def model_dump(self):
        return self.counts


def words(answer):
    """Lists what an answer says: text, thinking, and tools with what they are called with."""
    if isinstance(answer, Gathered):
        return [answer.text]
    said = []
    for block in answer.content:
        if block.type == "tool_use":
            said += [block.name, json.dumps(block.input, sort_keys=True)]
        else:
            said.append(block.thinking if block.type == "thinking" else block.text)
    return said


def ask(text):
    return [{"role": "user", "content": text}]


def run(call):
    """Makes a call; returns the message, or None on failure or for a raw stream."""
    try:
        with anthropic.Anthropic(**call.options()) as client:
            answer = client.messages.create(**call.parameters)
            if not call.stream:
                call.report(answer)
                return answer
            gathered = Gathered()
            for event in answer:
                gathered.add(event)
            call.report(gathered)
    except anthropic.AnthropicError as error:
        call.report_error(error)
    return None


def run_helper(call):
    """Makes a call through the SDK's stream helper; returns the final message."""
    call.stream = True
    try:
        with anthropic.Anthropic(**call.options()) as client:
            with client.messages.stream(**call.parameters) as stream:
                for _text in stream.text_stream:
                    pass
                message = stream.get_final_message()
                call.report(message)
                return message
    except anthropic.AnthropicError as error:
        call.report_error(error)
    return None


async def run_async(call):
    try:
        async with anthropic.AsyncAnthropic(**call.options()) as client:
            if call.parameters.pop("helper", False):
                call.stream = True
                async with client.messages.stream(**call.parameters) as stream:
                    message = await stream.get_final_message()
                call.report(message)
                return
            answer = await client.messages.create(**call.parameters)
            if not call.stream:
                call.report(answer)
                return
            gathered = Gathered()
            async for event in answer:
                gathered.add(event)
            call.report(gathered)
    except anthropic.AnthropicError as error:
        call.report_error(error)


def whole_answers():
    question = ask("Name three mountains of Asia and say who climbed them first.")
    run(Call("sync", "planner", "plan", LARGE, question))
    run(Call("sync, small", "reviewer", "check", SMALL, question, 60))


def streamed_answers():
    question = ask("Tell the story of a bridge — naïve, with an “ending” — in 日本語.")
    run(Call("stream", "planner", "tell", LARGE, question, 220, stream=True))
    run(Call("stream, small", "reviewer", "tell", SMALL, question, 90, stream=True))
    run_helper(Call("stream helper", "planner", "tell", LARGE, question, 220))


def thinking():
    enabled = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    question = ask("Is 1,000,003 prime? Think first.")
    run(Call("thinking", "planner", "think", LARGE, question, 2048, **enabled))
    run_helper(Call("thinking, stream", "planner", "think", LARGE, question, 2048, **enabled))


def cached_prompts():
    for lifetime in [{}, {"ttl": "1h"}]:
        control = {"type": "ephemeral", **lifetime}
        rules = f"For readers of the {lifetime.get('ttl', '5m')} edition. {team.HANDBOOK}"
        system = [{"type": "text", "text": rules, "cache_control": control}]
        for question in ["What does rule 7 say?", "What does rule 70 say?"]:
            call = Call("cached prompt", "clerk", "cite", LARGE, ask(question), 80, system=system)
            run(call)
        again = Call("cached prompt, stream", "clerk", "cite", LARGE, ask("Rule 9?"), 80)
        again.parameters["system"] = system
        run_helper(again)


def tools():
    question = ask("How many people live in Lisbon?")
    forced = {"tools": [LOOKUP], "tool_choice": {"type": "tool", "name": "lookup"}}
    asked = run(Call("tool call", "researcher", "search", SMALL, question, **forced))
    streamed = Call("tool call, stream", "researcher", "search", LARGE, question, **forced)
    streamed = run_helper(streamed)
    for message, model in [(asked, SMALL), (streamed, LARGE)]:
        uses = [block for block in message.content if block.type == "tool_use"] if message else []
        if not uses:
            continue
        result = {"type": "tool_result", "tool_use_id": uses[0].id, "content": "545000"}
        content = [block.model_dump(exclude_none=True) for block in message.content]
        spoken = [
            *question,
            {"role": "assistant", "content": content},
            {"role": "user", "content": [result]},
        ]
        run(Call("tool result", "researcher", "read", model, spoken, tools=[LOOKUP]))


async def eight_at_once():
    calls = []
    for number in range(8):
        manner = [{}, {"stream": True}, {"helper": True}, {"stream": True}][number % 4]
        question = ask(f"Write {20 + 10 * number} words about the number {number}.")
        model = LARGE if number % 3 == 0 else SMALL
        calls.append(Call("async", f"worker-{number}", "work", model, question, 100, **manner))
    await asyncio.gather(*(run_async(call) for call in calls))


def free_calls():
    with anthropic.Anthropic(
        **team.client_options("ANTHROPIC_BASE_URL", "planner", "count")
    ) as client:
        counted = client.messages.count_tokens(model=LARGE, messages=ask("How long is this?"))
        team.report(
            *(PROGRAM, "count tokens", "planner", "count", LARGE, False),
            input_tokens=counted.input_tokens,
        )
        names = [model.id for model in client.models.list()]
        team.report(PROGRAM, "models", "planner", "count", None, False, models=len(names))


def main():
    whole_answers()
    streamed_answers()
    thinking()
    cached_prompts()
    tools()
    asyncio.run(eight_at_once())
    free_calls()
    team.finish()


if __name__ == "__main__":
    main()
