"""Strict mode: what the official code does, quirks included; the same model without it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ruamel.yaml import YAML
from safetensors.torch import save_file

import unified
from unified.cli import main
from unified.errors import UserError
from unified.evaluation.model_folder import write_tasks
from unified.model import UnifiedConfig, UnifiedModel
from unified.specs.load import load_task
from unified.tokenization.tokenizer_set import TokenizerSet
from unified.tokenization.vqgan import VQConfig, VQModel

PHOTO = np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)
OTHER = PHOTO[::-1, :40].copy()
PROMPT = 'What does the region " <extra_id_350> <extra_id_453> <extra_id_593> <extra_id_843> " describe ?'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random model of tiny width with the official vocabulary."""
    folder = tmp_path_factory.mktemp("official")
    own = folder / "tokenizer"
    TokenizerSet.load("unified_io", image_weights=False).save(own)
    yaml = YAML()
    network = yaml.load(own / "vqgan.yaml")
    params = network["model"]["params"]
    params["embed_dim"] = params["ddconfig"]["z_channels"] = 8
    params["ddconfig"] |= {"ch": 32, "ch_mult": [1, 1, 1, 1, 1], "num_res_blocks": 1}
    yaml.dump(network, own / "vqgan.yaml")
    data = yaml.load(own / "tokenizer.yaml")
    data["image"] |= {"weights": "vqgan.safetensors"}
    del data["image"]["how_to_get"]
    yaml.dump(data, own / "tokenizer.yaml")
    torch.manual_seed(0)
    save_file(VQModel(VQConfig.load(own / "vqgan.yaml")).state_dict(), own / "vqgan.safetensors")
    UnifiedModel(
        UnifiedConfig(
            d_model=16, num_heads=2, head_dim=8, encoder_layers=1, decoder_layers=1, d_ff=16, image_size=64,
            target_grid=2, max_images=1,
        )
    ).save_pretrained(folder)  # fmt: skip
    names = ("caption", "depth", "refexp", "region_caption", "image_classification_options")
    write_tasks(folder / "tasks", [load_task(f"unified_io_{name}") for name in names])
    return folder


@pytest.fixture(scope="module")
def pipes(folder):
    return unified.pipeline(folder, "cpu", strict=True), unified.pipeline(folder, "cpu")


def encoded(pipe, prompt, image=None):
    question = pipe.question(prompt, image)
    predictor = pipe._predictor
    return predictor._inputs([predictor.processor.encode(question.example, question.task)])


def test_extra_ids_in_prompts(pipes):
    strict, mended = (encoded(pipe, PROMPT)["input_ids"][0].tolist() for pipe in pipes)
    places = [32749, 32646, 32506, 32256]
    assert [i for i in strict if 32000 <= i < 33000] == places
    assert not [i for i in mended if i >= 32000]


def test_a_processor_is_strict_where_asked_and_stays_so(folder, run, tmp_path):
    load = unified.UnifiedProcessor.from_pretrained
    strict, mended = load(folder, strict=True), load(folder)
    ids = [p(PROMPT)["input_ids"].tolist() for p in (strict, mended)]
    assert 32749 in ids[0][0] and max(ids[1][0]) < 32000
    for name, saved, wanted in (("strict", strict, ids), ("mended", mended, ids[::-1])):
        saved.save_pretrained(tmp_path / name)
        other = name != "strict"
        for found, own in ((load(tmp_path / name), wanted[0]),
                           (load(tmp_path / name, strict=not other), wanted[0]),
                           (load(tmp_path / name, strict=other), wanted[1])):  # fmt: skip
            assert found(PROMPT)["input_ids"].tolist() == own
    with pytest.raises(UserError, match="tokenizer set is 'tiny', not 'unified_io'"):
        load(run / "model", strict=True)


@torch.no_grad()
def test_text_is_unconstrained_and_scored_to_the_last_step(pipes):
    strict, mended = pipes
    model = strict.model
    result = strict("caption", image=PHOTO)
    inputs = encoded(strict, "caption", PHOTO)
    sequence, total = torch.tensor([[0]]), 0.0
    for _ in range(32):
        logp = model(**inputs, decoder_input_ids=sequence).logits[0, -1].log_softmax(-1)
        total += float(logp.max())
        sequence = torch.cat([sequence, logp.argmax().view(1, 1)], 1)
    ids = sequence[0, 1:].tolist()
    assert list(result.ids) == (ids[: ids.index(1)] if 1 in ids else ids)
    sequence[0, -1] = model.config.image_start_id
    total += float(model(**inputs, decoder_input_ids=sequence).logits[0, -1].log_softmax(-1).max())
    assert abs(result.score - total) < 1e-3

    free = mended("caption", image=PHOTO)
    assert all(i < 32000 for i in free.ids)
    answer = torch.tensor([[[*free.ids, *([1] if len(free.ids) < 32 else [])]]])
    assert abs(free.score - float(model.rank_options(answer, **inputs))) < 1e-3


def test_options_end_twice(pipes):
    strict, mended = pipes
    asked = {"image": PHOTO, "options": ["a cat", "dog"]}
    scores = [pipe.rank("image_classification_options", ["a cat", "dog"], **asked) for pipe in pipes]
    question = mended.question("image_classification_options", PHOTO, options=asked["options"])
    predictor = mended._predictor
    inputs = predictor._inputs([predictor.processor.encode(question.example, question.task)])
    for ends, found, pipe in zip((2, 1), scores, pipes, strict=True):
        rows = [torch.tensor([*predictor.processor.encode_text(o), *[1] * ends]) for o in asked["options"]]
        options = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)[None]
        wanted = mended.model.rank_options(options, **inputs)[0]
        torch.testing.assert_close(torch.tensor(found), wanted, atol=1e-4, rtol=0)
        answer = pipe("image_classification_options", **asked)
        assert answer.text == asked["options"][int(wanted.argmax())]
        assert abs(answer.score - float(wanted.max())) < 1e-4


@torch.no_grad()
def test_image_options(pipes):
    strict, mended = pipes
    raw, right = (torch.tensor(pipe.rank("draw it", [PHOTO, OTHER])) for pipe in pipes)
    assert (raw - right).abs().min() > 1e-3
    # of the whole second image's place in the square, the left part is seen
    inputs, tokenizer = encoded(mended, "draw it"), mended._predictor._image_tokenizer()
    from unified.values.geometry import Geometry
    from unified.values.types import Image

    for image, score in zip((PHOTO, OTHER), right, strict=True):
        geometry = Geometry.resize_pad(Image(image).size, 32)
        codes = tokenizer.encode(torch.from_numpy(geometry.resample(image))[None])[:, None]
        mask = torch.from_numpy(geometry.valid_mask()[::16, ::16].reshape(1, 1, -1))
        end = torch.ones(1, 1, dtype=torch.long)
        logits = mended.model(
            **inputs, target_ids=end, target_codes=codes, target_code_mask=mask
        ).image_logits
        assert abs(float(score) + float(F.cross_entropy(logits, codes[mask], reduction="sum"))) < 1e-3


def test_the_far_edge(pipes):
    """The last bin cannot be read."""
    for pipe, whole in zip(pipes, (False, True), strict=True):
        question = pipe.question("refexp", PHOTO, phrase="x")
        processor = pipe._predictor.processor
        value, malformed = processor.decode(
            question.task, [32999, 32999, 32250, 32000], None, question.example
        )
        assert (len(value.xyxy) == 1) is whole and malformed is not whole
        value, malformed = processor.decode(
            question.task, [32999, 32999, 32250, 32001], None, question.example
        )
        assert len(value.xyxy) == 1 and not malformed


def test_lists_of_prompts(pipes):
    """With images of unequal sizes, or none."""
    for pipe in pipes:
        prompts = ["caption", "what is it ?", "a longer question about nothing at all ?", "caption"]
        images = [PHOTO, None, OTHER, OTHER]
        for many, prompt, image in zip(pipe(prompts, image=images), prompts, images, strict=True):
            one = pipe(prompt, image=image)
            assert many.to_dict() == one.to_dict() and many.ids == one.ids
            assert abs(many.score - one.score) < 1e-3
    with pytest.raises(UserError, match="2 prompts: give `image` as a list"):
        pipes[0](["a", "b"], image=PHOTO)


def test_free_texts_end_after_the_official_length(pipes):
    strict, mended = pipes
    question = strict.question("what is it ?")
    assert [pipe._predictor.processor.max_text_tokens(question.task) for pipe in pipes] == [128, 256]
    assert len(strict("what is it ?").ids) <= 128


@torch.no_grad()
def test_images_without_sampling_have_codes_and_a_score(pipes):
    """Strictly with the best id of the text that the reference scores before an image."""
    for pipe in pipes:
        result = pipe("depth", image=PHOTO, generation={"do_sample": False})
        config, inputs = pipe.model.config, encoded(pipe, "depth", PHOTO)
        total = 0.0
        if pipe is pipes[0]:
            logp = pipe.model(**inputs, decoder_input_ids=torch.tensor([[0]])).logits[0, -1].log_softmax(-1)
            total += float(logp.max())
        sequence = torch.tensor([[0, config.image_start_id]])
        for _ in range(config.target_tokens):
            logp = pipe.model(**inputs, decoder_input_ids=sequence).logits[0, -1].log_softmax(-1)
            total += float(logp.max())
            sequence = torch.cat([sequence, logp.argmax().view(1, 1)], 1)
        assert list(result.codes) == (sequence[0, 2:] - config.vocab_size).tolist()
        assert abs(result.score - total) < 1e-3
        sampled = pipe("depth", image=PHOTO)
        assert sampled.score is None and len(sampled.codes) == config.target_tokens


def test_the_caller_chooses_how_to_decode(pipes):
    mended = pipes[1]
    one, three = (mended("caption", image=PHOTO, generation={"num_beams": n}) for n in (1, 3))
    assert one.ids == mended("caption", image=PHOTO).ids
    assert three.ids != one.ids and three.score > one.score
    many = mended(["caption", "caption"], image=[PHOTO, OTHER], generation={"num_beams": 3})
    assert many[0].ids == three.ids
    with pytest.raises(UserError, match="generation: beams: .* its keys are num_beams, do_sample"):
        mended("caption", image=PHOTO, generation={"beams": 3})


def test_a_box_without_area_is_refused(pipes):
    for pipe in pipes:
        with pytest.raises(UserError, match="field 'box': the box 3 3 3 9 has no area"):
            pipe("region_caption", image=PHOTO, box=[[3, 3, 3, 9]])


def test_refused_for_other_vocabularies(run, folder, capsys):
    with pytest.raises(UserError, match="tokenizer set is 'tiny', not 'unified_io'"):
        unified.pipeline(run, "cpu", strict=True)
    assert main(["prompt", str(run), "hello", "--strict"]) == 2
    assert "strict mode is what the official" in capsys.readouterr().err
    assert main(["prompt", str(folder), "hello", "--strict", "--dtype", "bf16", "--device", "cpu"]) == 0
    with pytest.raises(UserError, match="a list of texts, or one of images"):
        unified.pipeline(run, "cpu").rank("hello", ["a", PHOTO])
