"""Requests a second of `unified serve`: one at a time beside batches, and a crowd for a minute.

    python benchmarks/serve.py
    python benchmarks/serve.py --clients 200 --seconds 60

Both servers run at once on this machine and are asked in turns, so that noise meets both; every request is a
question about a toybox picture. Then `--clients` ask without pause, and go on at once when told to come back
later; anything but 200 and 429 fails the benchmark.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import collections
import io
import socket
import statistics
import subprocess
import sys
import time
from typing import TypeAlias

import aiohttp
from PIL import Image

from unified.sources.toybox.source import ToyboxRows
from unified.specs.source_schema import ToyboxSource

QUESTIONS = ("how many things are there ?", "What does the image describe ?", "What color is the cube ?")


def picture() -> str:
    row = ToyboxRows(ToyboxSource(type="toybox", kind="refer", image_size=128), "validation")[7]
    out = io.BytesIO()
    Image.fromarray(row["image"]).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


class Server:
    """A server of the toy model in a process of its own."""

    def __init__(self, *options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "unified", "serve", "toy", "--port", str(port), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    async def ready(self) -> None:
        async with aiohttp.ClientSession() as client:
            while True:
                try:
                    async with client.get(f"{self.url}/healthz"):
                        return
                except aiohttp.ClientConnectionError:
                    if self.process.poll() is not None:
                        sys.exit("the server ended")
                    await asyncio.sleep(0.2)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


Codes: TypeAlias = "collections.Counter[int]"


async def crowd(url: str, clients: int, seconds: float, image: str) -> tuple[float, Codes, list[float]]:
    """Answers a second, status codes, and the seconds that each answer took."""
    codes: Codes = collections.Counter()
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def one(client: aiohttp.ClientSession, number: int) -> None:
        body = {"prompt": QUESTIONS[number % len(QUESTIONS)], "images": [image]}
        while (began := time.perf_counter()) < end:
            async with client.post(f"{url}/v1/prompt", json=body) as answer:
                await answer.read()
            codes[answer.status] += 1
            if answer.status == 200:
                took.append(time.perf_counter() - began)
            elif answer.status == 429:
                await asyncio.sleep(float(answer.headers["retry-after"]))

    connector = aiohttp.TCPConnector(limit=clients)
    async with aiohttp.ClientSession(connector=connector) as client:
        began = time.perf_counter()
        await asyncio.gather(*(one(client, n) for n in range(clients)))
        return len(took) / (time.perf_counter() - began), codes, took


async def measure(args: argparse.Namespace) -> int:
    image = picture()
    single, batched = Server("--batch", "1"), Server("--batch", "32")
    try:
        await asyncio.gather(single.ready(), batched.ready())
        rates: dict[str, list[float]] = {"one at a time": [], "batches of up to 32": []}
        for _ in range(args.rounds):
            for server, name in zip((single, batched), rates, strict=True):
                rate, _, _ = await crowd(server.url, 32, args.round_seconds, image)
                rates[name].append(rate)
        slow, fast = (statistics.median(found) for found in rates.values())
        for name, found in rates.items():
            print(f"{name:<22}{statistics.median(found):8.1f} answers/s")
        print(f"{'ratio':<22}{fast / slow:8.2f}")
        single.stop()
        rate, codes, took = await crowd(batched.url, args.clients, args.seconds, image)
        took.sort()
        half, most = took[len(took) // 2], took[int(len(took) * 0.99)]
        told = ", ".join(f"{count} x {code}" for code, count in sorted(codes.items()))
        print(f"{args.clients} clients for {args.seconds:g} s: {told}")
        print(f"{rate:.1f} answers/s, half within {half:.2f} s, 99 % within {most:.2f} s")
        return 0 if codes.keys() <= {200, 429} else 1
    finally:
        single.stop()
        batched.stop()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--round-seconds", type=float, default=6)
    return asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
