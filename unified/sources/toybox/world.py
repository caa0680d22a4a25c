"""What the world is made of: looks, things, figures, camera, scene.

The world frame is x right, y up, z away from the viewer, in metres, with the ground at y = 0 and the
camera above the origin. The camera frame is x right, y down, z into the scene.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

Vec = tuple[float, float, float]

COLOURS: dict[str, Vec] = {
    "red": (0.86, 0.09, 0.09),
    "orange": (1.0, 0.50, 0.05),
    "yellow": (0.98, 0.88, 0.12),
    "green": (0.10, 0.62, 0.16),
    "cyan": (0.15, 0.85, 0.88),
    "blue": (0.11, 0.22, 0.90),
    "purple": (0.56, 0.14, 0.72),
    "white": (0.98, 0.98, 0.98),
}
SHAPES = ("sphere", "cube", "cylinder", "cone")
SIZES: dict[str, float] = {"small": 0.48, "large": 0.80}
"""Radius in metres of the ball that a thing of each size roughly fills."""
MATERIALS = ("matte", "shiny")

HELD_OUT = (("orange", "sphere"), ("purple", "cube"), ("green", "cylinder"), ("yellow", "cone"))
"""Colour-shape pairs that neither the images nor the texts of train and validation ever hold."""
PAIRS = tuple((c, s) for c in COLOURS for s in SHAPES)
TRAIN_PAIRS = tuple(p for p in PAIRS if p not in HELD_OUT)

DEPTH_RANGE = (2.0, 10.0)
"""All depths lie in it, in metres."""


class Look(NamedTuple):
    """All that can be said of a thing without knowing where it stands."""

    colour: str
    shape: str
    size: str
    material: str


@dataclass(frozen=True)
class Thing:
    """A solid of `look` that stands (or hangs, `base` > 0) upright at (x, z), turned by `yaw` radians."""

    look: Look
    x: float
    z: float
    yaw: float = 0.0
    base: float = 0.0

    @property
    def radius(self) -> float:
        """Radius of the round shapes' footprint, half the side of a cube, in metres."""
        size = SIZES[self.look.size]
        return size * FOOTPRINT[self.look.shape]

    @property
    def height(self) -> float:
        return SIZES[self.look.size] * HEIGHT[self.look.shape]

    @property
    def reach(self) -> float:
        """Radius of the footprint's enclosing circle."""
        return self.radius * (math.sqrt(2.0) if self.look.shape == "cube" else 1.0)


FOOTPRINT = {"sphere": 1.0, "cube": 0.76, "cylinder": 0.78, "cone": 0.98}
HEIGHT = {"sphere": 2.0, "cube": 1.52, "cylinder": 1.8, "cone": 2.1}

JOINTS = (
    "head",
    "neck",
    "hip",
    "left_elbow",
    "right_elbow",
    "left_hand",
    "right_hand",
    "left_knee",
    "right_knee",
    "left_foot",
    "right_foot",
)
"""Left and right are the figure's own."""
ACTIONS = ("wave", "point", "kick", "sit", "jump", "hold", "run", "stand")


class Limb(NamedTuple):
    """A capsule between two world points; `part` names its paint."""

    start: Vec
    end: Vec
    radius: float
    part: str


@dataclass(frozen=True)
class Figure:
    """A jointed figure. `joints`: world position of each name in JOINTS. `forward`: the way it faces."""

    colour: str
    action: str
    joints: dict[str, Vec]
    limbs: tuple[Limb, ...]
    forward: Vec
    item: int | None = None
    """Index of the thing that the action is done with."""
    mood: float = 0.0


@dataclass(frozen=True)
class Camera:
    """`focal` in image widths. Every ray goes down: the pitch exceeds half the angle of view."""

    height: float = 4.1
    pitch: float = math.radians(32.0)
    focal: float = 1.15

    def to_camera(self, p: Vec) -> Vec:
        """A world point in the camera frame, metres."""
        c, s = math.cos(self.pitch), math.sin(self.pitch)
        drop = self.height - p[1]
        return p[0], drop * c - p[2] * s, drop * s + p[2] * c

    def turn(self, v: Vec) -> Vec:
        """A world direction in the camera frame."""
        c, s = math.cos(self.pitch), math.sin(self.pitch)
        return v[0], -v[1] * c - v[2] * s, v[2] * c - v[1] * s

    def project(self, p: Vec, size: int) -> tuple[float, float]:
        """Pixel position (x, y) of a world point in an image `size` pixels wide and high."""
        x, y, z = self.to_camera(p)
        return (0.5 + self.focal * x / z) * size, (0.5 + self.focal * y / z) * size


@dataclass(frozen=True)
class Scene:
    things: tuple[Thing, ...]
    figures: tuple[Figure, ...] = ()
    camera: Camera = field(default_factory=Camera)
    light: Vec = (-0.45, 0.75, -0.48)
    """Unit world direction towards the light."""
    floor: Vec = (0.55, 0.52, 0.49)
    wall: Vec = (0.72, 0.77, 0.84)
    wall_distance: float = 7.9
