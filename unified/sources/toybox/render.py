"""Ray casting of a scene: image, depth, normals and instance ids.

Every pixel has one ray through its centre, (u, v, 1) in the camera frame, so the ray parameter of a
hit *is* its depth. A solid is intersected only with the rays of the rectangle that its projection
fills. The ground and the back wall depend on the row alone because the camera does not roll or turn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unified.sources.toybox.world import COLOURS, JOINTS, Camera, Figure, Scene, Thing, Vec

F32 = npt.NDArray[Any]  # float32 throughout: Python floats do not widen it
SKIN, HAIR = (0.93, 0.72, 0.56), (0.22, 0.13, 0.08)
AMBIENT, DIFFUSE, SKY = 0.42, 0.58, 0.14
MATTE = 0.92
"""Share of the light that matte paint throws back, next to shiny paint."""
FAR = np.float32(1e6)


@dataclass
class Rendering:
    """`image` (s, s, 3) uint8; `depth` (s, s) float32 metres along z; `normals` (s, s, 3) float32 in
    the camera frame; `ids` (s, s) uint8: 0 background, i + 1 thing i, then the figures. For each
    thing and figure: `boxes` (n, 4) float64 xyxy around its visible pixels (zeros if there are
    none), `seen` visible pixels, `area` pixels it would have with nothing in front of it."""

    image: npt.NDArray[np.uint8]
    depth: F32
    normals: F32
    ids: npt.NDArray[np.uint8]
    boxes: npt.NDArray[np.float64]
    seen: list[int]
    area: list[int]

    def mask(self, index: int) -> npt.NDArray[np.bool_]:
        """(s, s) bool: the visible pixels of a thing or figure."""
        return self.ids == index + 1


class _Frame:
    """The buffers of a picture in the making."""

    def __init__(self, scene: Scene, size: int) -> None:
        self.scene, self.size = scene, size
        camera = scene.camera
        axis = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / size - np.float32(0.5)
        self.axis = axis / np.float32(camera.focal)
        self.up, self.light = camera.turn((0.0, 1.0, 0.0)), camera.turn(scene.light)
        hx, hz = scene.light[0], scene.light[2] - 1.0
        n = math.hypot(hx, hz)
        self.stripe = camera.turn((hx / n, 0.0, hz / n))
        c, s = math.cos(camera.pitch), math.sin(camera.pitch)
        ground = np.float32(camera.height) / (c * self.axis + s)  # over how fast a row's rays go down
        wall = np.float32(scene.wall_distance) / (c - s * self.axis)
        self.on_wall = wall < ground
        rows = np.minimum(ground, wall)
        self.depth: F32 = np.empty((size, size), np.float32)
        self.depth[:] = rows[:, None]
        self.normals: F32 = np.empty((size, size, 3), np.float32)
        facing = np.array([self.up, camera.turn((0.0, 0.0, -1.0))], np.float32)
        self.normals[:] = facing[self.on_wall.astype(np.intp)][:, None]
        self.ids = np.zeros((size, size), np.uint8)
        self.gloss: F32 = np.zeros((size, size), np.float32)
        self.paint: npt.NDArray[np.uint8] = np.empty((size, size), np.uint8)
        self.paint[:] = self.on_wall[:, None]
        self.paints: list[Vec] = [scene.floor, scene.wall]
        self.rects: list[tuple[int, int, int, int]] = []
        self.area: list[int] = []

    def add_paint(self, colour: Vec) -> int:
        self.paints.append(colour)
        return len(self.paints) - 1

    def write(
        self,
        rect: tuple[int, int, int, int],
        hit: npt.NDArray[np.bool_],
        depth: F32,
        normals: list[F32],
        paint: int | npt.NDArray[np.uint8],
        shiny: bool,
    ) -> None:
        """Puts a solid's pixels where nothing nearer stands."""
        r0, r1, c0, c1 = rect
        where = (slice(r0, r1), slice(c0, c1))
        self.rects.append(rect)
        self.area.append(int(np.count_nonzero(hit)))
        old = self.depth[where]
        near = hit & (depth < old)
        np.copyto(old, depth, where=near)
        target = self.normals[where]
        for k, n in enumerate(normals):
            np.copyto(target[..., k], n, where=near)
        np.copyto(self.ids[where], len(self.rects), where=near)
        np.copyto(self.paint[where], paint, where=near, casting="unsafe")
        np.copyto(self.gloss[where], self._gloss(rect, normals) if shiny else 0.0, where=near)

    def _gloss(self, rect: tuple[int, int, int, int], normals: list[F32]) -> F32:
        """Highlight of the light and sheen of the sky, from the mirrored ray, and a bright band down the
        side that faces between light and camera, for solids whose sides never mirror the light."""
        u, v = self.axis[None, rect[2] : rect[3]], self.axis[rect[0] : rect[1], None]
        nx, ny, nz = normals
        twice = (u * nx + v * ny + nz) * -2.0
        (lx, ly, lz), (_, uy, uz) = self.light, self.up
        length = 1.0 / np.sqrt(u * u + v * v + 1.0)
        spot = (u * lx + (v * ly + lz) + twice * (nx * lx + ny * ly + nz * lz)) * length
        np.clip(spot, 0.0, 1.0, out=spot)
        _square(spot, 4)
        sky = ((v * uy + uz) + twice * (ny * uy + nz * uz)) * length
        np.clip(sky, 0.0, 1.0, out=sky)
        bx, by, bz = self.stripe
        band = nx * bx + ny * by + nz * bz
        np.clip(band, 0.0, 1.0, out=band)
        _square(band, 3)
        return 0.85 * spot + 0.2 * sky + 0.26 * band + 0.03

    def finish(self) -> Rendering:
        lambert = self.normals @ np.array(self.light, np.float32)
        np.maximum(lambert, 0.0, out=lambert)
        lambert *= DIFFUSE
        lambert += self.normals @ (np.array(self.up, np.float32) * np.float32(SKY))
        lambert += AMBIENT
        # Far ground and wall are a little darker: a cue for depth.
        lambert *= 1.12 - 0.028 * self.depth
        colour = np.array(self.paints, np.float32)[self.paint]
        colour *= lambert[..., None]
        colour += self.gloss[..., None]
        colour *= 255.0
        np.clip(colour, 0.0, 255.0, out=colour)
        boxes, seen = np.zeros((len(self.rects), 4)), []
        for k, (r0, r1, c0, c1) in enumerate(self.rects):
            mask = self.ids[r0:r1, c0:c1] == k + 1
            rows, cols = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
            seen.append(int(np.count_nonzero(mask)))
            if len(rows):
                boxes[k] = c0 + cols[0], r0 + rows[0], c0 + cols[-1] + 1, r0 + rows[-1] + 1
        return Rendering(colour.astype(np.uint8), self.depth, self.normals, self.ids, boxes, seen, self.area)


def _square(values: F32, times: int) -> None:
    """values ** (2 ** times), in place."""
    for _ in range(times):
        values *= values


def render(scene: Scene, size: int) -> Rendering:
    """A scene as `size` x `size` pixels."""
    frame = _Frame(scene, size)
    for thing in scene.things:
        _draw_thing(frame, thing)
    for figure in scene.figures:
        _draw_figure(frame, figure)
    return frame.finish()


# ------------------------------------------------------------------------------------- solids


def outline(thing: Thing, camera: Camera, size: int) -> tuple[float, float, float, float]:
    """A box (x1, y1, x2, y2) in pixels that holds the thing's projection; exact for spheres and cubes."""
    r, base, top = thing.radius, thing.base, thing.base + thing.height
    if thing.look.shape == "sphere":
        x, y, z = camera.to_camera((thing.x, base + r, thing.z))
        x1, x2 = _tangents(x, z, r)
        y1, y2 = _tangents(y, z, r)
    else:
        c, s = (math.cos(thing.yaw) * r, math.sin(thing.yaw) * r) if thing.look.shape == "cube" else (r, 0.0)
        foot = ((c - s, s + c), (c + s, s - c), (s - c, -s - c), (-c - s, c - s))
        points = [(thing.x + dx, base, thing.z + dz) for dx, dz in foot]
        if thing.look.shape == "cone":
            points.append((thing.x, top, thing.z))
        else:
            points += [(x, top, z) for x, _, z in points]
        seen = [camera.to_camera(p) for p in points]
        xs, ys = [x / z for x, _, z in seen], [y / z for _, y, z in seen]
        x1, x2, y1, y2 = min(xs), max(xs), min(ys), max(ys)
    f, half = camera.focal * size, 0.5 * size
    return x1 * f + half, y1 * f + half, x2 * f + half, y2 * f + half


def _tangents(x: float, z: float, r: float) -> tuple[float, float]:
    """Slopes of the two rays that touch a circle."""
    d = z * z - r * r
    root = r * math.sqrt(max(x * x + d, 0.0))
    return (x * z - root) / d, (x * z + root) / d


def _rect(box: tuple[float, float, float, float], size: int) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = box
    r0, r1 = max(int(y1 - 0.5), 0), min(int(y2 + 1.5), size)
    c0, c1 = max(int(x1 - 0.5), 0), min(int(x2 + 1.5), size)
    return r0, max(r1, r0), c0, max(c1, c0)


def _draw_thing(frame: _Frame, thing: Thing) -> None:
    rect = _rect(outline(thing, frame.scene.camera, frame.size), frame.size)
    u, v = frame.axis[None, rect[2] : rect[3]], frame.axis[rect[0] : rect[1], None]
    hit, depth, normals = SOLIDS[thing.look.shape](thing, frame, u, v)
    shiny = thing.look.material == "shiny"
    r, g, b = COLOURS[thing.look.colour]
    paint = frame.add_paint((r, g, b) if shiny else (r * MATTE, g * MATTE, b * MATTE))
    frame.write(rect, hit, depth, normals, paint, shiny)


Hits = tuple[npt.NDArray[np.bool_], F32, list[F32]]


def _sphere(thing: Thing, frame: _Frame, u: F32, v: F32) -> Hits:
    r = thing.radius
    x, y, z = frame.scene.camera.to_camera((thing.x, thing.base + r, thing.z))
    dd = u * u + (v * v + 1.0)
    b = u * x + (v * y + z)
    disc = b * b - dd * (x * x + y * y + z * z - r * r)
    t = (b - np.sqrt(np.maximum(disc, 0.0))) / dd
    k = 1.0 / r
    return disc > 0.0, t, [(t * u - x) * k, (t * v - y) * k, (t - z) * k]


def _cube(thing: Thing, frame: _Frame, u: F32, v: F32) -> Hits:
    r, camera = thing.radius, frame.scene.camera
    x, y, z = camera.to_camera((thing.x, thing.base + r, thing.z))
    c, s = math.cos(thing.yaw), math.sin(thing.yaw)
    axes = (camera.turn((c, 0.0, s)), camera.turn((-s, 0.0, c)), frame.up)
    nears, fars, sides = [], [], []
    for ax, ay, az in axes:
        speed = u * ax + (v * ay + az)
        inverse = 1.0 / np.where(np.abs(speed) < 1e-6, np.float32(1e-6), speed)
        middle, half = (ax * x + ay * y + az * z) * inverse, r * np.abs(inverse)
        nears.append(middle - half)
        fars.append(middle + half)
        sides.append(-np.sign(inverse))
    enter = np.maximum(np.maximum(nears[0], nears[1]), nears[2])
    leave = np.minimum(np.minimum(fars[0], fars[1]), fars[2])
    # The face hit is that of the slab entered last.
    first, second = nears[0] == enter, nears[1] == enter
    normals = [
        np.where(first, sides[0] * a, np.where(second, sides[1] * b, sides[2] * c))
        for a, b, c in zip(*axes, strict=True)
    ]
    return enter < leave, enter, normals


def _cylinder(thing: Thing, frame: _Frame, u: F32, v: F32) -> Hits:
    r, half = thing.radius, 0.5 * thing.height
    x, y, z = frame.scene.camera.to_camera((thing.x, thing.base + half, thing.z))
    ux, uy, uz = frame.up
    rise = v * uy + uz  # a column: how fast a row's rays climb along the axis
    height = x * ux + y * uy + z * uz
    a = u * u + (v * v + 1.0 - rise * rise)
    b = u * x + (v * y + z - rise * height)
    disc = b * b - a * (x * x + y * y + z * z - height * height - r * r)
    root = np.sqrt(np.maximum(disc, 0.0))
    side, back = (b - root) / a, (b + root) / a
    cap = (height + half) / rise  # the camera is above: a ray enters by the top, leaves by the bottom
    bottom = (height - half) / rise
    t = np.maximum(side, cap)
    hit = (disc > 0.0) & (t < np.minimum(back, bottom))
    along, k = t * rise - height, 1.0 / r
    top = side < cap
    sides = [(t * u - x - along * ux) * k, (t * v - y - along * uy) * k, (t - z - along * uz) * k]
    return hit, t, [np.where(top, np.float32(a), n) for a, n in zip(frame.up, sides, strict=True)]


def _cone(thing: Thing, frame: _Frame, u: F32, v: F32) -> Hits:
    height = thing.height
    x, y, z = frame.scene.camera.to_camera((thing.x, thing.base + height, thing.z))  # the apex
    _, uy, uz = frame.up
    k = (thing.radius / height) ** 2 + 1.0
    rise = v * uy + uz
    above = y * uy + z * uz
    a = u * u + (v * v + 1.0 - k * rise * rise)
    b = u * x + (v * y + z - k * rise * above)
    disc = b * b - a * (x * x + y * y + z * z - k * above * above)
    root = np.sqrt(np.maximum(disc, 0.0))
    a = np.where(np.abs(a) < 1e-6, np.float32(1e-6), a)
    first, second = (b - root) / a, (b + root) / a
    t = np.minimum(first, second)
    down = above - t * rise  # metres below the apex; the upper nappe has it negative
    t = np.where(down > 0.0, t, np.maximum(first, second))
    down = above - t * rise
    hit = (disc > 0.0) & (down > 0.0) & (down < height)
    scale = 1.0 / np.maximum(down * (thing.radius / height) * math.sqrt(k), 1e-6)
    lift = k * down
    return hit, t, [(t * u - x) * scale, (t * v - y + lift * uy) * scale, (t - z + lift * uz) * scale]


SOLIDS = {"sphere": _sphere, "cube": _cube, "cylinder": _cylinder, "cone": _cone}

# ------------------------------------------------------------------------------------ figures


def _draw_figure(frame: _Frame, figure: Figure) -> None:
    """All limbs at once: arrays have one leading axis of capsules."""
    camera, size = frame.scene.camera, frame.size
    starts = [camera.to_camera(limb.start) for limb in figure.limbs]
    ends = [camera.to_camera(limb.end) for limb in figure.limbs]
    balls = [
        (p, limb.radius)
        for limb, pair in zip(figure.limbs, zip(starts, ends, strict=True), strict=True)
        for p in pair
    ]
    xs = [t for (x, _, z), r in balls for t in _tangents(x, z, r)]
    ys = [t for (_, y, z), r in balls for t in _tangents(y, z, r)]
    f, half = camera.focal * size, 0.5 * size
    rect = _rect((min(xs) * f + half, min(ys) * f + half, max(xs) * f + half, max(ys) * f + half), size)
    u, v = frame.axis[None, rect[2] : rect[3]], frame.axis[rect[0] : rect[1], None]

    a = np.array(starts, np.float32)
    ba = np.array(ends, np.float32) - a
    r = np.array([limb.radius for limb in figure.limbs], np.float32)
    per_limb = lambda values: values[:, None, None]  # noqa: E731
    linear = lambda w: per_limb(w[:, 0]) * u + (per_limb(w[:, 1]) * v + per_limb(w[:, 2]))  # noqa: E731
    length, offset = (ba * ba).sum(1), (ba * a).sum(1)
    dd, along, da = u * u + (v * v + 1.0), linear(ba), linear(a)
    qa = per_limb(length) * dd - along * along
    qb = per_limb(length) * da - per_limb(offset) * along
    qc = length * ((a * a).sum(1) - r * r) - offset * offset
    disc = qb * qb - qa * per_limb(qc)
    t = (qb - np.sqrt(np.maximum(disc, 0.0))) / np.maximum(qa, 1e-6)
    y = t * along - per_limb(offset)
    past = y >= per_limb(length)
    capped = past | (y <= 0.0)
    near = np.where(past, da + along, da)  # ray . nearer end
    b = a + ba
    cap = np.where(past, per_limb((b * b).sum(1) - r * r), per_limb((a * a).sum(1) - r * r))
    cap_disc = near * near - dd * cap
    t = np.where(capped, (near - np.sqrt(np.maximum(cap_disc, 0.0))) / dd, t)
    t = np.where((disc > 0.0) & (~capped | (cap_disc > 0.0)), t, FAR)

    limb = t.argmin(0)
    t = np.take_along_axis(t, limb[None], 0)[0]
    hit = t < FAR
    y = np.take_along_axis(y, limb[None], 0)[0]
    share = np.clip(y / length[limb], 0.0, 1.0)
    normals = [t * w - (a[limb, k] + share * ba[limb, k]) for k, w in enumerate((u, v, np.float32(1)))]
    inverse = 1.0 / np.sqrt(normals[0] ** 2 + normals[1] ** 2 + normals[2] ** 2)
    normals = [n * inverse for n in normals]

    shirt = COLOURS[figure.colour]
    trousers = (shirt[0] * 0.5, shirt[1] * 0.5, shirt[2] * 0.5)
    paints = {
        "shirt": frame.add_paint(shirt),
        "trousers": frame.add_paint(trousers),
        "head": frame.add_paint(SKIN),
    }
    hair = frame.add_paint(HAIR)
    paint = np.array([paints[limb.part] for limb in figure.limbs], np.uint8)[limb]
    fx, fy, fz = camera.turn((figure.forward[0], figure.forward[1] - 0.45, figure.forward[2]))
    behind = normals[0] * fx + normals[1] * fy + normals[2] * fz < -0.1
    paint[(paint == paints["head"]) & behind] = hair
    frame.write(rect, hit, t, normals, paint, shiny=False)


def keypoints(scene: Scene, rendering: Rendering, figure: int) -> npt.NDArray[np.float64]:
    """(k, 3): pixel x, y and visibility (0 outside the picture, 1 hidden, 2 seen) of a figure's joints."""
    size = len(rendering.ids)
    out = np.zeros((len(JOINTS), 3))
    skin = {"head": 0.30, "neck": 0.28, "hip": 0.36}
    for k, name in enumerate(JOINTS):
        point = scene.figures[figure].joints[name]
        x, y = scene.camera.project(point, size)
        if 0.0 <= x < size and 0.0 <= y < size:
            # A joint lies inside its limb: it is seen when only its own skin is before it.
            gap = scene.camera.to_camera(point)[2] - float(rendering.depth[int(y), int(x)])
            own = rendering.ids[int(y), int(x)] == len(scene.things) + figure + 1
            out[k] = x, y, 2 if gap < (skin.get(name, 0.2) if own else 0.0) else 1
    return out
