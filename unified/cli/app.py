"""`unified app`: a model on a web page."""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import threading
from typing import Any

from unified.cli.parsing import Commands, command, positive
from unified.cli.serve import add_address, listen

EXAMPLES = """\
examples:
  unified app
  unified app runs/demo --port 8080
"""


def add(commands: Commands) -> None:
    p = command(commands, "app", app, "ask a model on a web page", EXAMPLES)
    p.add_argument(
        "model", nargs="?", default="toy", help="run folder, model folder, or shipped model (default: toy)"
    )
    add_address(p, 7860)
    p.add_argument(
        "--concurrency", type=positive, default=2,
        help="most questions in work at once; the model computes one at a time (%(default)s)",
    )  # fmt: skip
    p.add_argument(
        "--queue",
        type=positive,
        default=20,
        help="most questions waiting; others are sent away (%(default)s)",
    )
    p.add_argument("--share", action="store_true", help="a public address, by gradio's servers")
    p.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: an accelerator if there is one)")
    p.add_argument(
        "--dtype", choices=("fp32", "bf16", "fp16"), default="fp32", help="number type (default: %(default)s)"
    )


def app(args: argparse.Namespace) -> int:
    held = listen(args.host, args.port)  # before the model is loaded
    signal.signal(signal.SIGTERM, _stop)
    with tempfile.TemporaryDirectory(prefix="unified-app-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # uploads; gradio's own folder is shared by all users
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        # gradio asks its own page whether it is there, which no proxy should hear
        os.environ["NO_PROXY"] = ",".join(filter(None, [os.environ.get("NO_PROXY"), "localhost", args.host]))

        from unified.serving.app.launch import serve_page
        from unified.serving.app.page import Page, Settings
        from unified.serving.pipeline import pipeline
        from unified.serving.uploads import Limits

        limits = Limits(args.max_mb * 2**20, args.max_megapixels * 10**6)
        pipe = pipeline(args.model, args.device, dtype=args.dtype)
        page = Page(pipe, args.model, Settings(args.concurrency, args.queue, limits))
        held.close()
        address = serve_page(page, args.host, args.port, share=args.share)
        print(f"{args.model}: {address}", flush=True)
        try:
            threading.Event().wait()
        finally:
            page.blocks.close(verbose=False)
    return 0


def _stop(*_: Any) -> None:
    raise KeyboardInterrupt
