"""A small team of agents that uses both official SDKs in one process.

A planner (Anthropic) plans; workers (OpenAI, asynchronous, streamed) work at the same time,
several rounds each, keeping their conversation; a reviewer (Anthropic, in threads) checks each
result; the planner sums up. See `team.py` for its environment and its output.
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

import anthropic_program
import openai_program
import team

WORKERS = int(os.environ.get("TEAM_WORKERS", "6"))
ROUNDS = int(os.environ.get("TEAM_ROUNDS", "2"))


def plan():
    question = anthropic_program.ask(f"Split the history of the compass into {WORKERS} parts.")
    call = anthropic_program.Call(
        "plan", "planner", "plan", anthropic_program.LARGE, question, 300
    )
    anthropic_program.run_helper(call)


async def work(number):
    """One worker: each round adds to its conversation, so its input grows."""
    messages = openai_program.ask(f"Write part {number} of the history of the compass.")
    for round_number in range(ROUNDS):
        stream = {"stream": True} if (number + round_number) % 2 else {}
        call = openai_program.Call(
            *("work", f"worker-{number}", f"round-{round_number}", openai_program.SMALL),
            list(messages),
            **stream,
        )
        await openai_program.run_async(call)
        messages.append({"role": "assistant", "content": f"(part {number}, as written)"})
        messages.append({"role": "user", "content": "Go on; be more exact about the dates."})


async def work_together():
    await asyncio.gather(*(work(number) for number in range(WORKERS)))


def review(number):
    question = anthropic_program.ask(f"Is part {number} of the history right?")
    call = anthropic_program.Call(
        "review", "reviewer", f"part-{number}", anthropic_program.SMALL, question, 80
    )
    anthropic_program.run(call)


def sum_up():
    question = anthropic_program.ask("Sum up the history of the compass.")
    thinking = {"type": "enabled", "budget_tokens": 1024}
    call = anthropic_program.Call(
        "sum up", "planner", "sum-up", anthropic_program.LARGE, question, 1500, thinking=thinking
    )
    anthropic_program.run_helper(call)


def main():
    plan()
    asyncio.run(work_together())
    with ThreadPoolExecutor(max_workers=4) as threads:
        list(threads.map(review, range(WORKERS)))
    sum_up()
    team.finish()


if __name__ == "__main__":
    main()
