"""A program that calls on when its budget is over, as an agent in a loop does.

It makes calls with each official SDK until one is refused, and prints one JSON line for each
SDK: its program, how many calls succeeded before, and the error (type, status, code, message,
body). It ends with code 3 if a call was refused. CALLS_MAX limits the calls; default 40.
"""

import json
import os
import sys

import anthropic
import openai

CALLS_MAX = int(os.environ.get("CALLS_MAX", "40"))
QUESTION = [{"role": "user", "content": "[[rehearsal tokens=50]] Say something."}]


def ask_openai():
    with openai.OpenAI() as client:
        client.chat.completions.create(
            model="gpt-4o-mini",
            messages=QUESTION,
            max_tokens=50,
            user="main|call",
        )


def ask_anthropic():
    with anthropic.Anthropic() as client:
        client.messages.create(
            model="claude-haiku-4-5",
            messages=QUESTION,
            max_tokens=50,
            metadata={"user_id": "main|call"},
        )


def until_refused(program, ask):
    """Calls until a call is refused; says whether one was."""
    for succeeded in range(CALLS_MAX):
        try:
            ask()
        except (openai.APIStatusError, anthropic.APIStatusError) as error:
            print(json.dumps(line(program, succeeded, error)), flush=True)
            return True
    print(json.dumps({"program": program, "succeeded": CALLS_MAX, "type": None}), flush=True)
    return False


def line(program, succeeded, error):
    bases = [f"{base.__module__.split('.')[0]}.{base.__name__}" for base in type(error).__mro__]
    return {
        "program": program,
        "succeeded": succeeded,
        "type": type(error).__name__,
        "bases": bases,
        "status": error.status_code,
        "code": getattr(error, "code", None),
        "message": str(error),
        "body": error.body,
        "should_retry": error.response.headers.get("x-should-retry"),
    }


def main():
    refused = [until_refused("openai", ask_openai), until_refused("anthropic", ask_anthropic)]
    sys.exit(3 if any(refused) else 0)


if __name__ == "__main__":
    main()
