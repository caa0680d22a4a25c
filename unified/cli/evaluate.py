"""`unified eval` and `unified report`: score a model on tasks; the page of a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from unified.cli.parsing import Commands, command, positive
from unified.errors import UserError

EXAMPLES = """\
examples:
  unified eval runs/demo --limit 200
  unified eval toy --tasks toybox_refer,my_task.yaml,tag:vqa --split train
  unified eval runs/vqa --tasks vqav2 --split test --submission results
"""


def add(commands: Commands) -> None:
    p = command(commands, "eval", evaluate, "score a model on tasks, beside baseline and ceiling", EXAMPLES)
    p.add_argument("model", help="run folder, model folder, or shipped model (toy)")
    p.add_argument(
        "--tasks",
        default="all",
        help='task names, paths and "tag:NAME", comma-separated (default: all that the model carries); those '
        "without data here are listed, and an error only where named or nothing else is left",
    )
    p.add_argument("--split", default="validation", help="(default: %(default)s)")
    p.add_argument("--limit", type=positive, help="rows of each task (default: all)")
    p.add_argument("--out", help="folder for results.json and predictions.jsonl (default: RUN/eval/SPLIT)")

    p.add_argument("--submission", help="folder for the result files that the servers of benchmarks take")

    p = command(commands, "report", report, "write report.html of a run")
    p.add_argument("run_dir", help="run folder, or a folder that holds results.json")


def evaluate(args: argparse.Namespace) -> int:
    from unified.evaluation.evaluator import named_but_absent, run_eval

    results = run_eval(
        args.model, args.tasks, split=args.split, limit=args.limit, out=args.out, submission=args.submission
    )
    if absent := named_but_absent(args.tasks, results):
        raise UserError(f"not evaluated, as told above: {', '.join(absent)}; the others are")
    return 0


def report(args: argparse.Namespace) -> int:
    from unified.evaluation.report import write_report

    print(write_report(Path(args.run_dir)))
    return 0
