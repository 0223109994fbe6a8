"""What the programs beside this file share: who calls, and one JSON line for each call.

The programs are ordinary users of the official SDKs. They read nothing but environment
variables:

    OPENAI_BASE_URL, OPENAI_API_KEY, ANTHROPIC_BASE_URL, ANTHROPIC_API_KEY
        as the SDKs define them
    NAMING
        none     the programs say nothing about who calls (the default)
        headers  agent and operation are named by the headers `fisc-agent` and `fisc-op`
        path     agent and operation are named by the base URL alone: its part `/a/<name>` is
                 replaced by NAMING_PATH
    NAMING_PATH
        that replacement; default `/a/{agent}/{op}`
    TEAM_WORKERS, TEAM_ROUNDS
        the size of `mixed_team.py`; defaults 6 and 2

Every call also tells the provider who made it, in the field that each wire has for this, as
`<agent>|<op>`: what the provider records can so be compared with any other book.

A line on standard output holds: program, case, agent, op, model, stream, usage (as the SDK
returned it, or null), finish, and error (null, or type, status and message); where there was an
answer also said, a digest of its words. A program ends with code 1 if a call failed.
"""

import hashlib
import json
import os
import re
import sys
import threading

NAMING = os.environ.get("NAMING", "none")
NAMING_PATH = os.environ.get("NAMING_PATH", "/a/{agent}/{op}")

_lock = threading.Lock()
_failed = threading.Event()


def label(agent, op):
    """What the provider is told about who calls."""
    return f"{agent}|{op}"


def client_options(base_url_variable, agent, op):
    """Returns the options that name the agent and the operation to an SDK's client."""
    if NAMING == "headers":
        return {"default_headers": {"fisc-agent": agent, "fisc-op": op}}
    if NAMING == "path":
        base_url = os.environ[base_url_variable]
        named = NAMING_PATH.format(agent=agent, op=op)
        return {"base_url": re.sub(r"/a/[^/]+(?=/|$)", named, base_url, count=1)}
    return {}


def digest(*words):
    """Returns a short text that two answers share only when they say the same."""
    return hashlib.sha256("\x1f".join(words).encode()).hexdigest()[:16]


def report(program, case, agent, op, model, stream, usage=None, finish=None, **more):
    """Prints the line of a call that succeeded."""
    usage = usage.model_dump() if usage is not None else None
    _print(program, case, agent, op, model, stream, usage, finish, None, more)


def report_error(program, case, agent, op, model, stream, error):
    """Prints the line of a call that failed, and makes the program fail at its end."""
    _failed.set()
    what = {
        "type": type(error).__name__,
        "status": getattr(error, "status_code", None),
        "message": str(error),
    }
    _print(program, case, agent, op, model, stream, None, None, what, {})


def finish():
    """Ends the program: code 1 if a call failed."""
    sys.exit(1 if _failed.is_set() else 0)


def _print(program, case, agent, op, model, stream, usage, finish_reason, error, more):
    line = {
        "program": program,
        "case": case,
        "agent": agent,
        "op": op,
        "model": model,
        "stream": stream,
        "usage": usage,
        "finish": finish_reason,
        "error": error,
        **more,
    }
    with _lock:
        print(json.dumps(line), flush=True)


# Long enough to be cached by a provider, and the same in every call.
HANDBOOK = " ".join(
    f"Rule {number}: answer in full sentences, cite the source by its number, and when two "
    f"sources differ prefer the later one, except for figures of the year {1900 + number}."
    for number in range(1, 161)
)
