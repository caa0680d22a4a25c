"""Rates of a mixture by every rule, hand-computed."""

import pytest

from unified.data.mixture import mixture_table, rates
from unified.errors import UserError
from unified.specs.load import load_mixture

ROWS = {"toybox_vqa_count": 100, "toybox_depth": 400, "toybox_refer": 900}


def mixture(tmp_path, text):
    path = tmp_path / "m.yaml"
    path.write_text("mixture: m\n" + text)
    return load_mixture(path)


ALL = "tasks: [toybox_vqa_count, toybox_depth, toybox_refer]\n"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("{by: constant}", [1 / 3, 1 / 3, 1 / 3]),
        ("{by: examples}", [100 / 1400, 400 / 1400, 900 / 1400]),
        ("{by: sqrt}", [10 / 60, 20 / 60, 30 / 60]),
        ("{by: examples, cap: 400}", [100 / 900, 400 / 900, 400 / 900]),
        ("{by: examples, temperature: 2}", [10 / 60, 20 / 60, 30 / 60]),
    ],
)
def test_rules(tmp_path, rule, expected):
    got = rates(mixture(tmp_path, f"rate: {rule}\n{ALL}"), ROWS)
    assert list(got.values()) == pytest.approx(expected)


def test_weights_and_shares(tmp_path):
    text = (
        "tasks:\n- {task: toybox_vqa_count, share: 0.4}\n- {task: toybox_depth, weight: 2}\n- toybox_refer\n"
    )
    assert rates(mixture(tmp_path, text), ROWS) == pytest.approx(
        {"toybox_vqa_count": 0.4, "toybox_depth": 0.4, "toybox_refer": 0.2}
    )


def test_groups_divide_by_the_square_root_of_rows(tmp_path):
    text = (
        "rate: {by: groups}\ngroups: {text: 0.25, dense: 0.75}\ntasks:\n"
        "- {task: toybox_vqa_count, group: text}\n- {task: toybox_depth, group: dense}\n"
        "- {task: toybox_refer, group: dense}\n"
    )
    assert rates(mixture(tmp_path, text), ROWS) == pytest.approx(
        {"toybox_vqa_count": 0.25, "toybox_depth": 0.75 * 20 / 50, "toybox_refer": 0.75 * 30 / 50}
    )


def test_shares_that_leave_nothing_are_refused(tmp_path):
    text = "tasks:\n- {task: toybox_vqa_count, share: 1.0}\n- toybox_refer\n"
    with pytest.raises(UserError, match="share"):
        rates(mixture(tmp_path, text), ROWS)


def test_table_shows_rate_and_epochs(tmp_path):
    table = mixture_table(mixture(tmp_path, f"rate: {{by: sqrt}}\n{ALL}"), ROWS).splitlines()
    assert table[1].split() == ["toybox_refer", "900", "50.000%", "555.556"]
