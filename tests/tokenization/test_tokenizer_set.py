import pytest

from unified.errors import UserError
from unified.tokenization.tokenizer_set import TokenizerSet, list_sets, require_same

TOY_HASH = "9209d1558f4e672e099f24dad40732690961df5857eef93f3c54eac676c36b02"


def test_shipped_sets():
    assert list_sets() == ["toy", "unified_io"]


def test_the_toy_set_is_frozen(toy):
    """Shipped weights are trained on these ids; another hash makes them unreadable."""
    assert toy.hash == TOY_HASH


def test_toy_layout(toy):
    v = toy.vocabulary
    assert (v.text_size, v.image_start_id, v.image_offset, v.total) == (3072, 3071, 3072, 4096)
    assert v.location_id(0) == 2048 and v.location_id(999) == 3047
    assert toy.code_cell == 8 and toy.image.n_codes == 1024


@pytest.mark.parametrize("name", ["toy", "unified_io"])
def test_a_saved_copy_is_the_same_set(name, tmp_path):
    tokenizers = TokenizerSet.load(name, image_weights=False)
    tokenizers.save(tmp_path / "copy")
    copy = TokenizerSet.load(tmp_path / "copy")
    assert copy.hash == tokenizers.hash
    copy.save(tmp_path / "copy")  # onto itself
    assert TokenizerSet.load(tmp_path / "copy").hash == tokenizers.hash
    if name == "toy":
        assert copy.image.n_codes == 1024


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("tokenizer.yaml", lambda b: b.replace(b"order: yx", b"order: xy")),
        ("vqgan.yaml", lambda b: b.replace(b"resolution: 64", b"resolution: 32")),
        ("vqgan.safetensors", lambda b: b[:-1] + bytes([b[-1] ^ 1])),
    ],
)
def test_whatever_changes_the_meaning_of_ids_changes_the_hash(file, change, toy, tmp_path):
    toy.save(tmp_path)
    path = tmp_path / file
    changed = change(path.read_bytes())
    assert changed != path.read_bytes()
    path.write_bytes(changed)
    assert TokenizerSet.load(tmp_path, image_weights=False).hash != toy.hash


def test_comments_do_not_change_the_hash(toy, tmp_path):
    toy.save(tmp_path)
    path = tmp_path / "tokenizer.yaml"
    path.write_text("# a remark\n" + path.read_text())
    assert TokenizerSet.load(tmp_path).hash == toy.hash


def test_weights_that_do_not_ship_do_not_enter_the_hash(official, tmp_path):
    official.save(tmp_path)
    (tmp_path / "vqgan.ckpt").write_bytes(b"downloaded later")
    assert TokenizerSet.load(tmp_path, image_weights=False).hash == official.hash


def test_another_set_is_refused_by_both_hashes(toy, official):
    require_same(toy.hash, toy.hash, "run")
    with pytest.raises(UserError) as caught:
        require_same(toy.hash, official.hash, "runs/x/checkpoint")
    assert all(part in str(caught.value) for part in (toy.hash, official.hash, "runs/x/checkpoint"))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("order: yx", "order: zz", "locations.order"),
        ("tokenizers: toy", "tokenizer: toy", "tokenizers: field required"),
        ("pieces: 2048", "pieces: 2000", "has 2048 pieces"),
        ("text_size: 3072", "text_size: 3000", "at least 3049"),
        ("model: text.model", "model: other.model", "other.model"),
        ("version: 1", "version: [", "not valid YAML"),
    ],
)
def test_a_broken_set_says_what_is_wrong(before, after, said, toy, tmp_path):
    toy.save(tmp_path)
    path = tmp_path / "tokenizer.yaml"
    path.write_text(path.read_text().replace(before, after, 1))
    with pytest.raises(UserError, match=said):
        TokenizerSet.load(tmp_path)


def test_a_codebook_of_another_size_is_refused(toy, tmp_path):
    toy.save(tmp_path)
    path = tmp_path / "tokenizer.yaml"
    path.write_text(path.read_text().replace("codes: 1024", "codes: 512"))
    with pytest.raises(UserError, match="has 1024"):
        TokenizerSet.load(tmp_path).image  # noqa: B018


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(UserError, match="did you mean 'toy'"):
        TokenizerSet.load("toi")
    with pytest.raises(UserError, match="unified_io"):
        TokenizerSet.load("../somewhere")
