"""`unified tasks preview`: rows with pictures, ids and round trips, in the terminal and on a page."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from unified.cli import main

ROOT = Path(__file__).parents[2]
TEXT, ANSWER = "text of the prompt 0 0 % of characters ok", "text of the answer 0 0 % of characters ok"
KINDS = {  # task -> what its page has checked, captions of its pictures
    "vqa_count": ([ANSWER, "text read back 0"], ["input"]),
    "classify_shape": (["label read back 0"], ["input"]),
    "distance": (["number of the answer"], ["input"]),
    "refer": (["boxes of the answer", "0.032 px ok"], ["answer, read back from its ids"]),
    "detect": (["boxes of the answer", "labels of the answer 0", "items of the answer 0"], []),
    "point": (["points of the answer"], ["answer, read back from its ids"]),
    "keypoints": (["keypoints of the answer", "visibility of joints 0"], ["answer, read back from its ids"]),
    "grounded_caption": ([ANSWER, "boxes of the answer"], ["answer, read back from its ids"]),
    "caption_region": (["boxes of the prompt"], ["input"]),
    "frames_statement": ([ANSWER], ["input 1", "input 2", "input 3"]),
    "refer_mask": (["mask as a picture 0", "mask_iou"], ["the same from its codes"]),
    "segmentation_colour": (["segmentation as a picture 0", "miou"], ["answer, read back from its codes"]),
    "depth": (["depth in 8 bits", "depth_rmse", "64 image codes"], ["answer, read back from its codes"]),
    "normals": (["normals in 8 bits"], ["answer, as the image tokenizer gets it"]),
    "edit": (["through the image tokenizer", "psnr"], ["the same from its codes"]),
    "text_to_image": (["through the image tokenizer"], ["the same from its codes"]),
}  # fmt: skip


@pytest.fixture
def preview(tmp_path, monkeypatch, capsys):
    """Runs the command in an empty folder; its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def preview(*arguments, rows=2):
        code = main(["tasks", "preview", *map(str, arguments), "-n", str(rows)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return preview


@pytest.mark.parametrize("task", KINDS)
def test_every_kind_of_answer(preview, read_page, task):
    checks, captions = KINDS[task]
    code, out, err = preview(f"toybox_{task}", "--html", "out.html")
    assert (code, out, err) == (0, "wrote out.html\n", "")
    page = read_page("out.html")
    for words in (TEXT, *checks):
        assert words in page.text, words
    for caption in captions:
        assert f"<figcaption>{caption}</figcaption>" in page.html
    assert "past it" not in page.text and page.text.count("round trip ok") == 2


def test_ids_say_what_they_are_and_what_carries_loss(preview, read_page):
    preview("toybox_refer", "--html", "out.html", rows=1)
    page = read_page("out.html").html
    prompt, target = page.partition("<dt>prompt ids</dt>")[2].split("<dt>target ids</dt>")
    assert 'class="id text"' in prompt and " loss" not in prompt
    assert target.count('class="id location loss"') == 4 and ">y " in target and ">x " in target
    assert 'class="id special loss" title="id 1, loss weight 1">end' in target


def test_codes_of_padding_are_faint(preview, read_page):
    shutil.copytree(ROOT / "docs/example/images", "images")
    Path("rows.jsonl").write_text(json.dumps({"image": "images/00.jpg", "wide": "images/wide.png"}))
    with Image.open("images/00.jpg") as picture:
        picture.resize((64, 32)).save("images/wide.png")
    spec(
        Path("copy.yaml"), fields="{image: wide, copied: {type: image, path: wide}}", target="{field: copied}"
    )
    code, *_ = preview("copy.yaml", "--html", "out.html", rows=1)
    page = read_page("out.html")
    assert code == 0 and page.html.count('class="id code none" title=') == 32
    assert "64 image codes, 32 carry loss" in page.text and "patches 32 of 64" in page.text


def spec(path, *, fields, target, prompt="what ?", more=""):
    path.write_text(
        f"task: mine\nsource: {{type: jsonl, splits: {{train: rows.jsonl}}}}\nfields: {fields}\n"
        f"input: {{images: [image], prompt: ['{prompt}']{more}}}\ntarget: {target}\n"
    )


@pytest.fixture
def rows(tmp_path, monkeypatch):
    """Six rows of our own: one names a picture that cannot be read, one lacks its answer."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "docs/example/images", tmp_path / "images")
    (tmp_path / "images/03.jpg").write_bytes(b"no picture")
    made = [
        {"image": f"images/{i:02}.jpg", "question": "how <b>many</b> ½ ?", "answer": "a 🙂 & one",
         "boxes": [[0, 0, 10, 10], [5, 5, 30.3, 40.7], [1, 2, 3, 4]]}
        for i in range(6)
    ]  # fmt: skip
    del made[4]["answer"]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, made)))
    fields = "{image: image, question: question, answer: answer, boxes: boxes}"
    spec(tmp_path / "mine.yaml", fields=fields, target="{field: answer}", prompt="{{ question }}")
    spec(tmp_path / "cut.yaml", fields=fields, target="{field: boxes, max_items: 2}", prompt="one two three",
         more=", max_tokens: 3")  # fmt: skip
    return tmp_path


def test_own_spec_with_bad_rows(rows, preview, read_page):
    code, out, err = preview("mine.yaml", rows=6)
    assert code == 0 and err == ""
    assert "split 'train', 4 of 6 rows, as training reads them; tokenizers 'toy'" in out
    assert "2 of 6 rows skipped:" in out and "rows.jsonl:4: field 'image'" in out and "rows.jsonl:5: " in out
    assert "how <b>many</b> ½ ?" in out and "a 🙂 & one" in out
    assert preview(rows / "mine.yaml", "--html", "out.html", rows=6)[0] == 0
    page = read_page("out.html")
    assert "&lt;b&gt;many&lt;/b&gt;" in page.html and "2 rows skipped" in page.text


def test_what_is_cut_and_left_out_is_said(rows, preview):
    code, out, _ = preview("cut.yaml", rows=1)
    assert code == 0
    assert "are cut off its end" in out and "1 of 3 items are beyond max_items 2" in out


# ------------------------------------------------------------------------------ past the tolerance


def test_wrong_value_range(preview, read_page, tmp_path):
    (tmp_path / "near.yaml").write_text(
        "task: near\nsource: {type: toybox, kind: depth}\nfields: {image: image, depth: depth}\n"
        "input: {images: [image], prompt: ['how far ?']}\ntarget: {field: depth, value_range: [2, 5]}\n"
    )
    code, out, err = preview("near.yaml", "--html", "out.html")
    assert code == 1 and "past its tolerance: depth outside 2..5 m" in err
    page = read_page("out.html")
    assert "past it" in page.text and "2 rows past a tolerance" in page.text


def test_text_that_the_set_cannot_spell(rows, preview, monkeypatch):
    from unified.tokenization.text import TextTokenizer

    whole = TextTokenizer.encode
    monkeypatch.setattr(TextTokenizer, "encode", lambda self, text, strict=False: whole(self, text)[:-1])
    code, out, err = preview("mine.yaml", rows=1)
    assert code == 1 and "FAIL  text of the answer" in out
    assert "“a 🙂 & one” comes back as “a 🙂 &" in err


def test_locations_that_are_off(preview, monkeypatch):
    from unified.tokenization.locations import LocationTokenizer

    exact = LocationTokenizer.quantise
    monkeypatch.setattr(LocationTokenizer, "quantise", lambda self, *a: (exact(self, *a) + 1).clip(0, 999))
    code, out, err = preview("toybox_refer")
    assert code == 1 and err.startswith("past its tolerance: boxes of the answer 0.") and err.count("\n") == 1


# ---------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("gone.yaml", "gone.yaml: there is no such file"),
        ("toybox_vqa_cout", "unknown task 'toybox_vqa_cout' (did you mean"),
        ("broken.yaml", "broken.yaml:5: target.fild: unknown key 'fild' (did you mean 'field'?)"),
        ("toybox_refer --split gone", "no split 'gone'; 'toybox_refer' has: train, validation, held_out"),
        ("toybox_refer --tokenizers ty", "tokenizer set 'ty': no such set (did you mean 'toy'?)"),
        ("toybox_refer --tokenizers toy --model toy", "leave --tokenizers out, or --model"),
        ("toybox_refer --html out.png", "--html out.png: a page is an .html file"),
        ("toybox_refer --html gone/out.html", "the folder gone is not there; make it first"),
        ("toybox_depth --tokenizers unified_io", "the weights of the image tokenizer are not there"),
        ("no_rows.yaml", "source.splits.train: no such file: "),
        ("no_pictures.yaml", "none of 2 rows of split 'train' can be used; the first: rows.jsonl:1: "),
        ("unified_io_pose", "has no `source`"),
    ],
)
def test_one_message_and_exit_code_2(preview, tmp_path, arguments, message):
    text = (
        "task: mine\nsource: {type: jsonl, splits: {train: rows.jsonl}}\n"
        "fields: {image: image, answer: answer}\n"
        "input: {images: [image], prompt: ['what ?']}\ntarget: {field: answer}\n"
    )
    (tmp_path / "no_pictures.yaml").write_text(text)
    (tmp_path / "no_rows.yaml").write_text(text.replace("rows.jsonl", "others.jsonl"))
    (tmp_path / "broken.yaml").write_text(text.replace("field: answer", "fild: answer"))
    row = json.dumps({"image": "away.png", "answer": "yes"})
    (tmp_path / "rows.jsonl").write_text(f"{row}\n{row}\n")
    before = sorted(tmp_path.iterdir())
    code, out, err = preview(*arguments.split())
    assert code == 2 and out == "" and err.startswith("error: ") and message in err, err
    assert "Traceback" not in err and sorted(tmp_path.iterdir()) == before


def test_splits_without_answers(rows, preview):
    text = (rows / "mine.yaml").read_text()
    (rows / "mine.yaml").write_text(text.replace("train: rows", "test: rows"))
    code, out, _ = preview("mine.yaml", "--split", "test", "--model", "toy", rows=6)
    assert code == 0 and "as evaluation reads them" in out and "no answer in this row" in out
