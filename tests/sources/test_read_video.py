"""Frames of videos by their share of the length."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from source_helpers import save_image, task_of

from unified.sources.fields import read_fields
from unified.sources.location import AbsentFile
from unified.sources.video import read_frame
from unified.specs.example import BadRow


def save_video(target: Any, frames: int, rate: int = 8, form: str = "mp4") -> None:
    """Frame i is grey, of brightness 10 i; one key frame in six."""
    with av.open(target, "w", format=form) as container:
        stream = container.add_stream("mpeg4", rate=rate, options={"g": "6"})
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for i in range(frames):
            grey = np.full((16, 32, 3), 10 * i, dtype=np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def number(pixels: Any) -> int:
    assert pixels.shape == (16, 32, 3) and pixels.dtype == np.uint8
    return round(float(pixels.mean()) / 10)


@pytest.mark.parametrize("form", ["mp4", "avi", "matroska"])
def test_frame_at_a_share_of_the_length(tmp_path: Path, form: str) -> None:
    save_video(str(tmp_path / "v"), 16, form=form)
    for at, frame in [(0.0, 0), (0.125, 2), (0.375, 6), (0.5, 8), (0.625, 10), (0.875, 14), (1.0, 15)]:
        assert number(read_frame("v", tmp_path, at)) == frame, at


def test_bytes_and_one_frame(tmp_path: Path) -> None:
    file = io.BytesIO()
    save_video(file, 1)
    for at in (0.0, 0.5, 1.0):
        assert number(read_frame(file.getvalue(), tmp_path, at)) == 0


def test_folder_of_frames(tmp_path: Path) -> None:
    for i in range(12):
        save_image(tmp_path / "clip" / f"frame_{i + 1}.jpg", (32, 16), (10 * i, 10 * i, 10 * i))
    (tmp_path / "clip" / "notes.txt").write_text("no frame")
    wanted = {0.0: 0, 0.125: 1, 0.375: 4, 0.875: 10, 1.0: 11}
    assert {at: number(read_frame("clip", tmp_path, at)) for at in wanted} == wanted, (
        "frame_2 before frame_10"
    )


def test_task_with_four_frames(tmp_path: Path) -> None:
    save_video(str(tmp_path / "v.mp4"), 16)
    shares = (0.125, 0.375, 0.625, 0.875)
    fields = {f"frame_{i}": {"type": "image", "path": "{id}.mp4", "at": at} for i, at in enumerate(shares)}
    values = read_fields(task_of(tmp_path, None, **fields), {"id": "v"})
    assert [number(values[name].pixels) for name in fields] == [2, 6, 10, 14]  # type: ignore[union-attr]


def test_what_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(AbsentFile, match="no such video file or folder of frames: .*gone.mp4"):
        read_frame("gone.mp4", tmp_path, 0.5)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadRow, match="no frames in the folder .*empty"):
        read_frame("empty", tmp_path, 0.5)
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(BadRow, match="unreadable video .*text.mp4"):
        read_frame("text.mp4", tmp_path, 0.5)
    with pytest.raises(BadRow, match="no video: expected a path or bytes, found int"):
        read_frame(3, tmp_path, 0.5)
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    with pytest.raises(BadRow, match="has no pictures, only sound"):
        read_frame("sound.wav", tmp_path, 0.5)
