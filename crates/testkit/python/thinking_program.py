"""A program whose one call sets tokens aside for thinking; prints how it ended as JSON."""

import json
import sys

import anthropic

import team

QUESTION = [{"role": "user", "content": "[[rehearsal reasoning=20]] Is 91 prime?"}]


def main():
    with anthropic.Anthropic() as client:
        try:
            answer = client.messages.create(
                model="claude-sonnet-4-5",
                messages=QUESTION,
                max_tokens=4000,
                thinking={"type": "enabled", "budget_tokens": 1024},
                metadata={"user_id": team.label("main", "call")},
            )
            print(json.dumps({"status": 200, "finish": answer.stop_reason}))
        except anthropic.APIStatusError as error:
            print(json.dumps({"status": error.status_code, "body": error.body}))
            sys.exit(3)


if __name__ == "__main__":
    main()
