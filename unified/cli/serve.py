"""`unified serve`: a model behind an HTTP API."""

from __future__ import annotations

import argparse
import os
import socket
import sys

from unified.cli.parsing import Commands, command, positive
from unified.errors import UserError

EXAMPLES = """\
examples:
  unified serve toy
  unified serve runs/demo --port 9000 --batch 64
  UNIFIED_TOKEN=secret unified serve runs/demo --host 0.0.0.0
"""


def add(commands: Commands) -> None:
    p = command(commands, "serve", serve, "answer prompts over HTTP", EXAMPLES)
    p.add_argument(
        "model", nargs="?", default="toy", help="run folder, model folder, or shipped model (default: toy)"
    )
    add_address(p, 8000)
    p.add_argument("--batch", type=positive, default=32, help="most requests answered at once (%(default)s)")
    p.add_argument(
        "--queue", type=positive, default=64, help="most requests inside; others get 429 (%(default)s)"
    )
    p.add_argument(
        "--timeout", type=positive, default=60, help="seconds that a request may take (%(default)s)"
    )
    p.add_argument("--token", help="asked of every client (default: $UNIFIED_TOKEN; without either, none)")
    p.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: an accelerator if there is one)")
    p.add_argument(
        "--dtype", choices=("fp32", "bf16", "fp16"), default="fp32", help="number type (default: %(default)s)"
    )


def add_address(p: argparse.ArgumentParser, port: int) -> None:
    p.add_argument("--host", default="127.0.0.1", help="address to listen at (default: this machine's own)")
    p.add_argument("--port", type=positive, default=port, help="port to listen at (default: %(default)s)")
    p.add_argument("--max-mb", type=positive, default=10, help="largest picture, in MB (%(default)s)")
    p.add_argument(
        "--max-megapixels", type=positive, default=16, help="most pixels of one, in millions (%(default)s)"
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to the address. Raises UserError where that is not to be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError as error:
        raise UserError(
            f"cannot listen at {host}:{port} ({error.strerror or error}); choose another --port or --host"
        ) from None
    return listening


def serve(args: argparse.Namespace) -> int:
    token = args.token or os.environ.get("UNIFIED_TOKEN")
    listening = listen(args.host, args.port)

    import uvicorn

    from unified.serving.api.app import Settings, build_app
    from unified.serving.pipeline import pipeline
    from unified.serving.uploads import Limits

    limits = Limits(args.max_mb * 2**20, args.max_megapixels * 10**6)
    pipe = pipeline(args.model, args.device, dtype=args.dtype)
    app = build_app(pipe, Settings(args.batch, args.queue, args.timeout, token, limits))
    if args.host not in ("127.0.0.1", "::1", "localhost") and token is None:
        print("warning: anybody who reaches this address can ask; --token asks for a secret", file=sys.stderr)
    listening.listen()  # whoever asks from here on waits for the server rather than being turned away
    print(f"{args.model}: http://{args.host}:{args.port}/docs", flush=True)
    config = uvicorn.Config(
        app, log_level="warning", timeout_graceful_shutdown=args.timeout, timeout_keep_alive=75
    )
    uvicorn.Server(config).run(sockets=[listening])
    return 0
