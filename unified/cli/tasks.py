"""`unified tasks ...`. Each command imports what it needs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from unified.cli.parsing import Commands, command, group, positive
from unified.errors import UserError, did_you_mean


def add(commands: Commands) -> None:
    tasks = group(commands, "tasks", "list, show, check and start task specs")
    p = command(tasks, "list", tasks_list, "all shipped tasks, and which have their data here")
    p.add_argument("--tag", help="only tasks with this tag")
    command(tasks, "docs", tasks_docs, "the page of all shipped tasks, in markdown")
    p = command(tasks, "show", tasks_show, "one task with its includes merged")
    p.add_argument("name", help="task name or path of a YAML file")
    p = command(tasks, "check", tasks_check, "lint specs, render their prompts, run their checks")
    p.add_argument("paths", nargs="*", help="YAML files, folders or task names (default: all shipped)")
    p.add_argument("--data", action="store_true", help="also read some rows of the data that is here")
    p.add_argument("--tokenizers", default="toy", help="set that answers are taken through (default: toy)")
    p = command(
        tasks, "preview", tasks_preview, "see rows as a model gets them, and what tokenizing costs them"
    )
    p.add_argument("name", help="task name or path of a YAML file")
    p.add_argument("-n", type=positive, default=16, help="rows, spread over the split (default: %(default)s)")
    p.add_argument(
        "--split", default="train", help="(default: train, read as training does, random choices and all)"
    )
    p.add_argument("--html", metavar="FILE", help="write a page with pictures and ids instead of a table")
    p.add_argument("--tokenizers", metavar="SET", help="name or folder of the tokenizer set (default: toy)")
    p.add_argument(
        "--model", metavar="RUN", help="run or model folder whose set, sizes and lengths are taken"
    )
    p = command(tasks, "new", tasks_new, "start a task from a shipped one")
    p.add_argument("name", help="of the new task: a-z, 0-9 and _ / . -")
    p.add_argument("--like", required=True, help="shipped task, or a part of its name: vqa, depth, ...")
    p.add_argument("--data", help="CSV, TSV, JSON or JSON lines file: its columns become the fields")
    p.add_argument("--out", help="file to write, never over another one (default: NAME.yaml)")
    command(tasks, "schema", tasks_schema, "JSON schema of a task spec, for editors")


def tasks_list(args: argparse.Namespace) -> int:
    from unified.sources.presence import presence
    from unified.specs.catalogue import gives, judged_by, read_catalogue, takes
    from unified.specs.load import list_tasks

    found = read_catalogue(list_tasks())
    families = found.families(args.tag)
    head = ("task", "in -> out", "metric", "data")
    rows = {
        family: [
            (f"  {t.name}", f"{takes(t.spec)} -> {gives(t.spec)}", judged_by(t.spec)[0], str(presence(t)))
            for t in tasks
        ]
        for family, tasks in families.items()
    }
    if rows:
        first, *lines = _columns([head, *(row for group in rows.values() for row in group)])
        print(first)
        for family, group in rows.items():
            print("\n".join([f"{family} ({len(group)})", *lines[: len(group)]]))
            lines = lines[len(group) :]
    for path, problem in found.broken:  # a spec that cannot be read never disappears from a listing
        print(f"unreadable: {path}\n  {problem}", file=sys.stderr)
    if not rows and not found.broken:
        hint = did_you_mean(args.tag, found.tags())
        raise UserError(f"no task has the tag '{args.tag}'{hint}; tags: {', '.join(found.tags())}")
    return 2 if found.broken else 0


def tasks_docs(args: argparse.Namespace) -> int:
    from unified.evaluation.task_docs import task_docs
    from unified.specs.catalogue import read_catalogue
    from unified.specs.load import list_tasks

    found = read_catalogue(list_tasks())
    if found.broken:
        raise UserError("\n".join(str(problem) for _, problem in found.broken))
    print(task_docs(found), end="")
    return 0


def tasks_show(args: argparse.Namespace) -> int:
    from unified.specs.load import load_task, to_yaml

    task = load_task(args.name)
    print(f"# {task.identity}  {task.path}")
    print(to_yaml(task.resolved), end="")
    return 0


def tasks_check(args: argparse.Namespace) -> int:
    from unified.specs.check import check_tasks
    from unified.specs.load import list_tasks

    report = check_tasks(args.paths or list_tasks())
    if args.data:
        from unified.evaluation.check_data import tell_data

        return tell_data(report, args.tokenizers)
    print(report)
    return 2 if report.problems else 0


def tasks_preview(args: argparse.Namespace) -> int:
    """0, or 1 where a round trip through the tokenizers costs more than it may."""
    from unified.evaluation.page import check_page
    from unified.preview.page import write_preview
    from unified.preview.processor import preview_processor
    from unified.preview.rows import preview
    from unified.preview.terminal import table
    from unified.specs.load import load_task

    task = load_task(args.name)
    page = check_page(args.html) if args.html else None
    found = preview(task, args.split, preview_processor(args.tokenizers, args.model), args.n)
    if page is None:
        print(table(found))
    else:
        write_preview(found, page)
        print(f"wrote {page}")
    failed = [check for check in found.worst if not check.passed]
    for check in failed:
        told = f": {check.note}" if check.note else ""
        print(f"past its tolerance: {check}{told}", file=sys.stderr)
    return 1 if failed else 0


def tasks_new(args: argparse.Namespace) -> int:
    from unified.specs.check import new_task

    path = Path(args.out or f"{Path(args.name).name}.yaml").expanduser()
    data = Path(args.data).expanduser() if args.data else None
    if path.suffix not in (".yaml", ".yml"):
        raise UserError(f"--out {path}: a task is a .yaml file")
    text = new_task(args.name, like=args.like, source=data, out=path)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UserError(f"{path}: exists already, and is left as it is; choose another --out") from None
    except FileNotFoundError:
        raise UserError(f"{path}: the folder {path.parent} is not there; make it first") from None
    print(f"wrote {path}; edit it, then: unified tasks check --data {path}")
    return 0


def tasks_schema(args: argparse.Namespace) -> int:
    from unified.specs.check import json_schema

    print(json.dumps(json_schema(), indent=1))
    return 0


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    return ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
