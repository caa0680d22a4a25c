"""Matrices of true and given answers."""

from types import SimpleNamespace

from unified.evaluation.confusion import MOST, OTHERS, confusion
from unified.specs.schema import OptionsSpec
from unified.values.types import Label, Text, Texts


def spec(modality="text", **options):
    return SimpleNamespace(modality=modality, options=OptionsSpec(**options) if options else None)


def cases(*targets):
    return [SimpleNamespace(target=target) for target in targets]


def test_labels_stand_in_the_order_of_the_choices():
    found = confusion(
        spec(choices=["no", "maybe", "yes"]),
        [Text("yes"), Text("no"), Text("yes"), Text("no")],
        cases(Text("yes"), Text("no"), Text("no"), Text("yes")),
    )
    assert found == {"labels": ["no", "yes"], "counts": [[1, 1], [1, 1]]}


def test_numerals_stand_by_size_and_rare_answers_are_others():
    names = [str(i) for i in range(MOST + 3) for _ in range(30 - i)]
    found = confusion(spec("label"), [Label(n) for n in names], cases(*map(Label, names)))
    assert found["labels"] == [*map(str, range(MOST)), OTHERS]
    assert found["counts"][-1][-1] == sum(30 - i for i in range(MOST, MOST + 3))
    assert sum(map(sum, found["counts"])) == len(names)


def test_an_answer_that_is_none_counts_as_others():
    found = confusion(spec("label"), [Texts(("a", "b"))], cases(Label("a")))
    assert found == {"labels": ["a", OTHERS], "counts": [[0, 1], [0, 0]]}


def test_open_answers_have_none():
    assert confusion(spec(), [Text("a")], cases(Text("a"))) is None
    assert confusion(spec(field="options"), [Text("a")], cases(Text("a"))) is None
    assert confusion(spec("label"), [Label("a")], cases(Texts(("a", "b")))) is None
