"""Says what the calls of a rehearsal cost, to the nano-dollar, from first principles.

It reads the rehearsal's truth (JSON lines, on standard input or from a file) and prints JSON:

    {"by_label_model": {"<label>": {"<model>": {"calls", "nanos", "tokens"}}},
     "calls": N, "total_nanos": N}

It shares nothing with the product: no code, no price catalogue, no floats. Prices are the
providers' public list prices in dollars per million tokens, typed by hand as decimal strings;
arithmetic is exact (fractions); each call is rounded once, half to even, to nano-dollars.

A record may appear several times (as a call starts and as it ends): the last one counts. A call
that generated nothing (an error, a page of HTML, a count of tokens) costs nothing. A model or a
tier without a price is an error, not a zero.

Options:
    --only-complete  leaves out calls whose answer was not written to its end
    --calls          adds "by_call": each call's seq, label, model, answered_model, wire, nanos,
                     and its tokens by class
"""

import json
import sys
from fractions import Fraction

# model -> class -> dollars per million tokens. OpenAI bills no writes to its cache.
PRICES = {
    "gpt-4o-mini": {"input": "0.15", "cache_read": "0.075", "output": "0.60"},
    "gpt-4o": {"input": "2.50", "cache_read": "1.25", "output": "10.00"},
    "gpt-4.1-mini": {"input": "0.40", "cache_read": "0.10", "output": "1.60"},
    "o4-mini": {"input": "1.10", "cache_read": "0.275", "output": "4.40"},
    "gpt-5-mini": {"input": "0.25", "cache_read": "0.025", "output": "2.00"},
    "claude-sonnet-4-5": {
        "input": "3.00",
        "cache_read": "0.30",
        "cache_write_5m": "3.75",
        "cache_write_1h": "6.00",
        "output": "15.00",
    },
    "claude-haiku-4-5": {
        "input": "1.00",
        "cache_read": "0.10",
        "cache_write_5m": "1.25",
        "cache_write_1h": "2.00",
        "output": "5.00",
    },
    "claude-3-5-haiku-latest": {
        "input": "0.80",
        "cache_read": "0.08",
        "cache_write_5m": "1.00",
        "cache_write_1h": "1.60",
        "output": "4.00",
    },
}

# (model, tier) -> prices, where a tier has its own.
TIER_PRICES = {
    ("gpt-4o-mini", "priority"): {"input": "0.25", "cache_read": "0.125", "output": "1.00"},
    ("gpt-4o", "priority"): {"input": "4.25", "cache_read": "2.125", "output": "17.00"},
    ("gpt-4.1-mini", "priority"): {"input": "0.70", "cache_read": "0.175", "output": "2.80"},
    ("o4-mini", "priority"): {"input": "2.00", "cache_read": "0.50", "output": "8.00"},
    ("o4-mini", "flex"): {"input": "0.55", "cache_read": "0.138", "output": "2.20"},
    ("gpt-5-mini", "priority"): {"input": "0.45", "cache_read": "0.045", "output": "3.60"},
    ("gpt-5-mini", "flex"): {"input": "0.125", "cache_read": "0.0125", "output": "1.00"},
}

STANDARD_TIERS = (None, "default", "standard")

# From here on the price of Claude Sonnet 4.5 was another one; no test goes there.
SONNET_INPUT_MAX = 200_000

# Which price a class of the record's canonical usage has; reasoning is billed as output.
PRICE_OF = {
    "input": "input",
    "cache_read": "cache_read",
    "cache_write_5m": "cache_write_5m",
    "cache_write_1h": "cache_write_1h",
    "output": "output",
    "reasoning": "output",
}

# Nano-dollars per token at one dollar per million tokens.
NANOS_PER_DOLLAR_MTOK = Fraction(10**9, 10**6)


def prices_of(record):
    """Returns the prices of a record's model in the tier that served it."""
    model, tier = record["model"], record.get("service_tier")
    if tier in STANDARD_TIERS:
        table = PRICES.get(model)
    else:
        table = TIER_PRICES.get((model, tier))
    if table is None:
        raise SystemExit(f"no price for model {model!r} in tier {tier!r} (record {record['seq']})")
    return table


def tokens_of(record):
    """Returns the tokens of a record that are billed, by class."""
    canonical = record["canonical"]
    unknown = set(canonical) - set(PRICE_OF)
    if unknown:
        raise SystemExit(f"unknown classes of tokens {sorted(unknown)} (record {record['seq']})")
    return {name: tokens for name, tokens in canonical.items() if tokens}


def exact_nanos(record):
    """Returns what a call costs in nano-dollars, as an exact fraction."""
    tokens = tokens_of(record)
    if not tokens:
        return Fraction(0)
    everything = sum(count for name, count in tokens.items() if PRICE_OF[name] != "output")
    if record["model"] == "claude-sonnet-4-5" and everything > SONNET_INPUT_MAX:
        raise SystemExit(f"no price for so long a prompt (record {record['seq']})")
    prices = prices_of(record)
    total = Fraction(0)
    for name, count in tokens.items():
        price = prices.get(PRICE_OF[name])
        if price is None:
            raise SystemExit(f"{record['model']} has no price for {name} (record {record['seq']})")
        total += count * Fraction(price) * NANOS_PER_DOLLAR_MTOK
    return total


def nanos(record):
    """Returns what a call costs in whole nano-dollars, rounded half to even."""
    # Python rounds a Fraction half to even, exactly.
    return round(exact_nanos(record))


def last_records(lines):
    """Returns the last record of each call, in the order of arrival."""
    records = {}
    for line in lines:
        if line.strip():
            record = json.loads(line, parse_float=no_floats)
            records[record["seq"]] = record
    return [records[seq] for seq in sorted(records)]


def no_floats(text):
    """Refuses a number that is not an integer: the truth holds none."""
    raise SystemExit(f"a truth with the number {text}")


def cost(records):
    """Sums the cost of records by label and model."""
    by_label, total, calls = {}, 0, 0
    for record in records:
        price = nanos(record)
        models = by_label.setdefault(record.get("label") or "", {})
        sums = models.setdefault(record["model"], {"calls": 0, "nanos": 0, "tokens": 0})
        sums["calls"] += 1
        sums["nanos"] += price
        sums["tokens"] += sum(tokens_of(record).values())
        total += price
        calls += 1
    return {"by_label_model": by_label, "calls": calls, "total_nanos": total}


def call(record):
    """Returns what one call was and what it cost."""
    names = ("seq", "label", "model", "answered_model", "wire")
    named = {name: record[name] for name in names}
    return {**named, "nanos": nanos(record), "tokens": tokens_of(record)}


def main(arguments):
    """Reads the truth and prints what it cost."""
    options = {"--only-complete", "--calls"}.intersection(arguments)
    paths = [argument for argument in arguments if argument not in options]
    if len(paths) > 1 or any(path.startswith("--") for path in paths):
        raise SystemExit("usage: expected_cost.py [--only-complete] [--calls] [FILE]")
    if paths and paths[0] != "-":
        with open(paths[0], encoding="utf-8") as file:
            records = last_records(file)
    else:
        records = last_records(sys.stdin)
    if "--only-complete" in options:
        records = [record for record in records if record["complete"]]
    # What generated nothing is no call that anybody is billed for.
    records = [record for record in records if tokens_of(record)]
    answer = cost(records)
    if "--calls" in options:
        answer["by_call"] = [call(record) for record in records]
    print(json.dumps(answer, indent=2, sort_keys=True))


if __name__ == "__main__":
    main(sys.argv[1:])
