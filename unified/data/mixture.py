"""How often each task of a mixture is sampled.

A task's rate follows from its number of rows by the mixture's `rate` rule and from its weights;
rates are then normalised to sum to one. A fixed `share` is taken first, and the other tasks divide
the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from unified.errors import UserError
from unified.specs.load import LoadedMixture, MixtureTask
from unified.specs.schema import RateSpec


def rates(mixture: LoadedMixture, rows: Mapping[str, int]) -> dict[str, float]:
    """The share of all examples that each task gets, by task name; sums to one.

    `rows`: number of training rows of each task. Rules (RateSpec): `constant` gives every task the
    same rate, `examples` its rows, `sqrt` the square root of its rows (Unified-IO, section 3.3),
    `groups` divides each group's rate over its tasks by the square root of rows (Unified-IO, table
    1). `cap` bounds the rows that count; `temperature` T raises a rate to 1/T (mT5, section 3.1).

    Raises UserError when fixed shares leave nothing for the others or a group has no rate.
    """
    rule = mixture.spec.rate
    fixed = {e.task.name: e.share for e in mixture.entries if e.share is not None}
    free = [e for e in mixture.entries if e.share is None]
    taken = sum(fixed.values())
    if taken > 1 + 1e-9 or (free and taken >= 1 - 1e-9) or (not free and not math.isclose(taken, 1.0)):
        rest = f"{len(free)} other tasks share the rest" if free else "no other task takes the rest"
        raise UserError(f"{mixture.path}: tasks: fixed shares sum to {taken:g} and {rest}; mend the shares")

    raw = {e.task.name: _raw_rate(rule, rows[e.task.name]) * _weight(e) for e in free}
    if rule.by == "groups":
        raw = _by_group(mixture, free, raw)
    total = sum(raw.values())
    return {
        e.task.name: fixed[e.task.name] if e.task.name in fixed else raw[e.task.name] / total * (1 - taken)
        for e in mixture.entries
    }


def _weight(entry: MixtureTask) -> float:
    return entry.weight * entry.task.spec.sampling.weight


def _raw_rate(rule: RateSpec, rows: int) -> float:
    counted = min(rows, rule.cap) if rule.cap else rows
    rate = {"constant": 1.0, "examples": float(counted)}.get(rule.by, math.sqrt(counted))
    return float(rate ** (1 / rule.temperature))


def _by_group(
    mixture: LoadedMixture, entries: Sequence[MixtureTask], raw: Mapping[str, float]
) -> dict[str, float]:
    groups = mixture.spec.groups
    inside: dict[str, float] = {}
    for entry in entries:
        if entry.group is None or entry.group not in groups:
            raise UserError(
                f"{mixture.path}: {entry.task.name}: rate.by is 'groups' but the task's group "
                f"{entry.group!r} has no rate in `groups` ({', '.join(groups) or 'none given'})"
            )
        inside[entry.group] = inside.get(entry.group, 0.0) + raw[entry.task.name]
    return {
        e.task.name: groups[e.group] * raw[e.task.name] / inside[e.group]
        for e in entries
        if e.group is not None
    }


def mixture_table(mixture: LoadedMixture, rows: Mapping[str, int]) -> str:
    """The mixture as text: rows, rate, and epochs per million examples, one task a line."""
    shares = rates(mixture, rows)
    width = max(len("task"), *(len(name) for name in shares))
    lines = [f"{'task':<{width}}  {'rows':>11}  {'rate':>8}  {'epochs per million':>18}"]
    for name, share in sorted(shares.items(), key=lambda item: -item[1]):
        lines.append(f"{name:<{width}}  {rows[name]:>11,}  {share:>8.3%}  {share * 1e6 / rows[name]:>18.3f}")
    return "\n".join(lines)
