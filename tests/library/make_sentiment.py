"""Writes the fixtures of the sentiment tasks as MMSA distributes them:
`python tests/library/make_sentiment.py`. Pictures are of the toybox, sentences our own."""

from __future__ import annotations

import pickle

import numpy as np
from grounding_scenes import picture
from make_language import ROOT

WORDS = ["i liked it a lot", "it was a waste of time", "it is a film", "quite good"]
CHINESE = ["我很喜欢", "真糟糕", "这是一部电影", "还不错"]
NAMES = ("Negative", "Neutral", "Positive")
"""In the order of their numbers in `classification_labels`."""


def sentiment(name: str, file: str, ids: list[str], values: list[float], said: list[str]) -> None:
    """The pickle, for each split equally long columns, and each clip as a folder of one or two frames."""
    splits = {}
    for split in ("train", "valid", "test"):
        keys = [key.format(split=split) for key in ids]
        for i, key in enumerate(keys):
            for frame in range(1 if i else 2):
                path = ROOT / name / "Raw" / key.replace("$_$", "/") / f"{frame:02d}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                picture(f"{name}/{split}", frame).save(path)
        n, signs = len(values), np.sign(values).astype(int) + 1
        splits[split] = {
            "raw_text": np.array(said), "audio": np.zeros((n, 2, 3), np.float32), "id": keys,
            "vision": np.zeros((n, 2, 4), np.float32), "text": np.zeros((n, 2, 5), np.float32),
            "text_bert": np.zeros((n, 3, 2), np.float32), "audio_lengths": [2] * n, "vision_lengths": [2] * n,
            "annotations": [NAMES[sign] for sign in signs], "classification_labels": signs.astype(np.float32),
            "regression_labels": np.array(values, np.float32),
        }  # fmt: skip
        if name == "ch_sims":  # those of words, sound and picture alone
            alone = {f"regression_labels_{kind}": np.zeros(n, np.float32) for kind in "TAV"}
            splits[split] |= alone
    target = ROOT / name / "Processed" / file
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(pickle.dumps(splits, protocol=4))


if __name__ == "__main__":
    english = ["{split}-Av_1$_$3", "{split}-Av_1$_$4", "_{split}0$_$1", "_{split}0$_$12"]
    for name in ("mosi", "mosei"):
        sentiment(name, "unaligned_50.pkl", english, [2.4, -1.8, 0.0, 1.0], WORDS)
    chinese = [f"{{split}}_0001$_${i:04d}" for i in (1, 2, 31, 40)]
    sentiment("ch_sims", "unaligned_39.pkl", chinese, [0.8, -0.6, 0.0, 0.2], CHINESE)
