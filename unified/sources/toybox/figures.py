"""Jointed figures: where the joints are when a figure does something."""

from __future__ import annotations

import math
from collections.abc import Callable

from unified.sources.toybox.draws import Draws
from unified.sources.toybox.world import Figure, Limb, Look, Thing, Vec

TRUNK, NECK_TO_HEAD, ANKLE = 0.72, 0.35, 0.12
SHOULDER, PELVIS = 0.30, 0.17
ARM, LEG = 0.43, 0.48
"""Half-lengths (upper arm, thigh) and offsets in metres; a standing figure is 2.4 m tall."""

Pose = dict[str, Vec]
"""Directions of the eight limb halves in the figure's own frame (left, up, forward), and `rise`, how
far the feet leave the ground, as (0, metres, 0)."""


def _angles(side: float, up: float, forward: float) -> Vec:
    n = math.sqrt(side * side + up * up + forward * forward)
    return side / n, up / n, forward / n


def _standing(rng: Draws) -> Pose:
    """Arms hang a little away from the body. A side of +1 is outwards for both arms."""
    hang = rng.uniform(0.25, 0.45)
    pose = {}
    for side in ("left", "right"):
        pose[f"{side}_arm"] = _angles(hang, -1.0, 0.0)
        pose[f"{side}_forearm"] = _angles(hang * 0.6, -1.0, 0.15)
        pose[f"{side}_thigh"] = _angles(rng.uniform(0.10, 0.22), -1.0, 0.05)
        pose[f"{side}_shin"] = _angles(0.08, -1.0, -0.05)
    pose["rise"] = (0.0, 0.0, 0.0)
    return pose


def _wave(pose: Pose, rng: Draws, side: str) -> None:
    pose[f"{side}_arm"] = _angles(1.0, rng.uniform(0.1, 0.5), 0.1)
    pose[f"{side}_forearm"] = _angles(rng.uniform(-0.25, 0.45), 1.0, 0.1)


def _point(pose: Pose, rng: Draws, side: str) -> None:
    way = _angles(1.0, rng.uniform(-0.12, 0.1), rng.uniform(0.0, 0.25))
    pose[f"{side}_arm"] = pose[f"{side}_forearm"] = way


def _kick(pose: Pose, rng: Draws, side: str) -> None:
    way = _angles(1.0, rng.uniform(-0.85, -0.6), 0.45)
    pose[f"{side}_thigh"] = pose[f"{side}_shin"] = way
    for arm in ("left", "right"):
        pose[f"{arm}_arm"] = _angles(1.0, -0.7, 0.0)
        pose[f"{arm}_forearm"] = _angles(1.0, -0.3, 0.2)


def _sit(pose: Pose, rng: Draws, side: str) -> None:
    for leg in ("left", "right"):
        pose[f"{leg}_thigh"] = _angles(0.25, -0.15, 1.0)
        pose[f"{leg}_shin"] = _angles(0.05, -1.0, rng.uniform(0.0, 0.25))
        pose[f"{leg}_arm"] = _angles(0.3, -1.0, 0.2)
        pose[f"{leg}_forearm"] = _angles(-0.1, -0.4, 1.0)


def _jump(pose: Pose, rng: Draws, side: str) -> None:
    for part in ("left", "right"):
        pose[f"{part}_arm"] = pose[f"{part}_forearm"] = _angles(rng.uniform(0.5, 0.8), 1.0, 0.0)
        pose[f"{part}_thigh"] = _angles(0.9, -0.8, 0.4)
        pose[f"{part}_shin"] = _angles(-0.25, -1.0, -0.3)
    pose["rise"] = (0.0, rng.uniform(0.4, 0.65), 0.0)


def _hold(pose: Pose, rng: Draws, side: str) -> None:
    for arm in ("left", "right"):
        pose[f"{arm}_arm"] = _angles(0.35, 0.85, 0.35)
        pose[f"{arm}_forearm"] = _angles(-0.2, 1.0, 0.15)


def _run(pose: Pose, rng: Draws, side: str) -> None:
    other = "right" if side == "left" else "left"
    pose[f"{side}_thigh"], pose[f"{side}_shin"] = _angles(0.1, -0.55, 1.0), _angles(0.0, -1.0, -0.35)
    pose[f"{other}_thigh"], pose[f"{other}_shin"] = _angles(0.1, -0.9, -0.65), _angles(0.0, -0.35, -1.0)
    pose[f"{side}_arm"], pose[f"{side}_forearm"] = _angles(0.35, -0.7, -0.9), _angles(0.1, 0.1, 1.0)
    pose[f"{other}_arm"], pose[f"{other}_forearm"] = _angles(0.35, -0.8, 0.8), _angles(-0.2, 0.8, 1.0)


def _stand(pose: Pose, rng: Draws, side: str) -> None:
    pass


POSES: dict[str, Callable[[Pose, Draws, str], None]] = {
    "wave": _wave,
    "point": _point,
    "kick": _kick,
    "sit": _sit,
    "jump": _jump,
    "hold": _hold,
    "run": _run,
    "stand": _stand,
}


def make_figure(
    rng: Draws,
    action: str,
    colour: str,
    x: float,
    z: float,
    *,
    side: str | None = None,
    seat: float = 0.75,
    item: int | None = None,
) -> Figure:
    """A figure at (x, z) doing `action` with its `side` limb, facing the viewer within about 40 degrees.

    `seat` is the height in metres that a sitting figure sits at.
    """
    pose = _standing(rng)
    side = side or rng.pick(("left", "right"))
    POSES[action](pose, rng, side)
    turned = {"sit": (0.5, 0.8), "run": (0.8, 1.2)}.get(action, (0.0, 0.35))
    yaw = rng.uniform(*turned) * (1 if rng.flip() else -1)
    hip = seat + 0.20 if action == "sit" else _standing_height(pose)
    return _assemble(pose, action, colour, (x, hip, z), yaw, item, 0.0)


def make_mood(rng: Draws, colour: str, x: float, z: float, mood: float) -> Figure:
    """A figure whose arms tell its mood: from hanging down (-3) to thrown up (3)."""
    pose = _standing(rng)
    angle = math.radians(mood / 3.0 * 72.0)
    for side in ("left", "right"):
        pose[f"{side}_arm"] = pose[f"{side}_forearm"] = (math.cos(angle), math.sin(angle), 0.0)
    return _assemble(
        pose, "stand", colour, (x, _standing_height(pose), z), rng.uniform(-0.2, 0.2), None, mood
    )


def _standing_height(pose: Pose) -> float:
    """Height of the hips at which the lower foot is on the ground, or as high above it as the pose jumps."""
    lowest = min(pose[f"{side}_thigh"][1] + pose[f"{side}_shin"][1] for side in ("left", "right"))
    return ANKLE - LEG * lowest + pose["rise"][1]


def _assemble(
    pose: Pose, action: str, colour: str, hip: Vec, yaw: float, item: int | None, mood: float
) -> Figure:
    c, s = math.cos(yaw), math.sin(yaw)
    left, forward = (c, 0.0, s), (s, 0.0, -c)

    def move(p: Vec, way: Vec, length: float, mirror: float = 1.0) -> Vec:
        a, up, f = way[0] * mirror * length, way[1] * length, way[2] * length
        return p[0] + a * left[0] + f * forward[0], p[1] + up, p[2] + a * left[2] + f * forward[2]

    up = (0.0, 1.0, 0.0)
    neck = move(hip, up, TRUNK)
    head = move(neck, up, NECK_TO_HEAD)
    joints: dict[str, Vec] = {"head": head, "neck": neck, "hip": hip}
    limbs = [
        Limb(head, move(head, up, 0.02), 0.26, "head"),
        Limb(move(hip, up, 0.08), move(neck, up, -0.14), 0.23, "shirt"),
    ]
    for side, mirror in (("left", 1.0), ("right", -1.0)):
        shoulder = move(move(neck, up, -0.08), (1.0, 0.0, 0.0), SHOULDER, mirror)
        elbow = move(shoulder, pose[f"{side}_arm"], ARM, mirror)
        hand = move(elbow, pose[f"{side}_forearm"], ARM, mirror)
        root = move(hip, (1.0, 0.0, 0.0), PELVIS, mirror)
        knee = move(root, pose[f"{side}_thigh"], LEG, mirror)
        foot = move(knee, pose[f"{side}_shin"], LEG, mirror)
        joints |= {f"{side}_elbow": elbow, f"{side}_hand": hand, f"{side}_knee": knee, f"{side}_foot": foot}
        limbs += [
            Limb(shoulder, elbow, 0.12, "shirt"),
            Limb(elbow, hand, 0.105, "shirt"),
            Limb(root, knee, 0.15, "trousers"),
            Limb(knee, foot, 0.12, "trousers"),
        ]
    return Figure(colour, action, joints, tuple(limbs), forward, item, mood)


def item_for(figure: Figure, look: Look, rng: Draws) -> Thing:
    """The thing that a figure points at, kicks, or holds above its head, at its place."""
    joints = figure.joints
    if figure.action == "hold":
        a, b = joints["left_hand"], joints["right_hand"]
        thing = Thing(look, (a[0] + b[0]) / 2, (a[2] + b[2]) / 2, rng.uniform(0.0, 1.5))
        return Thing(look, thing.x, thing.z, thing.yaw, max(a[1], b[1]) - 0.02)
    hand = max(("left_hand", "right_hand"), key=lambda n: abs(joints[n][0] - joints["hip"][0]))
    joint = max(("left_foot", "right_foot"), key=lambda n: joints[n][1]) if figure.action == "kick" else hand
    sign = 1.0 if joints[joint][0] > joints["hip"][0] else -1.0
    gap = rng.uniform(0.15, 0.3) if figure.action == "kick" else rng.uniform(0.3, 0.7)
    thing = Thing(look, 0.0, 0.0)
    x = joints[joint][0] + sign * (thing.reach + gap)
    return Thing(look, x, joints["hip"][2] + rng.uniform(-0.3, 0.1), rng.uniform(0.0, 1.5))
