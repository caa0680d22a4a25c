"""Single frames of videos, decoded by PyAV (FFmpeg), or taken from a folder of pictures."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from unified.sources.images import IMAGE_SUFFIXES, MAX_PIXELS, read_rgb
from unified.sources.location import AbsentFile
from unified.specs.example import BadRow

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame


def read_frame(raw: Any, root: Path, at: float) -> npt.NDArray[np.uint8]:
    """The frame at the share `at` of the length of what `raw` names, as (h, w, 3) uint8 RGB.

    A video file or its bytes: the frame that is shown at that time (at 1, the last one). A folder: of its n
    pictures, in the order of the numbers in their names, number floor(at * n), or the last. Sound is not
    read. Raises BadRow.
    """
    if isinstance(raw, (bytes, bytearray)):
        return _decode(io.BytesIO(raw), "(video in the row)", at)
    if not isinstance(raw, (str, Path)):
        raise BadRow(f"no video: expected a path or bytes, found {type(raw).__name__}")
    path = root / raw
    if path.is_dir():
        pictures = sorted((p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES), key=_natural)
        if not pictures:
            raise BadRow(f"no frames in the folder {path} ({', '.join(IMAGE_SUFFIXES)})")
        return read_rgb(str(pictures[min(int(at * len(pictures)), len(pictures) - 1)]), root)
    if not path.is_file():
        raise AbsentFile(f"no such video file or folder of frames: {path}")
    return _decode(str(path), str(path), at)


def _natural(path: Path) -> list[Any]:
    """frame2 before frame10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def _decode(source: Any, name: str, at: float) -> npt.NDArray[np.uint8]:
    import av

    try:
        with av.open(source) as container:
            if not container.streams.video:
                raise BadRow(f"{name} has no pictures, only sound")
            frame = _frame(container, at)
            if frame is None:
                raise BadRow(f"no frame of {name} can be decoded")
            if frame.width * frame.height > MAX_PIXELS:
                raise BadRow(f"{name} has frames of {frame.width} x {frame.height} pixels: too large")
            pixels = frame.to_ndarray(format="rgb24")
            # A phone's video says how it must be turned, counterclockwise.
            return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise BadRow(f"unreadable video {name}: {error}") from error


def _frame(container: InputContainer, at: float) -> VideoFrame | None:
    """The last frame that begins no later than the time wanted."""
    stream = container.streams.video[0]
    stream.thread_type = "NONE"  # one core a worker
    base, start = stream.time_base, stream.start_time or 0
    length = stream.duration
    if length is None and container.duration is not None and base is not None:
        length = int(container.duration / 1_000_000 / base)
    if length is None or base is None:  # the file does not say: all frames are decoded
        frames = list(container.decode(stream))
        return frames[min(int(at * len(frames)), len(frames) - 1)] if frames else None
    wanted = start + int(at * length)
    if wanted > start:
        container.seek(wanted, stream=stream)  # to the key frame before it
    found = None
    for frame in container.decode(stream):
        if found is not None and frame.pts is not None and frame.pts > wanted:
            break
        found = frame
    return found
