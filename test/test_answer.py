"""The answer parser: the table of what models write (answer_cases.py), and the laws that hold for any text."""

import json
import sys
from collections.abc import Callable

import pytest
from answer_cases import BARE_MUG, CAN, CASES, INSTRUCTION, MUG, NO_HAMMER, PAGE, Case, page_with_cases, read
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qwen_seg_ros.model import prompts
from qwen_seg_ros.segmentation.answer import MAX_ABSENT, MAX_NOTES, ParsedAnswer, clean_phrase, parse_answer
from qwen_seg_ros.segmentation.answer_scan import TOKEN
from qwen_seg_ros.segmentation.result import Outcome

SIZE = 200_000


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_models_write(case: Case) -> None:
    parsed = parse_answer(case.text, INSTRUCTION)
    assert parsed.outcome is case.outcome
    assert read(parsed) == case.instances
    assert parsed.absent == case.absent
    assert any(case.note in note for note in parsed.notes) if case.note else parsed.notes == ()


def test_the_page_shows_the_table() -> None:
    page = PAGE.read_text()
    assert page == page_with_cases(page), "docs/answers.md is out of date: run python test/answer_cases.py"


def test_case_names_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


# --- laws -------------------------------------------------------------------------------------------------------------------


def check_laws(text: str, parsed: ParsedAnswer, limit: int) -> None:
    """What holds for every answer to every text."""
    assert len(parsed.entries) <= limit and len(parsed.absent) <= MAX_ABSENT and len(parsed.notes) <= MAX_NOTES
    assert all(len(note) <= 700 and note.isprintable() for note in parsed.notes)
    assert (parsed.outcome is Outcome.FOUND) == bool(parsed.entries)
    assert (parsed.outcome is Outcome.NOT_FOUND) == (not parsed.entries and bool(parsed.absent))
    assert parsed.outcome is not Outcome.UNREADABLE_ANSWER or parsed.notes
    indices = [e.mask_index for e in parsed.entries if e.mask_index is not None]
    assert len(set(indices)) == len(indices)
    assert all(0 <= n < text.count(prompts.MASK_TOKEN) for n in indices)
    found = {e.phrase.casefold() for e in parsed.entries}
    assert not found & {phrase.casefold() for phrase in parsed.absent}
    for entry in parsed.entries:
        x0, y0, x1, y1 = entry.box_grid
        assert 0 <= x0 < x1 <= 1000 and 0 <= y0 < y1 <= 1000
        assert 0 <= entry.span[0] < entry.span[1] <= len(text)
        entry.phrase.encode()
        assert entry.phrase.isprintable() and len(entry.phrase) <= 200
    places = [e.place for e in parsed.entries]
    assert places == sorted(places)


PIECES = [
    *(
        MUG,
        CAN,
        BARE_MUG,
        NO_HAMMER,
        "[",
        "]",
        ",",
        "{",
        "}",
        '"',
        "'",
        "\\",
        "\n",
        "```",
        " ",
        ":",
        "-",
        "null",
        "NaN",
        "12",
        "1e9",
    ),
    *('{"bbox_2d":[1,2', '"bbox_2d":', '"label":', '"mask":', '"mug"', "[1,2,3,4]", "[]", "{}", "<mask_token>", "<|rej|>"),
    *("<seg>", "</seg>", "others *3| mug *2\n ", "\ud800", "\x00", "There are no mugs in the image. "),
]


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=40).map("".join), st.integers(1, 6))
@example('{"bbox_2d":[1,2,3,4],"a":{"bbox_2d":[5,6,7,8]},"mask":"<mask_token>"}', 5)
def test_any_text_gives_a_bounded_answer(text: str, limit: int) -> None:
    check_laws(text, parse_answer(text, "x", limit), limit)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A good answer that is cut, has a part twice, two characters swapped or prose in between."""
    text = "[" + ",".join(draw(st.lists(st.sampled_from([MUG, CAN, BARE_MUG, NO_HAMMER]), min_size=1, max_size=5))) + "]"
    for _ in range(draw(st.integers(1, 4))):
        at, to = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        change = draw(st.sampled_from(["cut", "drop", "repeat", "swap", "prose"]))
        prose = draw(st.sampled_from([" and then ", '"', "the 'red' one\n", "{", "<mask_token>", "[7, 8]"]))
        part, swapped = text[at:to], text[at + 1 : at + 2] + text[at : at + 1]
        text = {
            "cut": text[:to],
            "drop": text[:at] + text[to:],
            "repeat": text[:to] + part + text[to:],
            "swap": text[:at] + swapped + text[at + 2 :],
            "prose": text[:at] + prose + text[at:],
        }[change]
    return text


@settings(max_examples=400, deadline=None)
@given(damaged())
def test_a_damaged_answer_gives_a_bounded_answer(text: str) -> None:
    check_laws(text, parse_answer(text, "x", 10), 10)


@pytest.mark.parametrize("end", range(len(MUG) + len(CAN) + 3))
def test_what_stands_before_a_cut_is_kept(end: int) -> None:
    """However the tail is cut, the entries written in full before it are read as in the whole answer."""
    whole = f"[{MUG},{CAN}]"
    parsed = parse_answer(whole[:end], "x")
    complete = tuple(e for e in parse_answer(whole, "x").entries if e.span[1] <= end)
    assert parsed.entries[: len(complete)] == complete


@settings(max_examples=100, deadline=None)
@given(st.permutations([MUG, CAN, NO_HAMMER]))
def test_the_order_of_entries_only_orders_the_result(parts: list[str]) -> None:
    parsed = parse_answer(f"[{','.join(parts)}]")
    assert {(e.phrase, e.box_grid) for e in parsed.entries} == {("mug", (10, 20, 300, 400)), ("can", (500, 20, 600, 400))}
    assert [e.mask_index for e in parsed.entries] == [0, 1] and parsed.absent == ("hammer",)
    assert [e.place for e in parsed.entries] == [n for n, part in enumerate(parts) if part != NO_HAMMER]


# --- written, then read -----------------------------------------------------------------------------------------------------

coordinate = st.integers(0, 990)
boxes = st.builds(lambda x, y, w, h: (x, y, min(x + w, 1000), min(y + h, 1000)), *[coordinate] * 2, *[st.integers(1, 990)] * 2)
plain = st.text(st.characters(exclude_characters='"\\<', exclude_categories=["C", "Z"]), min_size=1, max_size=30)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(plain, st.none() | boxes), min_size=1, max_size=8, unique_by=lambda e: e[0].casefold()))
def test_the_written_answer_is_read_back(written: list[tuple[str, tuple[int, int, int, int] | None]]) -> None:
    text = prompts.write_answer([prompts.Entry(phrase, box) for phrase, box in written])
    parsed = parse_answer(text)
    there = [(clean_phrase(phrase), box) for phrase, box in written if box is not None]
    assert [(e.phrase, e.box_grid) for e in parsed.entries] == there
    assert [e.mask_index for e in parsed.entries] == list(range(len(there)))
    assert [e.place for e in parsed.entries] == [n for n, (_, box) in enumerate(written) if box is not None]
    assert list(parsed.absent) == [clean_phrase(phrase) for phrase, box in written if box is None]


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_characters="<"), max_size=60), st.booleans())
@example('a {"bbox_2d":', False)
@example('{"', False)
@example("red\nmug\\", True)
def test_any_phrase_comes_through_json(phrase: str, ascii_only: bool) -> None:
    label = json.dumps(phrase, ensure_ascii=ascii_only)
    parsed = parse_answer(f'[{{"bbox_2d":[10,20,300,400],"label":{label},"mask":"<mask_token>"}},{CAN}]', "x")
    assert [e.phrase for e in parsed.entries] == [clean_phrase(phrase) or "x", "can"]
    assert [e.mask_index for e in parsed.entries] == [0, 1] and parsed.notes == ()


def test_spans_are_the_entries() -> None:
    text = f"Sure: [{MUG}, {NO_HAMMER},\n{CAN}]"
    assert [text[slice(*e.span)] for e in parse_answer(text).entries] == [MUG, CAN]


# --- bounds -----------------------------------------------------------------------------------------------------------------


def many(count: int, phrase: str = "x") -> str:
    return ",".join(f'{{"bbox_2d":[{n},0,{n + 5},9],"label":"{phrase}"}}' for n in range(count))


def test_the_cap_keeps_rejections_and_says_what_is_lost() -> None:
    parsed = parse_answer(f"[{many(200)},{CAN},{NO_HAMMER}]", max_entries=20)
    assert len(parsed.entries) == 20 and parsed.absent == ("hammer",)
    assert "only the first 20 of 201 entries were read, and all rejections" in parsed.notes
    assert "found but not read: 'can'" in parsed.notes


def test_what_is_found_behind_the_cap_is_not_reported_absent() -> None:
    parsed = parse_answer(f"[{many(3)},{CAN},{NO_HAMMER.replace('hammer', 'can')}]", max_entries=2)
    assert parsed.absent == () and "found but not read: 'can'" in parsed.notes


def test_rejections_are_bounded_and_said_so() -> None:
    parsed = parse_answer("".join(NO_HAMMER.replace("hammer", f"tool {n}") for n in range(150)))
    assert len(parsed.absent) == MAX_ABSENT and "only the first 100 rejected phrases were read (50 times)" in parsed.notes


def test_two_hundred_instances_are_read_where_the_cap_allows() -> None:
    assert [e.box_grid[0] for e in parse_answer(f"[{many(200)}]", max_entries=200).entries] == list(range(200))


def test_a_loop_costs_one_note() -> None:
    parsed = parse_answer("[" + f"{MUG}," * 500)
    assert len(parsed.entries) == 1 and len(parsed.notes) == 2
    assert "repeated box dropped (499 times)" in parsed.notes


LOOPS = [
    '{"bbox_2d":[',
    "{",
    "[",
    '"',
    '"\\',
    "{'",
    '{"a":',
    f"{MUG},",
    MUG[:-1],
    BARE_MUG[:-2],
    "[1,2,3,4],",
    "<seg>",
    '"\n',
    "9",
]


def calls(function: Callable[[], object]) -> int:
    """Python and C functions that are called: the work, whatever machine does it."""
    count = 0

    def profile(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("loop", LOOPS)
def test_work_grows_with_the_length_of_a_loop(loop: str) -> None:
    text = (loop * (SIZE // len(loop) + 1))[:SIZE]
    half, whole = (calls(lambda n=n: parse_answer(text[:n], "x")) for n in (SIZE // 2, SIZE))
    assert whole <= 2.2 * half + 200 and whole <= 40 * SIZE
    check_laws(text, parse_answer(text, "x", 10), 10)


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from('"\\\n{}[]:, ab'), max_size=60))
def test_every_quote_begins_a_string(text: str) -> None:
    """The scan never tries a string, fails, and reads the same characters again."""
    for position, character in enumerate(text):
        assert character != '"' or TOKEN.match(text, position)


def test_a_text_that_is_too_long_is_read_in_part() -> None:
    parsed = parse_answer(f"[{MUG}]" + " " * SIZE + CAN)
    assert [e.phrase for e in parsed.entries] == ["mug"] and "only the first 200000 characters were read" in parsed.notes
