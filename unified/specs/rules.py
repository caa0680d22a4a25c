"""Rules of a task that span several keys. Each yields (key, message) for what breaks it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from unified.errors import did_you_mean
from unified.specs.answer_rules import ANSWER_RULES, Found, Rule, not_a_field, one_of
from unified.specs.build import build_example
from unified.specs.document import Document, Key
from unified.specs.example import BadRow
from unified.specs.preprocess import OPS, HideRegion, OfType, Op
from unified.specs.problems import Problem
from unified.specs.prompts import Template, TemplateError, template
from unified.specs.schema import FieldType, TaskSpec
from unified.specs.source_rules import check_source
from unified.specs.specimen import GoldenError, golden_text, golden_values, specimen
from unified.specs.structure import validate
from unified.specs.task import LoadedTask
from unified.specs.vocabulary import (
    DENSE,
    FIELD_KEYS,
    FORMATS,
    IMAGE_INPUTS,
    LOCATIONS,
    MODALITIES,
    TEXT_LIKE,
)


def check(task: LoadedTask, document: Document, *, sound: bool) -> list[Problem]:
    """All problems of a task whose shape is right. Templates are rendered and golden rows checked only
    if there are none, and the shape was right without mends (`sound`)."""
    found = [mistake for rule in RULES for mistake in rule(task.spec)]
    if not any(key in UNKNOWN_ANSWER for key, _ in found):
        found += [mistake for rule in ANSWER_RULES for mistake in rule(task.spec)]
    problems = [document.problem(key, message) for key, message in found]
    problems += _check_preprocess(task.spec, document)
    if sound and not problems:
        problems = [document.problem(key, message) for key, message in _check_rendering(task)]
    return problems


# --------------------------------------------------------------------------------------- fields


def check_fields(spec: TaskSpec) -> Found:
    if not spec.fields:
        yield ("fields",), "needs at least one field"
    for name, field in spec.fields.items():
        kind, key = spec.field_type(name), ("fields", name)
        if not name.isidentifier():
            yield key, f"'{name}' cannot be used in templates; use letters, digits and _"
        for option, kinds in FIELD_KEYS.items():
            if option == "labels" and field.format == "tokens":
                continue
            if getattr(field, option) is not None and kind not in kinds:
                yield (*key, option), f"means nothing for type {kind}, only for {one_of(kinds)}"
        yield from _check_format(kind, field.format, (*key, "format"))
        if field.axes is not None and sorted(a.lstrip("+-") for a in field.axes) != ["x", "y", "z"]:
            yield (*key, "axes"), 'must name x, y and z once each, e.g. ["x", "-y", "-z"]'
        if kind in ("segmentation", "keypoints") and not field.names:
            what = "classes" if kind == "segmentation" else "joints"
            yield key, f"{kind} needs `names`, the {what} by index or a file with one name a line"
        if field.unit_scale is not None and field.unit_scale <= 0:
            yield (*key, "unit_scale"), f"must be more than 0, not {field.unit_scale:g}"
        if field.image is not None and field.image not in spec.fields:
            yield (*key, "image"), not_a_field(spec, field.image)
        elif field.image is not None and spec.field_type(field.image) not in IMAGE_INPUTS:
            yield (*key, "image"), f"'{field.image}' is of type {spec.field_type(field.image)}, not an image"


def _check_format(kind: FieldType, written: str | None, key: Key) -> Found:
    if written is None:
        return
    known = FORMATS.get(kind, ())
    if not known:
        yield key, f"type {kind} has no formats"
    elif written not in known:
        hint = did_you_mean(written, known) or f"; there are {', '.join(known)}"
        yield key, f"unknown format '{written}' for type {kind}{hint}"


def _check_preprocess(spec: TaskSpec, document: Document) -> list[Problem]:
    problems = []
    for i, step in enumerate(spec.preprocess):
        key: Key = ("preprocess", i)
        if len(step) != 1:
            problems.append(document.problem(key, "must be one step, `name: {options}`"))
            continue
        [(name, options)] = step.items()
        if name not in OPS:
            hint = did_you_mean(name, list(OPS)) or f"; there are {', '.join(OPS)}"
            problems.append(document.problem(key, f"unknown step '{name}'{hint}"))
            continue
        part = document.part((*key, name), options)
        op, mistakes = validate(OPS[name], part)
        problems += mistakes
        if op is not None:
            found = _check_op_fields(spec, op)
            problems += [document.problem((*key, name, option), message) for option, message in found]
    return problems


def _check_op_fields(spec: TaskSpec, op: Op) -> Iterator[tuple[str, str]]:
    for option, name in op.fields().items():
        kinds = next(m for m in type(op).model_fields[option].metadata if isinstance(m, OfType)).types
        if name not in spec.fields:
            yield option, not_a_field(spec, name)
        elif spec.field_type(name) not in kinds:
            yield option, f"'{name}' is of type {spec.field_type(name)}; it must be {one_of(kinds)}"
        elif isinstance(op, HideRegion) and option == "image" and name not in spec.input.images:
            yield option, f"'{name}' is no input image, so nothing of it could be hidden"


# ---------------------------------------------------------------------------------------- input


def check_images(spec: TaskSpec) -> Found:
    for i, name in enumerate(spec.input.images):
        key = ("input", "images", i)
        if name not in spec.fields:
            yield key, not_a_field(spec, name)
        elif spec.field_type(name) not in IMAGE_INPUTS:
            kinds = one_of(IMAGE_INPUTS)
            yield key, f"'{name}' is of type {spec.field_type(name)}; an input image must be {kinds}"
        elif name in spec.input.images[:i]:
            yield key, f"'{name}' stands here twice"


def check_prompts(spec: TaskSpec) -> Found:
    if not spec.input.prompt:
        yield ("input", "prompt"), "needs at least one prompt"
    seen: dict[str, int] = {}
    for i, prompt in enumerate(spec.input.prompt):
        key: Key = ("input", "prompt", i)
        if prompt.text in seen:
            yield key, f"the same as prompt[{seen[prompt.text]}]; give that one a `weight`"
        seen.setdefault(prompt.text, i)
        yield from _check_template(spec, prompt.text, key)
    if spec.input.eval_prompt is not None:
        yield from _check_template(spec, spec.input.eval_prompt, ("input", "eval_prompt"))


def _check_template(spec: TaskSpec, text: str, key: Key) -> Found:
    if not text.strip():
        yield key, "is empty"
        return
    compiled = _compiled(text)
    if isinstance(compiled, str):
        yield key, f"not a valid template: {compiled}"
        return
    single = re.search(r"(?<!\{)\{\s*(\w+)\s*\}(?!\})", text)
    if single and single[1] in spec.fields:
        yield key, f"'{single[0]}' is plain text; a field is written {{{{ {single[1]} }}}}"
    for name in sorted(compiled.fields):
        if name not in spec.fields:
            yield key, f"template uses {not_a_field(spec, name).replace(' is not', ', which is not', 1)}"
        elif (kind := spec.field_type(name)) in DENSE:
            where = "name it in input.images" if kind in IMAGE_INPUTS else "it can only be a target"
            yield key, f"'{name}' is of type {kind} and cannot stand in text; {where}"
        elif kind in LOCATIONS and spec.frame_of(name) is None:
            yield key, f"'{name}' lies in an image, but no field is one"


def _compiled(text: str) -> Template | str:
    try:
        return template(text)
    except TemplateError as error:
        return str(error)


# --------------------------------------------------------------------------------------- target


def check_target(spec: TaskSpec) -> Found:
    target = spec.target
    if (target.field is None) == (target.template is None):
        yield ("target",), "needs exactly one of field and template"
    elif target.field is not None and target.field not in spec.fields:
        yield ("target", "field"), not_a_field(spec, target.field)
    elif target.field is not None:
        yield from _check_field_target(spec, target.field)
    else:
        yield from _check_template_target(spec, target.template or "")


def _check_field_target(spec: TaskSpec, name: str) -> Found:
    target, kind = spec.target, spec.field_type(name)
    allowed = MODALITIES.get(kind, (kind,))
    if spec.modality not in allowed:
        message = f"'{name}' is of type {kind} and can only be read back as {one_of(allowed)}"
        yield ("target", "modality"), message
        return
    if kind in LOCATIONS and spec.frame_of(name) is None:
        yield ("target", "field"), f"'{name}' lies in an image, but no field is one"
    if kind in DENSE and name in spec.input.images:
        yield ("target", "field"), f"'{name}' is an input image too; the answer would be given away"
    fits: dict[str, tuple[FieldType, ...]] = {
        "max_items": ("boxes", "points", "keypoints"), "order": ("boxes", "points", "keypoints"),
        "sample": ("texts",), "decimals": ("number",), "value_range": ("depth", "number"),
        "max_tokens": (*TEXT_LIKE, *LOCATIONS), "palette": ("segmentation",),
    }  # fmt: skip
    for option, kinds in fits.items():
        if option in target.model_fields_set and kind not in kinds:
            yield ("target", option), f"means nothing for a target of type {kind}, only for {one_of(kinds)}"
    if kind == "points" and target.order == "largest_first":
        yield ("target", "order"), "points have no size; choose given, left_to_right or random"
    if kind == "depth" and target.value_range is None:
        yield ("target", "value_range"), "depth needs the metres of black and white, e.g. [0, 10]"
    if target.palette == "unified_io" and len(spec.fields[name].names or ()) > 4:
        yield ("target", "palette"), "unified_io has four colours, so `names` may have four at most"
    if target.value_range is not None and target.value_range[0] >= target.value_range[1]:
        yield ("target", "value_range"), f"must ascend, not {list(target.value_range)}"


def _check_template_target(spec: TaskSpec, text: str) -> Found:
    yield from _check_template(spec, text, ("target", "template"))
    modality, compiled = spec.modality, _compiled(text)
    for option in ("max_items", "order", "sample", "decimals", "palette"):
        if option in spec.target.model_fields_set:
            yield ("target", option), "goes with `field`, not with `template`"
    if modality in DENSE or modality == "texts":
        yield ("target", "modality"), f"a template is text and cannot be read back as {modality}"
    elif modality in ("boxes", "points", "keypoints") and isinstance(compiled, Template):
        kinds = {spec.field_type(name) for name in compiled.fields if name in spec.fields}
        if modality not in kinds:
            yield ("target", "modality"), f"the template has no {modality} to be read back"


RULES: tuple[Rule, ...] = (check_source, check_fields, check_images, check_prompts, check_target)
UNKNOWN_ANSWER: tuple[Key, ...] = (("target",), ("target", "field"), ("target", "modality"))
"""A mistake at one of these leaves open what the answer is, which ANSWER_RULES ask."""

# ------------------------------------------------------------------------------------ rendering


def _check_rendering(task: LoadedTask) -> Found:
    """Builds an example of made-up values with every prompt, and the golden rows."""
    spec = task.spec
    values = specimen(spec, np.random.default_rng(0))
    texts: list[tuple[Key, str]] = [(("input", "prompt", i), p.text) for i, p in enumerate(spec.input.prompt)]
    texts += [(("input", "eval_prompt"), spec.input.eval_prompt)] if spec.input.eval_prompt else []
    texts += [(("target", "template"), spec.target.template)] if spec.target.template else []
    for key, text in texts:
        try:
            template(text).render({n: values[n] for n in template(text).fields})
        except TemplateError as error:
            yield key, f"does not render: {error}"
    for i in range(len(spec.checks)):
        yield from _check_golden(task, i)


def _check_golden(task: LoadedTask, index: int) -> Found:
    spec, golden, key = task.spec, task.spec.checks[index], ("checks", index)
    for name in golden.row:
        if name not in spec.fields:
            yield (*key, "row", name), not_a_field(spec, name)
            return
    try:
        values = golden_values(spec, golden.row)
        example = build_example(
            task, values, key="check", rng=np.random.default_rng(0), training=False,
            image_size=1024, target_size=1024, with_target=golden.target is not None,
        )  # fmt: skip
    except (GoldenError, BadRow) as error:
        yield (*key, "row"), f"cannot be built: {error}"
        return
    for what, wanted, got in (
        ("prompt", golden.prompt, example.prompt),
        ("target", golden.target, example.target),
    ):
        if wanted is None:
            continue
        if not isinstance(got, tuple):
            yield (*key, what), "a dense target has no text"
        elif golden_text(got, example) != wanted.strip():
            yield (*key, what), f"renders as '{golden_text(got, example)}', not as '{wanted.strip()}'"
