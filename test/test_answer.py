"""The answer parser: a table of what models write, and the laws that hold for any text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_seg_ros.model import prompts
from qwen_seg_ros.segmentation.answer import parse_answer
from qwen_seg_ros.segmentation.result import Outcome

MASK = f"{prompts.MASK_START}{prompts.MASK_TOKEN}{prompts.MASK_END}"
ONE = f'{{"bbox_2d":[10,20,300,400],"label":"red mug","mask":"{MASK}"}}'
TWO = f'{{"bbox_2d":[500,20,600,400],"label":"can","mask":"{MASK}"}}'
NONE = '{"label":"hammer","mask":"<|rej|>"}'

# text, outcome, boxes, mask indices, absent
TABLE = [
    (f"[{ONE}]", Outcome.FOUND, [(10, 20, 300, 400)], [0], ()),
    (f"[{ONE},{TWO}]", Outcome.FOUND, [(10, 20, 300, 400), (500, 20, 600, 400)], [0, 1], ()),
    (f"[{ONE},{NONE}]", Outcome.FOUND, [(10, 20, 300, 400)], [0], ("hammer",)),
    (f"[{NONE},{ONE}]", Outcome.FOUND, [(10, 20, 300, 400)], [0], ("hammer",)),
    (f"[{NONE}]", Outcome.NOT_FOUND, [], [], ("hammer",)),
    (f"```json\n[{ONE}]\n```", Outcome.FOUND, [(10, 20, 300, 400)], [0], ()),
    (f"Sure, here it is: [{ONE}] Anything else?", Outcome.FOUND, [(10, 20, 300, 400)], [0], ()),
    (ONE, Outcome.FOUND, [(10, 20, 300, 400)], [0], ()),
    (f'[{ONE},{{"bbox_2d":[500,20,6', Outcome.FOUND, [(10, 20, 300, 400)], [0], ()),
    (f'[{ONE},{{"bbox_2d":[500,20,600,400],"label":"ca', Outcome.FOUND, [(10, 20, 300, 400), (500, 20, 600, 400)], [0, None], ()),
    ('[{"bbox_2d":[10,20,300,400],"label":"mug"}]', Outcome.FOUND, [(10, 20, 300, 400)], [None], ()),
    ('[{"bbox_2d":[300,400,10,20],"label":"mug"}]', Outcome.FOUND, [(10, 20, 300, 400)], [None], ()),
    ('[{"bbox_2d":[-5,20,3000,400],"label":"mug"}]', Outcome.FOUND, [(0, 20, 1000, 400)], [None], ()),
    (f"[{ONE},{ONE}]", Outcome.FOUND, [(10, 20, 300, 400)], [0], ()),
    (f'[{{"label":"x","mask":"{MASK}"}},{ONE}]', Outcome.FOUND, [(10, 20, 300, 400)], [1], ()),
    ('[{"bbox_2d":[10,20,10,400],"label":"line"}]', Outcome.UNREADABLE_ANSWER, [], [], ()),
    ('[{"bbox_2d":[1,2,3],"label":"short"}]', Outcome.UNREADABLE_ANSWER, [], [], ()),
    ('[{"bbox_2d":"left","label":"words"}]', Outcome.UNREADABLE_ANSWER, [], [], ()),
    ('[{"bbox_2d":[1e999,2,3,4]}]', Outcome.UNREADABLE_ANSWER, [], [], ()),
    ("[]", Outcome.NOT_FOUND, [], [], ("the mug",)),
    ("```json\n[]\n```", Outcome.NOT_FOUND, [], [], ("the mug",)),
    ("I cannot see a mug.", Outcome.UNREADABLE_ANSWER, [], [], ()),
    ("", Outcome.UNREADABLE_ANSWER, [], [], ()),
    ("[" * 5000, Outcome.UNREADABLE_ANSWER, [], [], ()),
    ("__import__('os').system('true')", Outcome.UNREADABLE_ANSWER, [], [], ()),
]


@pytest.mark.parametrize(("text", "outcome", "boxes", "masks", "absent"), TABLE)
def test_what_models_write(text, outcome, boxes, masks, absent):
    parsed = parse_answer(text, "the mug")
    assert parsed.outcome is outcome
    assert [e.box_grid for e in parsed.entries] == boxes
    assert [e.mask_index for e in parsed.entries] == masks
    assert parsed.absent == absent


def test_the_written_answer_is_read_back():
    entries = [
        prompts.Entry("red mug", (10, 20, 300, 400)),
        prompts.Entry("hammer", None),
        prompts.Entry("can", (500, 20, 600, 400)),
    ]
    parsed = parse_answer(prompts.write_answer(entries))
    assert [(e.phrase, e.box_grid, e.mask_index, e.place) for e in parsed.entries] == [
        ("red mug", (10, 20, 300, 400), 0, 0),
        ("can", (500, 20, 600, 400), 1, 2),
    ]
    assert parsed.absent == ("hammer",)


def test_two_hundred_instances_are_bounded_and_said_so():
    text = "[" + ",".join(f'{{"bbox_2d":[{n},0,{n + 5},9],"label":"x"}}' for n in range(200)) + "]"
    parsed = parse_answer(text, max_entries=20)
    assert len(parsed.entries) == 20
    assert any("first 20" in note for note in parsed.notes)


def test_repairs_are_said():
    notes = parse_answer('[{"bbox_2d":[300,400,10,20],"label":"mug"}]').notes
    assert notes == ("box [300, 400, 10, 20] put in order and inside 0..1000",)


@settings(max_examples=300, deadline=None)
@given(
    st.text()
    | st.lists(
        st.sampled_from([ONE, TWO, NONE, "[", "]", ",", "{", "}", '"', "```", "<mask_token>", '{"bbox_2d":[1,2', "\\"])
    ).map("".join)
)
def test_any_text_gives_a_bounded_answer_with_boxes_in_range(text):
    parsed = parse_answer(text, "x", max_entries=10)
    assert len(parsed.entries) <= 10
    assert (parsed.outcome is Outcome.FOUND) == bool(parsed.entries)
    for entry in parsed.entries:
        x0, y0, x1, y1 = entry.box_grid
        assert 0 <= x0 < x1 <= 1000 and 0 <= y0 < y1 <= 1000
