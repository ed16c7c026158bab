"""Scenes of every profile: what stands where by the geometry of its surfaces, what records say against pictures and depth,
cameras against the frustum that was drawn, sensors. Rendering needs MuJoCo, EGL and assets."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import open3d as o3d
import pytest

from qwen_seg_ros.errors import InvalidInputError, MissingExtraError
from qwen_seg_ros.geometry.transform import inverse, move_points
from qwen_seg_ros.offline.sim.catalogue import PAINT, CatalogueEntry
from qwen_seg_ros.offline.sim.more_objects import all_objects, pool_objects
from qwen_seg_ros.offline.sim.procedural import SOLIDS, Mesh
from qwen_seg_ros.offline.sim.profiles import PROFILES, SceneProfile, scene_profile
from qwen_seg_ros.offline.sim.scene import SimScene
from qwen_seg_ros.offline.sim.sensors import CAMERAS, sense
from qwen_seg_ros.offline.sim.shapes import Surface, yaw_turn
from qwen_seg_ros.offline.sim.standing import Pose, dropped, gap_m, pushed_against, standing

SIZE = (320, 240)
MESHES = (
    *("libero/ketchup", "robosuite/cereal", "painted/025_mug", "painted/024_bowl", "painted/029_plate", "ycb/013_apple"),
    *("painted/007_tuna_fish_can", "painted/003_cracker_box", "painted/026_sponge", "libero/black_book"),
)
BUSY = replace(PROFILES["train"], count=(9, 12), stacked=0.6, touching=0.6, lying=0.5, sensors=(), least_area=0.0002)


def few_objects() -> tuple[CatalogueEntry, ...]:
    """Loaded in a second or two: a few meshes and one of each made-up shape for training."""
    solids = tuple(e for e in all_objects() if e.solid and e.pool == "train" and e.key.endswith(("/0", "/1")))
    return (*(e for e in all_objects() if e.key in MESHES), *solids)


@pytest.fixture(scope="module")
def renderer() -> Iterator:
    try:
        from qwen_seg_ros.offline.sim.renderer import SceneRenderer

        made = SceneRenderer(*SIZE, few_objects())
        made.studio("train")
    except MissingExtraError as problem:
        pytest.skip(str(problem))
    return made


@pytest.fixture(scope="module")
def scenes(renderer) -> list[list]:
    """What was placed in 12 busy scenes."""
    studio = renderer.studio("train")
    return [studio.set_up(BUSY, BUSY.count, np.random.default_rng(seed)) for seed in range(12)]


@pytest.fixture(scope="module")
def views(renderer) -> list[SimScene]:
    return [view for seed in range(6) for view in renderer.render(seed, 3, profile=BUSY)]


def solid(kind: str, size: tuple[float, float, float]) -> Surface:
    mesh = SOLIDS[kind].build()
    return Surface((mesh.vertices + np.array([0, 0, 0.5])) * size, mesh.faces)


def box(size: tuple[float, float, float], spot: tuple[float, float] = (0, 0), yaw: float = 0.0) -> Pose:
    return standing(solid("cube", size), yaw_turn(yaw), np.array(spot))


# --- profiles and objects


def test_every_profile_is_known_by_its_name() -> None:
    assert scene_profile("train") is PROFILES["train"]
    with pytest.raises(InvalidInputError, match=r"no scene profile 'trian'; there are simple, train"):
        scene_profile("trian")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"cameras": ("roof",)}, "takes the words"), ({"lying": 1.5}, "lying .* between 0 and 1"), ({"count": (3, 2)}, "count")],
)
def test_a_profile_that_cannot_be_is_refused(wrong: dict, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        SceneProfile(**wrong)


def test_unseen_objects_are_not_trained_on_but_their_categories_are() -> None:
    train, unseen = pool_objects("train"), pool_objects("unseen")
    assert not {e.key for e in train} & {e.key for e in unseen} and not {e.path for e in train} & {e.path for e in unseen} - {""}
    assert not {e.solid for e in train} & {e.solid for e in unseen} - {""}
    assert {e.category for e in unseen} <= {e.category for e in train}


def test_words_are_plain_and_keys_unique() -> None:
    entries = all_objects()
    assert len({e.key for e in entries}) == len(entries)
    texts = [text for e in entries for text in (e.name, e.category, *e.aliases, *((e.colour,) if not e.colours else e.colours))]
    assert all(text and text == text.lower() and text.isprintable() for text in texts)
    assert all(colour in PAINT for e in entries for colour in e.colours)


@pytest.mark.parametrize("kind", list(SOLIDS))
def test_made_up_shapes_are_closed_and_shaded_outwards(kind: str) -> None:
    mesh: Mesh = SOLIDS[kind].build()
    edges = Counter((int(a), int(b)) for face in mesh.faces for a, b in zip(face, np.roll(face, -1), strict=True))
    assert all(edges[b, a] == count for (a, b), count in edges.items())
    corners = mesh.vertices[mesh.faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert np.einsum("ij,ij->i", corners[:, 0], flat).sum() > 0.1  # six times its volume: faces look outwards
    assert (np.einsum("fij,fj->fi", mesh.corner_normals(), flat) > 0).all()
    np.testing.assert_allclose([mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)], [[-0.5] * 3, [0.5] * 3], atol=1e-9)


# --- standing: laws of boxes, known by arithmetic


def test_gap_and_push_of_turned_boxes() -> None:
    still, far = box((0.1, 0.06, 0.05), yaw=0.4), box((0.04, 0.04, 0.1), (0.3, 0.1), 1.1)
    angle = np.arctan2(0.1, 0.3)
    pushed = pushed_against(still, box((0.04, 0.04, 0.1), yaw=1.1), np.array([np.cos(angle), np.sin(angle)]))
    assert gap_m(still.footprint_m, far.footprint_m) > 0.15
    assert 0 <= gap_m(still.footprint_m, pushed.footprint_m) < 0.001
    assert (
        gap_m(still.footprint_m, pushed.moved(np.array([*(-0.005 * np.array([np.cos(angle), np.sin(angle)])), 0])).footprint_m)
        < 0
    )


def test_a_box_comes_to_rest_on_a_box() -> None:
    below = box((0.1, 0.1, 0.05))
    landed, number = dropped(box((0.04, 0.04, 0.03), (0.02, 0)), [below])
    assert number == 0
    np.testing.assert_allclose([landed.low_m, landed.high_m], [0.05, 0.08], atol=1e-6)
    assert dropped(box((0.04, 0.04, 0.03), (0.065, 0)), [below]) is None  # its middle is over the edge: it would tip
    assert dropped(box((0.04, 0.04, 0.03), (0.2, 0)), [below]) is None  # it misses


def test_a_small_box_lies_on_the_bottom_of_a_tray() -> None:
    pose = standing(solid("tray", (0.2, 0.2, 0.05)), np.eye(3), np.zeros(2))
    landed, _ = dropped(box((0.04, 0.04, 0.03)), [pose])
    assert landed.low_m == pytest.approx(0.14 * 0.05, abs=1e-3)


def test_lying_keeps_the_shape_and_rests_on_the_table() -> None:
    surface = solid("cylinder", (0.06, 0.06, 0.12))
    turn = surface.side(np.random.default_rng(0))
    pose = standing(surface, turn, np.zeros(2))
    assert np.linalg.det(turn) == pytest.approx(1) and pose.low_m == pytest.approx(0, abs=1e-9)
    assert pose.high_m == pytest.approx(0.06, abs=1e-3)
    thin_ring = solid("ring", (0.1, 0.1, 0.002))
    assert thin_ring.side(np.random.default_rng(0)) is None  # it does not stay on its edge


# --- scenes


def test_nothing_sinks_into_another_or_into_the_table(scenes) -> None:
    """Things that do not overlap seen from above cannot; of the others, one lies above the other."""
    pairs = [(one, other) for placed in scenes for n, one in enumerate(placed) for other in placed[:n]]
    above = [(one, other) for one, other in pairs if gap_m(one.pose.footprint_m, other.pose.footprint_m) < -1e-6]
    assert len(above) > 8
    assert max(overlap_m(one.pose, other.pose) for one, other in above) < 0.002
    assert min(one.pose.low_m for one, _ in pairs) > -1e-6


def overlap_m(upper: Pose, lower: Pose) -> float:
    """How far the top of what is below reaches over the bottom of what is above, in the worst of many upright lines through
    their triangles; placing looks at sampled points only."""
    low = np.maximum(upper.corners_m.min(axis=0), lower.corners_m.min(axis=0))[:2]
    high = np.minimum(upper.corners_m.max(axis=0), lower.corners_m.max(axis=0))[:2]
    x, y = (np.arange(a, b, 0.0015) for a, b in zip(low, high, strict=True))
    spots = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    both = hits(lower, spots, 2.0, -1) - hits(upper, spots, -1.0, 1)
    return float(both.max(where=np.isfinite(both), initial=-1.0))


def hits(pose: Pose, spots: np.ndarray, start_m: float, direction: int) -> np.ndarray:
    """(N,) heights at which upright lines first meet the triangles of an object, infinite where they miss."""
    vertices = pose.surface.vertices_m @ pose.turn.T + pose.place_m
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(vertices.astype(np.float32), pose.surface.faces.astype(np.uint32))
    rays = np.zeros((len(spots), 6), np.float32)
    rays[:, :2], rays[:, 2], rays[:, 5] = spots, start_m, direction
    return start_m + direction * scene.cast_rays(rays)["t_hit"].numpy()


def test_nothing_floats(scenes) -> None:
    """What does not stand on the table is within a few millimetres of what it stands on, and lies over it."""
    for placed in scenes:
        for one in placed:
            if one.support == 0:
                assert one.pose.low_m < 1e-6
            else:
                below = placed[one.support - 1]
                assert placed.index(below) < placed.index(one)
                assert -0.004 < overlap_m(one.pose, below.pose) < 0.002


def test_only_what_stands_on_another_overlaps_it_seen_from_above(scenes) -> None:
    for placed in scenes:
        for number, one in enumerate(placed, 1):
            for other_number, other in enumerate(placed[: number - 1], 1):
                if other_number not in carriers(placed, number):
                    assert gap_m(one.pose.footprint_m, other.pose.footprint_m) > -1e-6


def carriers(placed: list, number: int) -> set[int]:
    """Numbers of all that an object stands on, down to the table."""
    found: set[int] = set()
    while support := placed[number - 1].support:
        found.add(support)
        number = support
    return found


def test_busy_scenes_hold_all_there_is_to_see(scenes) -> None:
    """Otherwise the tests above would pass on nothing."""
    everything = [thing for placed in scenes for thing in placed]
    touching = [
        gap for placed in scenes for i, one in enumerate(placed) for other in placed[:i]
        if 0 <= (gap := gap_m(one.pose.footprint_m, other.pose.footprint_m)) < 0.001
    ]  # fmt: skip
    assert sum(thing.support > 0 for thing in everything) > 8
    assert sum(thing.lying for thing in everything) > 5
    assert len(touching) > 8


def test_the_same_seed_gives_the_same_view_after_other_scenes(renderer) -> None:
    first = renderer.render(7, 2, profile=PROFILES["train"])
    renderer.render(8, 1, profile=BUSY)
    again = renderer.render(7, 2, profile=PROFILES["train"])
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.rgb, other.rgb)
        np.testing.assert_array_equal(one.depth_m, other.depth_m)
        assert one.objects == other.objects


def test_points_from_depth_and_intrinsics_lie_in_the_boxes_of_their_objects(views) -> None:
    """Fails when the frustum is not that of the camera: principal point, focal lengths and roll differ from view to view."""
    for view in views:
        assert abs(view.camera.cx - (SIZE[0] / 2 - 0.5)) < 0.04 * SIZE[0]
        for item in view.objects:
            rows, cols = np.nonzero(view.ids == item.id)
            points = view.camera.deproject(np.stack([cols, rows], axis=1), view.depth_m[rows, cols])
            points = move_points(view.base_from_camera, points)
            reach = np.linalg.norm(item.size_m[:2]) / 2 + 0.004
            assert (np.linalg.norm(points[:, :2] - item.centre_m[:2], axis=1) < reach).all()
            assert points[:, 2].min() > item.centre_m[2] - item.size_m[2] / 2 - 0.004
            assert points[:, 2].max() < item.centre_m[2] + item.size_m[2] / 2 + 0.004
    assert len({round(view.camera.cx, 3) for view in views}) > 10


def test_the_visible_share_is_that_of_the_object_drawn_alone(renderer) -> None:
    """Against a projection of its triangles, apart from the renderer."""
    studio, shares = renderer.studio("train"), []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        placed = studio.set_up(BUSY, BUSY.count, rng)
        view = studio.view(seed, placed, None, BUSY, rng)
        for item in view.objects:
            whole = drawn_alone(view, placed[item.id - 1].pose)
            if whole > 400:
                assert item.visible == pytest.approx(min(item.pixels / whole, 1), abs=0.06)
                shares.append(item.visible)
    assert sum(share < 0.8 for share in shares) > 3 and sum(share == 1 for share in shares) > 10


def drawn_alone(view: SimScene, pose: Pose) -> int:
    """Pixels covered by the triangles of an object, without anything else."""
    vertices = pose.surface.vertices_m @ pose.turn.T + pose.place_m
    inside = move_points(inverse(view.base_from_camera), vertices)
    if inside[:, 2].min() < 0.05:
        return 0
    corners = view.camera.project(inside)[pose.surface.faces]
    mask = np.zeros((SIZE[1] * 4, SIZE[0] * 4), np.uint8)
    for triangle in np.rint((corners + 0.5) * 4 - 0.5).clip(-4000, 4000).astype(np.int32):
        cv2.fillConvexPoly(mask, triangle, 1)
    return int(mask.sum() / 16)


def test_records_say_what_touches_the_border(views) -> None:
    for view in views:
        border = set(np.concatenate([view.ids[0], view.ids[-1], view.ids[:, 0], view.ids[:, -1]]).tolist())
        assert {item.id for item in view.objects if item.cut} == border & {item.id for item in view.objects}
    assert any(item.cut for view in views for item in view.objects)


def test_colour_words_fit_what_is_seen(renderer) -> None:
    """In plain light, the mean colour of most painted things is nearest to the paint of their name, by hue."""
    profile = replace(BUSY, count=(6, 9), lights=("soft",), stacked=0.1)
    hits = [hue_fits(view, item) for seed in range(8) for view in renderer.render(seed, profile=profile) for item in view.objects
            if item.colour in ("red", "yellow", "green", "blue", "purple", "turquoise") and item.pixels > 150]  # fmt: skip
    assert len(hits) > 10 and np.mean(hits) > 0.85


def hue_fits(view: SimScene, item) -> bool:
    colours = ("red", "yellow", "green", "blue", "purple", "turquoise")
    mean = view.rgb[view.ids == item.id].mean(axis=0) / 255
    hues = {name: cv2.cvtColor(np.float32([[PAINT[name]]]), cv2.COLOR_RGB2HSV)[0, 0, 0] for name in colours}
    seen = cv2.cvtColor(np.float32([[mean]]), cv2.COLOR_RGB2HSV)[0, 0, 0]
    return min(hues, key=lambda name: abs((hues[name] - seen + 180) % 360 - 180)) == item.colour


@pytest.mark.parametrize(("area", "least", "most"), [("tiny", 0, 0.003), ("huge", 0.25, 1.0)])
def test_areas_are_as_asked(renderer, area: str, least: float, most: float) -> None:
    """One object is aimed at: tiny means that the median is tiny, huge that the largest is huge, in most views."""
    profile = replace(PROFILES["ood_scale"], areas=(area,), sensors=(), procedural=0.5)
    shares = [
        [item.pixels / (SIZE[0] * SIZE[1]) for item in renderer.render(seed, profile=profile)[0].objects] for seed in range(12)
    ]
    wanted = [np.median(s) if area == "tiny" else max(s) for s in shares if s]
    assert np.mean([least <= share <= most for share in wanted]) > 0.6


@pytest.mark.parametrize("name", [n for n in PROFILES if n not in ("simple", "ood_objects")])
def test_every_profile_renders_and_records_are_consistent(renderer, name: str) -> None:
    for view in renderer.render(3, 2, profile=PROFILES[name]):
        assert view.rgb.shape == (SIZE[1], SIZE[0], 3) and view.depth_m.dtype == np.float32
        for item in view.objects:
            assert item.pixels == np.count_nonzero(view.ids == item.id) and 0 < item.visible <= 1
            assert item.name and item.colour and item.category


# --- sensors


def flat_scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rgb, depth = np.full((120, 160, 3), 120, np.uint8), np.full((120, 160), 1.0, np.float32)
    depth[40:80, 60:100] = 0.5
    return rgb, depth, np.zeros((120, 160), np.float32)


@pytest.mark.parametrize("kind", list(CAMERAS))
def test_without_strength_pictures_are_exact_and_with_it_they_repeat(kind: str) -> None:
    rgb, depth, shine = flat_scene()
    same = sense(rgb, depth, shine, kind, 0.0, np.random.default_rng(0))
    np.testing.assert_array_equal(same[0], rgb)
    np.testing.assert_array_equal(same[1], depth)
    one, other = (sense(rgb, depth, shine, kind, 1.5, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])
    assert one[0].dtype == np.uint8 and one[1].dtype == np.float32


@pytest.mark.parametrize(("kind", "columns"), [("realsense", slice(45, 58)), ("kinect", slice(102, 115))])
def test_shadows_lie_on_the_side_of_the_second_eye(kind: str, columns: slice) -> None:
    rgb, depth, shine = flat_scene()
    lost = np.isnan(sense(rgb, depth, shine, kind, 0.5, np.random.default_rng(0))[1])[45:75]
    other = slice(160 - columns.stop, 160 - columns.start)
    assert lost[:, columns].mean() > 0.15 > 0.05 > lost[:, other].mean()


@pytest.mark.parametrize("kind", list(CAMERAS))
def test_dark_and_shiny_surfaces_lose_depth(kind: str) -> None:
    depth = np.full((200, 300), 0.8, np.float32)
    rgb, shine = np.full((200, 300, 3), 130, np.uint8), np.zeros((200, 300), np.float32)
    rgb[:, 100:200], shine[:, 200:] = 3, 1.0
    lost = np.isnan(sense(rgb, depth, shine, kind, 1.0, np.random.default_rng(1))[1])
    plain, dark, shiny = (lost[:, start + 5 : start + 95].mean() for start in (0, 100, 200))
    assert plain < 0.02 < 0.04 < min(dark, shiny)


@pytest.mark.parametrize("kind", list(CAMERAS))
def test_depth_errors_grow_with_strength_and_distance(kind: str) -> None:
    def spread(distance: float, strength: float) -> float:
        depth = np.full((200, 200), distance, np.float32)
        rgb, shine = np.full((200, 200, 3), 130, np.uint8), np.zeros((200, 200), np.float32)
        return float(np.nanstd(sense(rgb, depth, shine, kind, strength, np.random.default_rng(2))[1]))

    assert spread(2.0, 1.0) > 2.5 * spread(1.0, 1.0)
    assert spread(2.0, 3.0) > 2 * spread(2.0, 1.0)
