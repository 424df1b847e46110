"""Ask a server by the ``openai`` client: a JSON line in, a JSON line out.

``python openai_client.py PORT``, run by the environment that `worker.bench.serving` makes; it knows
nothing of this project.
"""

import json
import sys

import openai  # type: ignore[import-not-found]  # in that environment alone


def main() -> None:
    """Answer each line, the messages of a chat, as `served.Server.ask` does."""
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{sys.argv[1]}/v1", api_key="none")
    for line in sys.stdin:
        wish = json.loads(line)
        answer = client.chat.completions.create(
            model="default_model", temperature=0, logprobs=True, top_logprobs=2, **wish
        )
        (choice,) = answer.choices
        likeliest = [token.top_logprobs for token in choice.logprobs.content]
        tokens = [(one.id, one.logprob - two.logprob) for one, two in likeliest]
        cached = answer.usage.prompt_tokens_details.cached_tokens
        print(json.dumps([tokens, choice.message.content or "", cached]), flush=True)


if __name__ == "__main__":
    main()
