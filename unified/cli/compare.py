"""`unified compare`: which of two evaluations is better."""

from __future__ import annotations

import argparse
import json

from unified.cli.parsing import Commands, command, natural, positive

EXAMPLES = """\
examples:
  unified compare runs/first runs/second
  unified compare runs/x/eval/step_00010000 runs/x/eval/step_00020000 --html compare.html
"""


def add(commands: Commands) -> None:
    p = command(
        commands, "compare", compare, "which of two evaluations is better, and how sure that is", EXAMPLES
    )
    p.add_argument("a", help="run folder (its newest evaluation counts), or a folder that holds results.json")
    p.add_argument("b", help="another, evaluated on the same rows")
    p.add_argument("--html", metavar="FILE", help="also write a page")
    p.add_argument("--json", action="store_true", help="print JSON instead of a table")
    p.add_argument("--resamples", type=positive, default=1000, help="of the bootstrap (default: %(default)s)")
    p.add_argument("--seed", type=natural, default=0, help="of the bootstrap (default: %(default)s)")


def compare(args: argparse.Namespace) -> int:
    from unified.evaluation import compare as comparing
    from unified.evaluation.compare_page import write_comparison
    from unified.evaluation.page import check_page

    page = check_page(args.html) if args.html else None
    found = comparing.compare(args.a, args.b, resamples=args.resamples, seed=args.seed)
    print(json.dumps(found.to_dict(), indent=1) if args.json else found.table())
    if page is not None:
        write_comparison(found, page)
        if not args.json:
            print(f"\nwrote {page}")
    return 0
