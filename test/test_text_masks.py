"""Masks as text: round trips, laws, what damaged text becomes, and what the coding costs (mask_shapes.py)."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mask_shapes import HEIGHT, PAGE, SHAPES, WIDTH, bricks, iou, labels, page_with_table

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.model import text_masks as tm
from qwen_seg_ros.segmentation.answer import parse_answer

EXAMPLE = "others *1| dog *3\n others *4\n"  # published, 4 columns and 2 rows
EXAMPLE_CELLS = [[0, 1, 1, 1], [0, 0, 0, 0]]
cells = st.sampled_from([(2, 4), (4, 2), (16, 16), (24, 24)]).flatmap(
    lambda shape: arrays(np.int64, shape, elements=st.integers(0, 3))
)
LABELS = (tm.BACKGROUND, "dog", "the red mug, left", "2 * 3 cans")


def grid_of(text: str, shape: tuple[int, int] | None = None) -> list[list[str]]:
    grid = tm.decode_labels(text, shape)
    return [[grid.labels[value] for value in row] for row in grid.cells.tolist()]


# --- image-wise -------------------------------------------------------------------------------------------------------------


def test_the_published_example() -> None:
    grid = tm.LabelGrid((tm.BACKGROUND, "dog"), np.array(EXAMPLE_CELLS))
    assert tm.encode_labels(grid) == f"<seg>{EXAMPLE}</seg>"
    assert tm.decode_labels(EXAMPLE).cells.tolist() == EXAMPLE_CELLS
    assert tm.decode_labels(EXAMPLE).labels == (tm.BACKGROUND, "dog")


@settings(max_examples=150, deadline=None)
@given(cells)
def test_labels_survive_the_text(written: np.ndarray) -> None:
    grid = tm.LabelGrid(LABELS, written)
    read = tm.decode_labels(tm.encode_labels(grid))
    assert read.cells.shape == written.shape
    for label in LABELS[1:]:
        np.testing.assert_array_equal(read.mask(label), grid.mask(label))


@settings(max_examples=50, deadline=None)
@given(cells)
def test_runs_never_cross_rows(written: np.ndarray) -> None:
    text = tm.encode_labels(tm.LabelGrid(LABELS, written))
    lines = text.removeprefix("<seg>").removesuffix("\n</seg>").split("\n ")
    assert [sum(map(int, re.findall(r"\*(\d+)(?:\||$)", line))) for line in lines] == [written.shape[1]] * written.shape[0]


# text, shape, cells as initial letters
TOLERATED = [
    ("dog *2\n others *4\n", (2, 4), "dddd oooo"),  # a short row goes on with its last label
    ("dog *9\n others *4\n", (2, 4), "dddd oooo"),  # a long one is cut
    ("dog *4\n others *1| dog *3\n", (3, 4), "dddd oddd dddd"),  # missing rows
    ("dog *4\n others *4\n dog *4\n", (2, 4), "dddd oooo"),  # too many rows
    ("others *1| dog *3\n others *2| do", None, "oddd oooo"),  # cut in a label
    ("others *1| dog *3\n others *2| dog *", None, "oddd oooo"),  # cut before a count
    ("others*1|dog*3\nothers*4", None, "oddd oooo"),  # blanks left out
    ("others *1| dog * 3\\n others *4\\n", None, "oddd oooo"),  # line breaks still escaped
    ("\n others *1| dog *3\n others *4\n\n", None, "oddd oooo"),  # lines around
    ("<seg>others *1| dog *3\n others *4\n</seg> Done.", None, "oddd oooo"),  # tags
    ("Others *1| DOG *1| dog *2\n others *4", None, "oDDD oooo"),  # upper and lower case are one label
    ("dog *2| ?? | others *2\n others *4", None, "ddoo oooo"),  # a run that is none
    ("dog *0| others *4\n dog *4", None, "oooo dddd"),  # a run of none
    ("dog *4\n ???\n dog *4", None, "dddd oooo dddd"),  # a row that is none
    ("no runs here", (2, 4), "oooo oooo"),
    ("", (2, 4), "oooo oooo"),
    ("dog *99999999999\n", (1, 4), "oooo"),  # no count
]


@pytest.mark.parametrize(("text", "shape", "expected"), TOLERATED)
def test_what_damaged_label_texts_become(text: str, shape: tuple[int, int] | None, expected: str) -> None:
    assert " ".join("".join(label[0] for label in row) for row in grid_of(text, shape)) == expected


def test_the_usual_sizes_are_square_though_rows_are_missing() -> None:
    assert tm.decode_labels("others *24\n dog *24\n").cells.shape == (24, 24)
    assert tm.decode_labels("nothing").cells.shape == (16, 16)


def test_label_grid_takes_the_cells_middles_and_the_later_mask() -> None:
    mask = np.zeros((4, 8), bool)
    mask[:2, 4:] = True
    grid = tm.label_grid({"a": mask, "b": mask[:, ::-1] | mask}, 2, 4)
    assert grid.cells.tolist() == [[2, 2, 2, 2], [0, 0, 0, 0]]
    assert tm.label_grid({"a": mask}, 2, 4).cells.tolist() == [[0, 0, 1, 1], [0, 0, 0, 0]]


@pytest.mark.parametrize("label", ["", " mug", "a|b", "a\nb", "</seg>", "others"])
def test_labels_that_cannot_be_written_are_refused(label: str) -> None:
    with pytest.raises(InvalidInputError, match=r"a label must be words"):
        tm.label_grid({label: np.ones((4, 4), bool)})


def test_instances_are_told_apart_by_gaps() -> None:
    mask = np.array([[1, 1, 0, 0, 1], [0, 0, 1, 0, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]], bool)
    parts = tm.connected_instances(mask)
    assert [int(part.sum()) for part in parts] == [3, 2, 1]  # touching corners are one instance
    np.testing.assert_array_equal(np.logical_or.reduce(parts), mask)
    assert tm.connected_instances(np.zeros((3, 3), bool)) == []


# --- box-wise ---------------------------------------------------------------------------------------------------------------


def box_of(mask: np.ndarray) -> np.ndarray:
    return np.array([0, 0, mask.shape[1], mask.shape[0]], np.float32)


@pytest.mark.parametrize("side", tm.BRICK_SIDES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_bricks_survive_the_text(side: int, data: st.DataObject) -> None:
    mask = data.draw(arrays(np.bool_, (side, side)))
    text = tm.encode_bricks(mask, box_of(mask), side)
    np.testing.assert_array_equal(tm.decode_bricks(text), mask)
    assert len(text) <= len("<seg>32:</seg>") + side * side // 4 + side // 4 - 1
    assert re.fullmatch(r"<seg>(\d{1,2}:)?[a-p0-9/]*</seg>", text)


def test_a_brick_text_by_hand() -> None:
    mask = np.zeros((8, 8), bool)
    mask[:4, 2:5] = True  # p: four cells, three times
    mask[5, 7] = True  # c: the second of four
    assert tm.encode_bricks(mask, box_of(mask), 8) == "<seg>8:a2p3/a7c</seg>"


FULL, EMPTY = np.ones((4, 16), bool), np.zeros((4, 16), bool)
BRICK_TEXTS = [
    ("p16/p16/p16/p16", [FULL] * 4),
    ("<seg>p16/p16", [FULL, FULL, EMPTY, EMPTY]),  # cut off: what is missing is empty
    ("p999/p16/p16/p16/p16/p16", [FULL] * 4),  # too much is cut
    ("pppppppppppppppp/p8p8", [FULL, FULL, EMPTY, EMPTY]),  # runs written otherwise
    ("a0p16", [FULL, EMPTY, EMPTY, EMPTY]),
    ("3/p16", [EMPTY, FULL, EMPTY, EMPTY]),  # a count without a letter
    ("", [EMPTY] * 4),
    ("p16 is the mask", [EMPTY] * 4),
    ("99:p16", [EMPTY] * 4),  # no such grid
    ("q16", [EMPTY] * 4),
]


@pytest.mark.parametrize(("text", "rows"), BRICK_TEXTS)
def test_what_damaged_brick_texts_become(text: str, rows: list[np.ndarray]) -> None:
    np.testing.assert_array_equal(tm.decode_bricks(text), np.concatenate(rows))


def test_a_thin_mask_does_not_vanish() -> None:
    mask = np.zeros((160, 160), bool)
    mask[:, 80] = True  # a tenth of a cell wide
    assert tm.decode_bricks(tm.encode_bricks(mask, box_of(mask))).any(axis=1).all()


def test_a_side_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"side must be one of .* got 10"):
        tm.encode_bricks(FULL, box_of(FULL), 10)


@settings(max_examples=100, deadline=None)
@given(arrays(np.bool_, (8, 8)), st.integers(1, 5), st.integers(1, 5))
def test_upsampling_commutes_with_flips(mask: np.ndarray, down: int, right: int) -> None:
    for upsample in (tm.upsample_nearest, tm.upsample_smooth):
        large = upsample(mask, 8 * down, 8 * right)
        assert large.shape == (8 * down, 8 * right)
        np.testing.assert_array_equal(upsample(mask[::-1, ::-1], 8 * down, 8 * right), large[::-1, ::-1])
    np.testing.assert_array_equal(tm.upsample_nearest(mask, 8, 8), mask)
    np.testing.assert_array_equal(tm.upsample_smooth(mask, 8, 8), mask)


# --- in the image -----------------------------------------------------------------------------------------------------------


def test_bricks_fill_their_box_and_nothing_else() -> None:
    mask = tm.text_mask_in_image("<seg>p16/p16/p16/p16</seg>", np.array([10, 20, 50, 60], np.float32), 100, 80, "mug")
    ys, xs = np.nonzero(mask)
    assert (xs.min(), ys.min(), xs.max(), ys.max()) == (10, 20, 49, 59)
    assert mask.sum() >= 0.99 * 40 * 40  # the corners are rounded


def test_the_label_says_which_cells_are_meant() -> None:
    text = "<seg>mug *2| can *2\n others *4\n</seg>"
    box = np.array([0, 0, 80, 40], np.float32)
    assert tm.text_mask_in_image(text, box, 40, 80, "Can")[:20, 40:].all()
    assert tm.text_mask_in_image(text, box, 40, 80, "Can").sum() == 20 * 40
    assert tm.text_mask_in_image(text, box, 40, 80, "something else").sum() == 20 * 80


@settings(max_examples=300, deadline=None)
@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["<seg>", "</seg>", "p", "16", "/", "24:", "dog *3", "| ", "\n ", "*", "others *16"])).map(
        "".join
    ),
    st.tuples(*[st.floats(-1e4, 1e4)] * 4),
)
def test_any_text_gives_a_mask(text: str, box: tuple[float, ...]) -> None:
    mask = tm.text_mask_in_image(text, np.array(box, np.float32), 30, 40, "dog")
    assert mask.shape == (30, 40) and mask.dtype == bool
    assert max(tm.decode_labels(text).cells.shape) <= tm.MAX_SIDE


@settings(max_examples=60, deadline=None)
@given(cells)
def test_a_grid_in_an_answer_gives_every_label_its_box_and_mask(written: np.ndarray) -> None:
    grid = tm.LabelGrid(LABELS, written)
    parsed = parse_answer(f"Sure: {tm.encode_labels(grid)}", "x")
    present = [label for label in LABELS[1:] if grid.mask(label).any()]
    assert {e.phrase for e in parsed.entries} == set(present)
    assert parsed.absent == (() if present else ("x",))
    for entry in parsed.entries:
        wanted = tm.upsample_nearest(grid.mask(entry.phrase), 48, 96)
        box = np.array(entry.box_grid) * [96, 48, 96, 48] / 1000
        np.testing.assert_array_equal(tm.text_mask_in_image(entry.mask_text, box, 48, 96, entry.phrase), wanted)
        ys, xs = np.nonzero(wanted)
        np.testing.assert_allclose(box, [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], atol=1e-6)


@pytest.mark.parametrize(("kind", "mask", "box"), SHAPES[::9])
def test_a_brick_text_in_an_answer_gives_the_mask_back(kind: str, mask: np.ndarray, box: np.ndarray) -> None:
    grid = np.rint(box * 1000 / [WIDTH, HEIGHT, WIDTH, HEIGHT]).astype(int).tolist()
    (entry,) = parse_answer(f'[{{"bbox_2d":{grid},"label":"{kind}","mask":"{tm.encode_bricks(mask, box, 32)}"}}]').entries
    box_px = np.array(entry.box_grid) * [WIDTH, HEIGHT, WIDTH, HEIGHT] / 1000
    assert iou(tm.text_mask_in_image(entry.mask_text, box_px, HEIGHT, WIDTH, kind), mask) > 0.85


# --- what it costs ----------------------------------------------------------------------------------------------------------


def test_the_page_shows_the_cost() -> None:
    page = PAGE.read_text()
    assert page == page_with_table(page), "docs/answers.md is out of date: run python test/mask_shapes.py"


def test_smooth_upsampling_of_bricks_is_the_better_one() -> None:
    for side in tm.BRICK_SIDES:
        _, nearest, smooth = bricks(side)
        assert np.mean(smooth) > np.mean(nearest)


def test_the_default_keeps_most_of_a_mask_in_few_characters() -> None:
    length, _, smooth = bricks(tm.BRICK_SIDE)
    assert np.mean(smooth) > 0.9 and np.mean(length) < 45 and max(length) <= 67
    assert np.mean(length) < np.mean(labels(16)[0]) / 5
