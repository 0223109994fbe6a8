"""A program that asks for a model that no price list knows, and prints how that ends as JSON."""

import json
import sys

import openai

QUESTION = [{"role": "user", "content": "Who are you?"}]


def main():
    with openai.OpenAI(default_headers={"fisc-op": "ask"}) as client:
        try:
            client.chat.completions.create(model="in-house-model", messages=QUESTION, max_tokens=9)
        except openai.APIStatusError as error:
            print(json.dumps({"status": error.status_code, "code": error.code}))
            sys.exit(3)


if __name__ == "__main__":
    main()
