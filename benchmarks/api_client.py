"""Wall time of 1,000 chat calls, 32 at once: mibe's openai model beside the bare client, against one scripted server.

    python benchmarks/api_client.py [--runs 5] [--calls 1000] [--delay 0.05] [--peer]

The server runs in a process of its own on loopback and answers every call after `--delay` seconds. The bare client is
`AsyncOpenAI` with a semaphore of 32 and nothing else. `--peer` adds lm-eval's `local-chat-completions`, its class
alone (it needs `lm_eval[api]`). Clients take turns; medians of all runs. Each run is a fresh client, so that
connecting is a part of what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

MODEL = "scripted"
PROMPT = "Question {number}: a patient presents with fever, cough and a rash. " + "The history is unremarkable. " * 40
NEW_TOKENS = 16


def serve(delay: Callable[[bytes], float]) -> None:
    """Answer chat completions until killed, each after the seconds that `delay` says of the request's body.

    The first line printed is the port.
    """
    body = json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": MODEL,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "A"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 300, "completion_tokens": 1, "total_tokens": 301},
        }
    ).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                [length] = [
                    int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
                ]
                await asyncio.sleep(delay(await reader.readexactly(length)))
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=512)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    asyncio.run(run())


def bare(url: str, calls: int, at_once: int) -> int:
    """The client of the `openai` package, `at_once` calls under way at any time."""
    import openai

    async def run() -> int:
        gate = asyncio.Semaphore(at_once)
        async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:

            async def call(number: int) -> str | None:
                async with gate:
                    answer = await client.chat.completions.create(
                        model=MODEL,
                        messages=[{"role": "user", "content": PROMPT.format(number=number)}],
                        max_tokens=NEW_TOKENS,
                        temperature=0,
                        seed=0,
                    )
                return answer.choices[0].message.content

            return sum(text == "A" for text in await asyncio.gather(*map(call, range(calls))))

    return asyncio.run(run())


def ours(url: str, calls: int, at_once: int) -> int:
    """The same calls through `mibe`'s model."""
    from mibe.models import load_model
    from mibe.models.base import Message, Request, Sampling

    model = load_model("openai", {"model": MODEL, "base_url": url, "concurrency": str(at_once)})
    requests = []
    for number in range(calls):
        messages = (Message(role="user", content=PROMPT.format(number=number)),)
        requests.append(Request(messages, model.render(messages), Sampling(max_new_tokens=NEW_TOKENS)))
    try:
        return sum(response.text == "A" for _, response in model.generate(requests))
    finally:
        model.close()


def peer(url: str, calls: int, at_once: int) -> int:
    """The same calls through lm-eval's class for chat servers, without its runner."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.api_models import JsonChatStr
    from lm_eval.models.openai_completions import LocalChatCompletion

    model = LocalChatCompletion(
        base_url=f"{url}/chat/completions", model=MODEL, num_concurrent=at_once, tokenizer_backend=None
    )
    settings = {"until": [], "max_gen_toks": NEW_TOKENS, "temperature": 0}
    requests = []
    for number in range(calls):
        messages = json.dumps([{"role": "user", "content": PROMPT.format(number=number)}])
        arguments = (JsonChatStr(messages), dict(settings))
        requests.append(Instance(request_type="generate_until", doc={}, arguments=arguments, idx=0))
    return sum(text == "A" for text in model.generate_until(requests, disable_tqdm=True))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--calls", type=int, default=1000)
    options.add_argument("--at-once", type=int, default=32)
    options.add_argument("--delay", type=float, default=0.05, help="seconds that the server takes for an answer")
    options.add_argument("--peer", action="store_true", help="also lm-eval's local-chat-completions")
    options.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.serve:
        serve(lambda _: given.delay)
        return
    clients: dict[str, Callable[[str, int, int], int]] = {"bare client": bare, "mibe": ours}
    if given.peer:
        clients["lm-eval"] = peer
    seconds: dict[str, list[float]] = {name: [] for name in clients}
    command = [sys.executable, __file__, "--serve", "--delay", str(given.delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as server:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        try:
            for client in clients.values():
                client(url, given.at_once, given.at_once)  # imports are not what is measured
            for number in range(given.runs):
                for name in sorted(clients, reverse=bool(number % 2)):
                    begun = time.perf_counter()
                    answered = clients[name](url, given.calls, given.at_once)
                    seconds[name].append(time.perf_counter() - begun)
                    if answered != given.calls:
                        raise SystemExit(f"{name}: {answered} of {given.calls} calls were answered")
        finally:
            server.kill()
    floor = given.calls / given.at_once * given.delay
    print(
        f"{given.calls} calls, {given.at_once} at once, {given.delay * 1000:.0f} ms each: no client can take less than"
    )
    print(f"{floor:.2f} s. Medians of {given.runs} runs, interleaved.")
    base = statistics.median(seconds["bare client"])
    for name, values in seconds.items():
        middle = statistics.median(values)
        print(f"  {name:12} {middle:6.2f} s  ({min(values):.2f} to {max(values):.2f}), {middle / base:.2f} of the bare")


if __name__ == "__main__":
    main()
