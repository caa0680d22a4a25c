"""The renderer against independent means: signed distances, unprojected depth, the scene graph."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unified.sources.toybox.context import Context
from unified.sources.toybox.draws import Draws
from unified.sources.toybox.render import keypoints, render
from unified.sources.toybox.scene import draw_figure_view, draw_look
from unified.sources.toybox.world import (
    ACTIONS,
    DEPTH_RANGE,
    JOINTS,
    MATERIALS,
    SHAPES,
    SIZES,
    Camera,
    Look,
    Scene,
    Thing,
)


def views(n, size=64, low=1, high=5):
    return [Context(Draws("render test", i), False, size).any_view(low, high)[0] for i in range(n)]


def figure_view(i, size=64, action=None):
    rng = Draws("figure test", i)
    action = action or ACTIONS[i % len(ACTIONS)]
    item = Look("red", "cube", "small", "matte") if action in ("hold", "sit", "point") else None
    extras = [draw_look(rng)]
    return draw_figure_view(rng, size, action=action, colour="green", item=item, extras=extras)


# ------------------------------------------------------------------------- by signed distances


def rays(camera, size):
    """(s, s, 3) world directions with one metre of depth each, and the eye."""
    axis = (np.arange(size) + 0.5) / size - 0.5
    u, v = np.meshgrid(axis / camera.focal, axis / camera.focal)
    c, s = math.cos(camera.pitch), math.sin(camera.pitch)
    down, ahead = np.array([0, -c, -s]), np.array([0, -s, c])
    return u[..., None] * [1.0, 0, 0] + v[..., None] * down + ahead, np.array([0.0, camera.height, 0.0])


def thing_distance(thing, p):
    """Signed distance in metres from points (..., 3) to a thing."""
    r, h = thing.radius, thing.height
    q = p - np.array([thing.x, thing.base, thing.z])
    if thing.look.shape == "sphere":
        return np.linalg.norm(q - [0, r, 0], axis=-1) - r
    if thing.look.shape == "cube":
        c, s = math.cos(thing.yaw), math.sin(thing.yaw)
        local = np.stack([c * q[..., 0] + s * q[..., 2], q[..., 1] - r, c * q[..., 2] - s * q[..., 0]], -1)
        d = np.abs(local) - r
        return np.linalg.norm(np.maximum(d, 0), axis=-1) + np.minimum(d.max(-1), 0)
    around = np.hypot(q[..., 0], q[..., 2])
    if thing.look.shape == "cylinder":
        d = np.stack([around - r, np.abs(q[..., 1] - h / 2) - h / 2], -1)
        return np.linalg.norm(np.maximum(d, 0), axis=-1) + np.minimum(d.max(-1), 0)
    # A cone is the convex piece below its slant; the largest plane distance never overshoots.
    slant = (around * h + (q[..., 1] - h) * r) / math.hypot(r, h)
    return np.maximum(slant, -q[..., 1])


def capsule_distance(limb, p):
    a, b = np.array(limb.start), np.array(limb.end)
    t = np.clip(((p - a) @ (b - a)) / ((b - a) @ (b - a)), 0, 1)
    return np.linalg.norm(p - a - t[..., None] * (b - a), axis=-1) - limb.radius


def march(scene, size):
    """Depth and ids by walking along each ray by the least distance to anything."""
    directions, eye = rays(scene.camera, size)
    length = np.linalg.norm(directions, axis=-1)
    solids = [lambda p, t=t: thing_distance(t, p) for t in scene.things]
    for figure in scene.figures:
        solids.append(lambda p, f=figure: np.min([capsule_distance(x, p) for x in f.limbs], axis=0))
    depth = np.full(directions.shape[:2], 1.0)
    for _ in range(160):
        p = eye + depth[..., None] * directions
        room = np.minimum(p[..., 1], scene.wall_distance - p[..., 2])
        distances = np.stack([room, *(solid(p) for solid in solids)])
        depth = depth + distances.min(0) / length
    return depth, distances.argmin(0), distances


def check_against_march(scene, picture):
    depth, ids, distances = march(scene, len(picture.ids))
    near = np.sort(distances, axis=0)
    # Rays that graze an edge may end on either side of it.
    clear = (near[0] < 1e-4) & ((near[1] > 2e-3) | (len(near) == 1))
    assert clear.mean() > 0.9
    same = picture.ids == ids
    assert same[clear].mean() > 0.997
    assert np.abs(picture.depth - depth)[clear & same].max() < 0.02


@pytest.mark.parametrize("seed", range(6))
def test_things_by_signed_distance(seed):
    (view,) = views(seed + 1, 48, 3, 5)[-1:]
    check_against_march(view.scene, view.picture)


@pytest.mark.parametrize("action", ACTIONS)
def test_figures_by_signed_distance(action):
    view = figure_view(0, 48, action)
    check_against_march(view.scene, view.picture)


@pytest.mark.parametrize("shape", SHAPES)
def test_things_cut_by_the_border(shape):
    things = [
        Thing(Look("red", shape, "large", "shiny"), x, z, 0.7)
        for x, z in ((-2.4, 4.0), (2.3, 3.8), (0.0, 1.9))
    ]
    scene = Scene(tuple(things))
    check_against_march(scene, render(scene, 48))


# ------------------------------------------------------------------------------- maps and boxes


def test_boxes_are_the_extents_of_the_visible_masks():
    for view in [*views(60), *(figure_view(i) for i in range(16))]:
        picture = view.picture
        for i, box in enumerate(picture.boxes):
            mask = picture.mask(i)
            rows, cols = np.nonzero(mask)
            assert box.tolist() == [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]
            assert picture.seen[i] == mask.sum() <= picture.area[i]
        assert picture.ids.max() <= len(picture.boxes)


def test_nearer_things_hide_farther_ones():
    """Each thing alone is as deep as in company wherever it is seen, and behind what hides it elsewhere."""
    for view in views(15, low=4):
        whole = view.picture
        for i, thing in enumerate(view.things):
            alone = render(Scene((thing,), camera=view.scene.camera), 64)
            hidden = alone.mask(0) & ~whole.mask(i)
            np.testing.assert_array_equal(alone.depth[whole.mask(i)], whole.depth[whole.mask(i)])
            assert (whole.depth[hidden] <= alone.depth[hidden]).all()
            assert alone.mask(0).sum() == whole.area[i]


def points(picture, camera):
    """(s, s, 3) camera-frame positions of the surfaces, from depth alone."""
    size = len(picture.ids)
    axis = ((np.arange(size) + 0.5) / size - 0.5) / camera.focal
    u, v = np.meshgrid(axis, axis)
    return picture.depth[..., None] * np.stack([u, v, np.ones_like(u)], -1)


def test_depth_stays_in_its_range():
    for view in [*views(60), *(figure_view(i) for i in range(16))]:
        assert DEPTH_RANGE[0] < view.picture.depth.min() and view.picture.depth.max() < DEPTH_RANGE[1]


def test_normals_of_spheres():
    found = 0
    for view in views(40):
        where = points(view.picture, view.scene.camera)
        for i, thing in enumerate(view.things):
            if thing.look.shape == "sphere":
                centre = view.scene.camera.to_camera((thing.x, thing.base + thing.radius, thing.z))
                mask = view.picture.mask(i)
                expected = (where[mask] - centre) / thing.radius
                np.testing.assert_allclose(view.picture.normals[mask], expected, atol=2e-3)
                found += 1
    assert found > 20


def test_normals_are_unit_and_face_the_camera():
    for view in [*views(40), *(figure_view(i) for i in range(16))]:
        normals = view.picture.normals
        np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1.0, atol=5e-3)  # the tip of a cone
        assert ((normals * points(view.picture, view.scene.camera)).sum(-1) < 1e-2).all()


def test_normals_follow_the_gradient_of_depth_on_planes():
    """Floor, wall and the faces of cubes: the cross product of neighbouring surface points."""
    cubes = 0
    for view in views(40):
        picture = view.picture
        where = points(picture, view.scene.camera).astype(np.float64)
        across, down = where[:-1, 1:] - where[:-1, :-1], where[1:, :-1] - where[:-1, :-1]
        normals = np.cross(down, across)
        normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
        flat = np.isin(
            picture.ids, [0] + [i + 1 for i, t in enumerate(view.things) if t.look.shape == "cube"]
        )
        stated = picture.normals
        # Only where the three pixels lie on one face.
        one = flat[:-1, :-1].copy()
        for other in (stated[:-1, 1:], stated[1:, :-1]):
            one &= np.abs(other - stated[:-1, :-1]).max(-1) < 1e-4
        for other in (picture.ids[:-1, 1:], picture.ids[1:, :-1]):
            one &= other == picture.ids[:-1, :-1]
        cubes += (one & (picture.ids[:-1, :-1] > 0)).sum()
        np.testing.assert_allclose(normals[one], stated[:-1, :-1][one], atol=0.02)
    assert cubes > 500


def test_sizes_show_the_same_scene():
    for i in range(10):
        small, large = (Context(Draws("size test", i), False, s).any_view(2, 4)[0] for s in (64, 128))
        if small.scene == large.scene:  # else a thing was too hidden at one of the sizes
            assert np.abs(small.picture.boxes * 2 - large.picture.boxes).max() <= 3
            assert np.abs(small.picture.depth - large.picture.depth[::2, ::2]).mean() < 0.1


def test_scenes_are_readable():
    for view in views(80):
        for seen, area, box in zip(view.picture.seen, view.picture.area, view.picture.boxes, strict=True):
            assert seen >= 0.6 * area and min(box[2] - box[0], box[3] - box[1]) >= 7


def test_attributes_can_be_seen():
    """Nothing but the attribute differs, and the pixels do: size by area, material and colour by light."""
    for shape in SHAPES:
        areas, levels = {}, {}
        for size in SIZES:
            for material in MATERIALS:
                for colour in ("red", "white"):
                    scene = Scene((Thing(Look(colour, shape, size, material), 0.0, 4.5, 0.5),))
                    picture = render(scene, 64)
                    areas[size] = picture.area[0]
                    levels[size, material, colour] = picture.image[picture.mask(0)].astype(int).mean(0)
        assert areas["large"] > 2 * areas["small"]
        for size in SIZES:
            gain = levels[size, "shiny", "red"] - levels[size, "matte", "red"]
            assert gain.mean() > 2
            assert levels[size, "matte", "red"][2] < 60 < levels[size, "matte", "white"][2]


# -------------------------------------------------------------------------------------- figures


def test_joints_lie_in_the_figure():
    for i in range(24):
        view = figure_view(i)
        found = keypoints(view.scene, view.picture, 0)
        assert found.shape == (len(JOINTS), 3) and (found[:, 2] > 0).all()
        x1, y1, x2, y2 = view.picture.boxes[-1]
        mask, joints = view.picture.mask(len(view.things)), view.scene.figures[0].joints
        for (x, y, seen), joint in zip(found, JOINTS, strict=True):
            assert x1 - 1 <= x <= x2 + 1 and y1 - 1 <= y <= y2 + 1 or seen == 1, joint
            own = mask[int(y), int(x)]
            behind = view.picture.depth[int(y), int(x)] > view.scene.camera.to_camera(joints[joint])[2]
            assert own or behind if seen == 2 else not behind, joint
        # The figure faces the viewer: its left is on the right.
        at = dict(zip(JOINTS, found[:, 0], strict=True))
        assert view.scene.figures[0].action in ("run", "sit") or at["left_knee"] > at["right_knee"]


def test_poses_look_like_their_actions():
    for i in range(40):
        view = figure_view(i)
        figure = view.scene.figures[0]
        up = {name: p[1] for name, p in figure.joints.items()}
        feet, hands = (up["left_foot"], up["right_foot"]), (up["left_hand"], up["right_hand"])
        raised = [h > up["neck"] for h in hands]
        assert (min(feet) > 0.2) == (figure.action in ("jump", "sit"))
        assert all(raised) == (figure.action in ("jump", "hold"))
        assert (sum(raised) == 1) == (figure.action == "wave") or figure.action == "run"
        assert (max(feet) - min(feet) > 0.1) == (figure.action in ("kick", "run"))
        if figure.action == "hold":
            assert view.things[0].base > up["head"] - 0.2
        if figure.action == "sit":
            assert up["hip"] == pytest.approx(view.things[0].height + 0.2)


def test_a_hidden_joint_is_marked():
    view = figure_view(3, action="stand")
    hip = view.scene.figures[0].joints["hip"]
    wall = Thing(Look("red", "cube", "large", "matte"), hip[0], hip[2] - 1.0, base=0.8)
    scene = Scene(view.things + (wall,), view.scene.figures, view.scene.camera)
    found = dict(zip(JOINTS, keypoints(scene, render(scene, 64), 0), strict=True))
    assert found["hip"][2] == 1 and found["head"][2] == 2


def test_camera_projects_by_its_definition():
    camera = Camera(height=2.0, pitch=math.radians(30), focal=1.0)
    # Straight ahead along the axis: 2 m down per 2 / tan(30) m forward.
    assert camera.project((0.0, 0.0, 2.0 / math.tan(math.radians(30))), 100) == pytest.approx((50, 50))
    assert camera.to_camera((1.0, 2.0, 0.0)) == pytest.approx((1.0, 0.0, 0.0))
