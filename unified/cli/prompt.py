"""`unified prompt`: ask a model."""

from __future__ import annotations

import argparse
import json
import sys

from unified.cli.parsing import Commands, command
from unified.errors import UserError

EXAMPLES = """\
examples:
  unified prompt toy "What is the depth map of the image ?" --image room.png --out depth.png
  unified prompt toy --task toybox_refer --set phrase="red cube" --image room.png --out box.png
"""


def add(commands: Commands) -> None:
    p = command(commands, "prompt", prompt, "ask a model", EXAMPLES)
    p.add_argument("model", help="run folder, model folder, or shipped model (toy)")
    p.add_argument(
        "prompt", nargs="?", help="a question in your words; those of a known task follow its rules"
    )
    p.add_argument("--image", action="append", default=[], help="picture file; may be repeated")
    p.add_argument("--task", help="answer as this task, with its constraints and typed result")
    p.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="a field of --task")
    p.add_argument(
        "--target", help="kind of answer to a prompt that no task matches: boxes, depth, ... (default: text)"
    )
    p.add_argument("--out", help="file for the answer: drawn over the image, the image itself, or .json")
    p.add_argument("--json", action="store_true", help="print the typed answer as JSON")
    p.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: an accelerator if there is one)")
    p.add_argument(
        "--dtype", choices=("fp32", "bf16", "fp16"), default="fp32", help="number type (default: %(default)s)"
    )
    p.add_argument(
        "--strict", action="store_true", help="answer as the official Unified-IO code, quirks included"
    )


def prompt(args: argparse.Namespace) -> int:
    if not args.task and not args.prompt:
        raise UserError("nothing to answer: give a prompt, or --task NAME with --set FIELD=VALUE")
    if args.task and args.prompt:
        raise UserError(f"--task {args.task} has its own prompt; leave '{args.prompt}' out, or --task")
    if args.task and args.target:
        raise UserError(f"--task {args.task} knows its kind of answer; leave --target out")
    if args.set and not args.task:
        raise UserError(f"--set {args.set[0]}: a free prompt has no fields; name the task with --task")
    fields = {}
    for item in args.set:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise UserError(f"--set {item}: write it as FIELD=VALUE")
        if name in fields:
            raise UserError(f"--set {item}: '{name}' is given twice")
        fields[name] = value

    from unified.serving.pipeline import pipeline
    from unified.serving.result import check_writable

    if args.out:
        check_writable(args.out)  # before the model is loaded and asked
    pipe = pipeline(args.model, args.device, dtype=args.dtype, strict=args.strict)
    if args.task:
        result = pipe.ask(args.task, args.image, fields)
    else:
        result = pipe(args.prompt, image=args.image, target=args.target)
    print(json.dumps(result.to_dict(), ensure_ascii=False) if args.json else result.text)
    if result.malformed:
        print("note: the model's output was no whole answer; this is what could be read", file=sys.stderr)
    if args.out:
        print(f"wrote {result.save(args.out)}", file=sys.stderr)
    return 0
