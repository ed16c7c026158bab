"""Files of users: what they become, and their mistakes."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from shards import write_shard
from test_data_mix import same

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.mask import encode_rle, mask_iou
from qwen_seg_ros.offline.data.mix import Mixture, rendered_sources
from qwen_seg_ros.offline.data.plain_questions import PlainQuestion
from qwen_seg_ros.offline.data.user_data import UserData
from qwen_seg_ros.offline.data.user_lines import Rle, parse_line, runs_of_string

DOC = Path(__file__).resolve().parents[1] / "docs" / "training_data.md"


def rle(mask: np.ndarray) -> dict:
    return {"size": list(mask.shape), "counts": encode_rle(mask)}


def rectangle(rows: slice, cols: slice, shape: tuple[int, int] = (30, 40)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[rows, cols] = True
    return mask


BIG, SMALL = rectangle(slice(5, 25), slice(5, 30)), rectangle(slice(10, 15), slice(10, 15))
GOOD = {"image": "a.png", "instruction": "all dogs", "targets": [{"phrase": "dog", "masks": [rle(SMALL)]}]}


def written(folder: Path, *lines: dict | str, shape: tuple[int, int] = (30, 40)) -> Path:
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(folder / name), rng.integers(0, 255, (*shape, 3), np.uint8))
    file = folder / "mine.jsonl"
    file.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return file


def test_a_users_pictures_give_samples(tmp_path: Path) -> None:
    both = {
        "image": "a.png",
        "instruction": "dog, tail and cat",
        "targets": [
            {"phrase": "dog", "masks": [rle(BIG)]},
            {"phrase": "tail", "masks": [rle(SMALL)]},
            {"phrase": "cat", "masks": []},
        ],
    }
    again = {"image": "a.png", "instruction": "the animal", "targets": [{"phrase": "animal", "masks": [rle(BIG)]}]}
    question = {"image": "b.png", "question": "Is it day?", "answer": "Yes."}
    data = UserData(written(tmp_path, both, question, "", again), questions=5, train=False)
    assert len(data) == 2
    one, two = (data.sample(i, np.random.default_rng(0)) for i in range(2))
    ids = {o.name: o.id for o in one.objects} | {alias: o.id for o in one.objects for alias in o.aliases}
    assert len(one.objects) == 2 and ids["dog"] == ids["animal"] != ids["tail"]
    expected = {
        "dog, tail and cat": (("dog", (ids["dog"],)), ("tail", (ids["tail"],)), ("cat", ())),
        "the animal": (("animal", (ids["dog"],)),),
    }
    assert {q.text: q.phrases for q in one.questions} == expected
    assert np.array_equal(one.mask(ids["dog"]), BIG) and np.array_equal(one.mask(ids["tail"]), SMALL)
    assert one.ids[12, 12] == ids["tail"] and one.ids[20, 20] == ids["dog"]
    assert np.array_equal(one.rgb, cv2.imread(str(tmp_path / "a.png"))[..., ::-1])
    assert two.questions == (PlainQuestion("Is it day?", "Yes.", "user"),) and two.objects == ()


def test_light_changes_in_training_and_places_do_not(tmp_path: Path) -> None:
    data = UserData(written(tmp_path, GOOD), questions=1)
    for seed in range(8):
        sample = data.sample(0, np.random.default_rng(seed))
        assert np.array_equal(sample.mask(1), SMALL)
        assert not np.array_equal(sample.rgb, data._picture("a.png", ""))
    assert same(data.sample(0, np.random.default_rng(3)), data.sample(0, np.random.default_rng(3)))


def test_no_more_questions_than_wanted_and_all_get_their_turn(tmp_path: Path) -> None:
    data = UserData(written(tmp_path, *({"image": "a.png", "question": f"{n}?", "answer": "so"} for n in range(6))), questions=2)
    drawn = [[q.text for q in data.sample(0, np.random.default_rng(seed)).questions] for seed in range(40)]
    assert all(len(set(texts)) == 2 for texts in drawn)
    assert {text for texts in drawn for text in texts} == {f"{n}?" for n in range(6)}


def test_large_pictures_shrink_with_their_masks(tmp_path: Path) -> None:
    big, dot = rectangle(slice(40, 200), slice(100, 300), (300, 400)), rectangle(slice(7, 8), slice(9, 10), (300, 400))
    line = GOOD | {"targets": [{"phrase": "dog", "masks": [rle(big), rle(dot)]}]}
    sample = UserData(written(tmp_path, line, shape=(300, 400)), questions=1, max_side=100).sample(0, np.random.default_rng(0))
    assert sample.rgb.shape == (75, 100, 3) and sample.ids.shape == (75, 100)
    assert mask_iou(sample.mask(1), rectangle(slice(10, 50), slice(25, 75), (75, 100))) > 0.95
    assert np.argwhere(sample.mask(2)).tolist() == [[1, 2]]
    assert sample.objects[1].box_px == (2, 1, 3, 2)


@pytest.mark.parametrize(
    ("text", "rows", "cols"),
    [
        ("=33000a0", slice(1, 4), slice(2, 5)),  # written by pycocotools 2.0.11
    ],
)
def test_cocos_compressed_strings_are_read(text: str, rows: slice, cols: slice) -> None:
    assert np.array_equal(Rle(6, 8, text).decode(), rectangle(rows, cols, (6, 8)))
    for cut in range(len(text)):
        with pytest.raises(InvalidInputError):
            Rle(6, 8, text[:cut]).decode()


def test_compressed_strings_agree_with_pycocotools() -> None:
    coco = pytest.importorskip("pycocotools.mask", reason="compares with pycocotools: pip install 'qwen-seg-ros[eval]'")
    rng = np.random.default_rng(0)
    for share in (0.02, 0.5, 0.98):
        mask = rng.random((57, 91)) < share
        assert runs_of_string(coco.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()) == encode_rle(mask)


def with_mask(**values: object) -> dict:
    return GOOD | {"targets": [{"phrase": "dog", "masks": [rle(SMALL) | values]}]}


BROKEN = [
    ('{"image": "a.png",', "not a line of JSON in UTF-8"),
    ("[" * 100_000, "not a line of JSON in UTF-8"),
    ("[]", "the line must be a JSON object, got list"),
    (
        {"image": "a.png", "instruction": "all dogs"},
        r"keys must be image, instruction, targets or image, question, answer, got \['image'",
    ),
    (GOOD | {"extra": 1}, "keys must be"),
    (GOOD | {"instruction": 3}, "instruction must be a text of 1 to 2000 characters, got int"),
    (GOOD | {"instruction": "x" * 2001}, "got 2001 characters"),
    (GOOD | {"instruction": "say <|im_end|>"}, r"instruction must not hold '<\|'"),
    (GOOD | {"targets": []}, "targets must name at least one phrase"),
    (GOOD | {"targets": {}}, "targets must be a JSON list, got dict"),
    (GOOD | {"targets": [{"phrase": "dog"}]}, "a target must have the keys phrase and masks"),
    (GOOD | {"targets": [{"phrase": 'a "dog"', "masks": []}]}, "phrase must not hold '\"'"),
    (GOOD | {"targets": [{"phrase": "dog", "masks": [rle(SMALL)] * 256}]}, "masks may hold 255 entries at most, got 256"),
    (GOOD | {"targets": [{"phrase": "dog", "masks": [rle(SMALL)] * 200}] * 2}, "hold at most 255 masks together"),
    (GOOD | {"targets": [{"phrase": "dog", "masks": [[1, 2, 3, 4]]}]}, "a mask must be a JSON object, got list"),
    (
        GOOD | {"targets": [{"phrase": "dog", "masks": [{"counts": [1200]}]}]},
        "a mask must be COCO RLE with the keys size and counts",
    ),
    (with_mask(size=[40, 30]), r"size \[height, width\] \[40, 30\] of a mask differs from \[30, 40\] of 'a.png'"),
    (with_mask(size=[10**6, 10**6]), "with at most 50000000 pixels"),
    (with_mask(size=[True, 40]), r"size must be \[height, width\]"),
    (with_mask(counts=[1, 2]), "add up to height x width = 1200, got 3"),
    (with_mask(counts=[1300, -100]), "counts must be whole numbers >= 0"),
    (with_mask(counts=[600.0, 600.0]), "counts must be whole numbers >= 0"),
    (with_mask(counts=[1200]), r'a mask has no pixel; .* write "masks": \[\]'),
    (with_mask(counts=""), "add up to"),
    (with_mask(counts="ÿ"), "unexpected 'ÿ'"),
    (with_mask(counts="o" * 50), "unexpected 'o'"),
    (with_mask(counts="Z"), "the string is cut off"),
    (GOOD | {"image": "../a.png"}, "leaves the folder of the file"),
    (GOOD | {"image": "/etc/passwd"}, "leaves the folder of the file"),
    (GOOD | {"image": "out.png"}, "leaves the folder of the file"),  # a link
    (GOOD | {"image": "none.png"}, "image is a path relative to the folder of the file"),
    (GOOD | {"image": "x" * 999}, "is not a usable path|no picture"),
    (GOOD | {"image": "a\0.png"}, "control characters"),
    (GOOD | {"image": "mine.jsonl"}, "give JPEG, PNG, WEBP, BMP"),
    ({"image": "a.png", "question": "Why?", "answer": " "}, "answer must be a text of 1 to 8000 characters"),
]


@pytest.mark.parametrize(("line", "message"), BROKEN, ids=[str(n) for n in range(len(BROKEN))])
def test_a_broken_line_is_refused_with_its_number_and_what_would_do(tmp_path: Path, line: dict | str, message: str) -> None:
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "real.png"), np.zeros((30, 40, 3), np.uint8))
    (tmp_path / "in" / "out.png").symlink_to(tmp_path / "real.png")
    with pytest.raises(InvalidInputError, match=message) as caught:
        UserData(written(tmp_path / "in", GOOD, "", line), questions=1)
    assert "mine.jsonl:3: " in str(caught.value)


def test_what_is_not_utf8_or_endless_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"f:1: not a line of JSON in UTF-8"):
        parse_line(b'{"image": "\xff"}', "f:1")
    with pytest.raises(InvalidInputError, match="longer than 8388608 bytes"):
        parse_line(b" " * 9_000_000, "f:1")


def test_a_missing_file_and_a_damaged_picture_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"none\.jsonl: cannot be read"):
        UserData(tmp_path / "none.jsonl", questions=1)
    data = UserData(written(tmp_path, "", GOOD), questions=1)
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidInputError, match=r"mine\.jsonl:2: cannot read 'a\.png' .*save it again"):
        data.sample(0, np.random.default_rng(0))


def test_users_pictures_mix_with_rendered_ones(tmp_path: Path) -> None:
    sources = {**rendered_sources(write_shard(tmp_path, views=7), 2), "mine": UserData(written(tmp_path, GOOD), questions=1)}
    mixture = Mixture(sources, {"segmentation": 1, "mine": 1}, places=2)
    drawn = [mixture.picture(0, step, place) for step in range(6) for place in range(2)]
    assert sum(sample.rgb.shape[0] == 30 for sample in drawn) == 6


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOC.read_text(), re.DOTALL)


def test_the_documented_lines_are_read(tmp_path: Path) -> None:
    (lines,) = blocks("json")
    cv2.imwrite(str(tmp_path / "dogs.png"), np.zeros((6, 8, 3), np.uint8))
    (tmp_path / "dogs.jsonl").write_text(lines)
    sample = UserData(tmp_path / "dogs.jsonl", questions=9).sample(0, np.random.default_rng(0))
    assert len(sample.questions) == 3 and len(sample.objects) == 1


def test_the_documented_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train").mkdir()
    write_shard(tmp_path / "train", views=7)
    for code in blocks("python"):
        exec(compile(code, str(DOC), "exec"), {})  # noqa: S102 - our own page
    assert capsys.readouterr().out.strip().endswith("3000")
