"""What models write, and what the parser makes of it: the one table behind test_answer.py and docs/answers.md.

`python test/answer_cases.py` writes the table into docs/answers.md.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from qwen_seg_ros.model import prompts
from qwen_seg_ros.segmentation.answer import ParsedAnswer, parse_answer
from qwen_seg_ros.segmentation.result import Outcome

PAGE = Path(__file__).resolve().parents[1] / "docs" / "answers.md"
BEGIN, END = "<!-- cases: written by test/answer_cases.py -->\n", "<!-- end of cases -->\n"
INSTRUCTION = "the mug"  # what every case is the answer to

FOUND, NOT_FOUND, UNREADABLE = Outcome.FOUND, Outcome.NOT_FOUND, Outcome.UNREADABLE_ANSWER
MASK = f"{prompts.MASK_START}{prompts.MASK_TOKEN}{prompts.MASK_END}"
MUG = f'{{"bbox_2d":[10,20,300,400],"label":"mug","mask":"{MASK}"}}'
CAN = f'{{"bbox_2d":[500,20,600,400],"label":"can","mask":"{MASK}"}}'
NO_HAMMER = '{"label":"hammer","mask":"<|rej|>"}'
A, B = (10, 20, 300, 400), (500, 20, 600, 400)
BARE_MUG = '{"bbox_2d":[10,20,300,400],"label":"mug"}'


@dataclass(frozen=True)
class Case:
    """instances: phrase, box and number of its mask token, "text" for a mask as text.

    note: words that stand in a note, empty = no note at all.
    """

    name: str
    text: str
    outcome: Outcome
    instances: tuple[tuple[str, tuple[float, ...], int | str | None], ...] = ()
    absent: tuple[str, ...] = ()
    note: str = ""


def found(name: str, text: str, *instances: tuple, absent: tuple[str, ...] = (), note: str = "") -> Case:
    return Case(name, text, FOUND, instances, absent, note)


def missing(name: str, text: str, *absent: str, note: str = "") -> Case:
    return Case(name, text, NOT_FOUND, (), absent or (INSTRUCTION,), note)


def unreadable(name: str, text: str, note: str = "no entry with a box") -> Case:
    return Case(name, text, UNREADABLE, note=note)


PHRASES = [
    found("one instance", f"[{MUG}]", ("mug", A, 0)),
    found("two phrases", f"[{MUG},{CAN}]", ("mug", A, 0), ("can", B, 1)),
    found("two instances of a phrase", f"[{MUG},{MUG.replace('10,', '30,')}]", ("mug", A, 0), ("mug", (30, 20, 300, 400), 1)),
    found("one phrase found, one rejected", f"[{MUG},{NO_HAMMER}]", ("mug", A, 0), absent=("hammer",)),
    found("rejection first", f"[{NO_HAMMER},{MUG}]", ("mug", A, 0), absent=("hammer",)),
    missing("one phrase rejected", f"[{NO_HAMMER}]", "hammer"),
    missing("two phrases rejected", f"[{NO_HAMMER},{NO_HAMMER.replace('hammer', 'saw')}]", "hammer", "saw"),
    missing("rejection repeated", f"[{NO_HAMMER},{NO_HAMMER}]", "hammer"),
    missing("rejection without a label", '[{"mask":"<|rej|>"}]'),
    missing("the rejection token alone", "<|rej|>"),
    found(
        "found and rejected: found counts",
        f"[{MUG},{NO_HAMMER.replace('hammer', 'Mug')}]",
        ("mug", A, 0),
        note="'Mug' is both found and rejected",
    ),
    missing(
        "rejection with a box", '[{"bbox_2d":[10,20,300,400],"label":"mug","mask":"<|rej|>"}]', "mug", note="box of a rejected"
    ),
    missing("box null", '[{"bbox_2d":null,"label":"mug"}]', "mug"),
    missing("box empty", '[{"bbox_2d":[],"label":"mug"}]', "mug"),
    missing("bare box of zeros", "[0, 0, 0, 0]"),
    missing("box of zeros", '[{"bbox_2d":[0,0,0,0],"label":"mug"}]', "mug"),
    found(
        "one object for two phrases",
        f"[{MUG},{MUG.replace('mug', 'cup')}]",
        ("mug", A, 0),
        ("cup", A, 1),
    ),
]
AROUND = [
    found("code fence", f"```json\n[{MUG}]\n```", ("mug", A, 0)),
    found("stock Qwen3-VL", '```json\n[\n\t{"bbox_2d": [10, 20, 300, 400], "label": "mug"}\n]\n```', ("mug", A, None)),
    found("fence not closed", f"```json\n[{MUG}]", ("mug", A, 0)),
    found("prose before and after", f"Sure, here it is: [{MUG}] Anything else?", ("mug", A, 0)),
    found("prose between", f"First {MUG} and then there's {CAN}.", ("mug", A, 0), ("can", B, 1)),
    found("an odd quote before", f'A 5" pipe stands behind it: [{MUG}]', ("mug", A, 0)),
    found("thinking before", f"<think>Is it {CAN}?</think>\n[{MUG}]", ("mug", A, 1), note="1 of 2 mask tokens"),
    unreadable("cut off while thinking", f"<think>Is it {MUG}? No, there is no"),
    missing("thinking, then nothing", f"<think>Is it {BARE_MUG}?</think>[]"),
    found("end token", f"[{MUG}]<|im_end|>", ("mug", A, 0)),
    found("object without a list", MUG, ("mug", A, 0)),
    found("wrapper", f'{{"objects":[{MUG},{CAN}]}}', ("mug", A, 0), ("can", B, 1)),
    found("wrapper with the label", '{"label":"mug","instances":[{"bbox_2d":[10,20,300,400]}]}', ("mug", A, None)),
    found("lists in lists", f"[[[{MUG}]]]", ("mug", A, 0)),
    found("objects without commas", f"{MUG}\n{CAN}", ("mug", A, 0), ("can", B, 1)),
    found("object in an object", f'{BARE_MUG[:-1]},"color":{{"name":"red"}}}}', ("mug", A, None)),
]
TWO_BOXES = '{"bbox_2d":[[10,20,300,400],[500,20,600,400]],"label":"mug","mask":'
SPELLINGS = [
    found("two labels: the key label counts", '[{"name":"kitchen","label":"mug","bbox_2d":[10,20,300,400]}]', ("mug", A, None)),
    found("other keys", '[{"bbox":[10,20,300,400],"name":"mug"}]', ("mug", A, None)),
    found("label first", '[{"label":"mug","bbox_2d":[10,20,300,400]}]', ("mug", A, None)),
    found("quotes of Python", "[{'bbox_2d': [10, 20, 300, 400], 'label': 'dog's mug'}]", ("dog's mug", A, None)),
    found("keys without quotes", '[{bbox_2d:[10,20,300,400],label:"mug"}]', ("mug", A, None)),
    found("floats", '[{"bbox_2d":[10.0,20.5,300,4e2],"label":"mug"}]', ("mug", (10, 20.5, 300, 400), None)),
    found("numbers as strings", '[{"bbox_2d":["10","20","300","400"],"label":"mug"}]', ("mug", A, None)),
    found("box as a string", '[{"bbox_2d":"10, 20, 300, 400","label":"mug"}]', ("mug", A, None)),
    found("box in a list", '[{"bbox_2d":[[10,20,300,400]],"label":"mug"}]', ("mug", A, None)),
    found(
        "several boxes of a label",
        f'[{TWO_BOXES}"{MASK}{MASK}"}}]',
        ("mug", A, 0),
        ("mug", B, 1),
    ),
    found("box as two corners", '[{"bbox_2d":[[10,20],[300,400]],"label":"mug"}]', ("mug", A, None)),
    found("a bare list", "[10, 20, 300, 400]", (INSTRUCTION, A, None), note="without keys"),
    found(
        "bare lists", "[[10,20,300,400],[500,20,600,400]]", (INSTRUCTION, A, None), (INSTRUCTION, B, None), note="without keys"
    ),
    found("label as the key", '{"red mug":[10,20,300,400]}', ("red mug", A, None), note="without keys"),
    found("no label", '[{"bbox_2d":[10,20,300,400]}]', (INSTRUCTION, A, None)),
    found("label a number", '[{"bbox_2d":[10,20,300,400],"label":7}]', ("7", A, None)),
    found("label null", '[{"bbox_2d":[10,20,300,400],"label":null}]', (INSTRUCTION, A, None)),
    found(
        "keys repeated",
        '{"name":"mug","bbox":[10,20,300,400],"name":"can","bbox":[500,20,600,400]}',
        ("mug", A, None),
        ("can", B, None),
    ),
    found("escaped label", r'[{"bbox_2d":[10,20,300,400],"label":"\"big\" m\u00fcg \\ {x}"}]', ('"big" müg \\ {x}', A, None)),
    found("NUL and half a surrogate pair", '[{"bbox_2d":[10,20,300,400],"label":"m\\u0000ug\\ud800\x00"}]', ("m ug", A, None)),
]
BOXES = [
    found("inverted", '[{"bbox_2d":[300,400,10,20],"label":"mug"}]', ("mug", A, None), note="put in order"),
    found(
        "out of range", '[{"bbox_2d":[-5,20,1003,400],"label":"mug"}]', ("mug", (0, 20, 1000, 400), None), note="inside 0..1000"
    ),
    found("pixels", '[{"bbox_2d":[10,20,1800,400],"label":"mug"}]', ("mug", (10, 20, 1000, 400), None), note="are these pixels?"),
    found(
        "shares", '[{"bbox_2d":[0.1,0.2,0.5,0.6],"label":"mug"}]', ("mug", (0.1, 0.2, 0.5, 0.6), None), note="are these shares"
    ),
    found("repeated", f"[{MUG},{MUG},{MUG}]", ("mug", A, 0), note="repeated box dropped (2 times)"),
    found(
        "overlapping boxes are both kept",
        f"[{BARE_MUG},{BARE_MUG.replace('[10', '[12')}]",
        ("mug", A, None),
        ("mug", (12, 20, 300, 400), None),
    ),
    unreadable("no area", '[{"bbox_2d":[10,20,10,400],"label":"line"}]', note="no area"),
    unreadable("all outside", '[{"bbox_2d":[1200,1300,1500,1600],"label":"mug"}]', note="no area"),
    unreadable("three numbers", '[{"bbox_2d":[1,2,3],"label":"short"}]', note="four numbers"),
    unreadable("five numbers", '[{"bbox_2d":[1,2,3,4,5],"label":"long"}]', note="four numbers"),
    unreadable("words for a box", '[{"bbox_2d":"left","label":"words"}]', note="four numbers"),
    unreadable("infinite", '[{"bbox_2d":[1e999,2,3,4]}]', note="not finite"),
    unreadable("not a number", '[{"bbox_2d":[NaN,2,3,4]}]', note="not finite"),
    unreadable("endless number", f'[{{"bbox_2d":[1,2,3,{"9" * 400}]}}]', note="not finite"),
    unreadable("only a label", '[{"label":"mug"}]', note="four numbers"),
]
CUT = [
    found("cut in the box", f'[{MUG},{{"bbox_2d":[500,20,6', ("mug", A, 0), note="cut off"),
    found("cut in the last number", f'[{MUG},{{"bbox_2d":[500,20,600,4', ("mug", A, 0), note="cut off"),
    found("cut in the label", f'[{MUG},{{"bbox_2d":[500,20,600,400],"label":"ca', ("mug", A, 0), ("ca", B, None), note="cut off"),
    found("cut behind the mask token", f"[{MUG},{CAN[:-12]}", ("mug", A, 0), ("can", B, 1), note="cut off"),
    found("brace forgotten", f"[{MUG[:-1]},{CAN}]", ("mug", A, 0), ("can", B, 1), note="cut off"),
    found(
        "bracket forgotten",
        f'[{{"bbox_2d":[10,20,300,400,"label":"mug"}},{CAN}]',
        ("mug", A, None),
        ("can", B, 0),
        note="no mask",
    ),
    found("quote forgotten", f'[{{"bbox_2d":[10,20,300,400],"label":"mug}},{CAN}]', ("mug", A, None), ("can", B, 0), note="cut"),
    found(
        "quote forgotten before a line",
        f'[{{"bbox_2d":[10,20,300,400],"label":"mug\n}},{CAN}]',
        ("mug", A, None),
        ("can", B, 0),
        note="no mask",
    ),
    found("line break in a label", '[{"bbox_2d":[10,20,300,400],"label":"red\nmug"}]', ("red mug", A, None)),
    found(
        "brace forgotten, no token of its own",
        f"[{BARE_MUG[:-1]},{CAN},{MUG.replace('10,', '30,')}]",
        ("mug", A, None),
        ("can", B, 0),
        ("mug", (30, 20, 300, 400), 1),
        note="1 of 3 instances have no mask token",
    ),
    found("a broken entry between", f'[{MUG},{{"bbox_2d":[}},{CAN}]', ("mug", A, 0), ("can", B, 1), note="four numbers"),
]
TOKENS = [
    found("no mask token", f"[{BARE_MUG}]", ("mug", A, None)),
    found(
        "one token too few", f"[{BARE_MUG},{CAN}]", ("mug", A, None), ("can", B, 0), note="1 of 2 instances have no mask token"
    ),
    found("one token too many", f"[{MUG},{CAN}]{MASK}", ("mug", A, 0), ("can", B, 1), note="1 of 3 mask tokens"),
    found("two tokens in an entry", f"[{MUG.replace(MASK, MASK * 2)},{CAN}]", ("mug", A, 0), ("can", B, 2), note="1 of 3"),
    found("token behind the entry", f"{BARE_MUG}{MASK}", ("mug", A, 0)),
    found("token in the label", f'[{{"bbox_2d":[10,20,300,400],"label":"mug {MASK}"}},{CAN}]', ("mug", A, 0), ("can", B, 1)),
    found("token behind an object in the entry", BARE_MUG[:-1] + f',"a":{{"name":"b"}},"mask":"{MASK}"}}', ("mug", A, 0)),
    found("token in label and mask", f"[{MUG.replace('mug', 'mug <mask_token>')}]", ("mug", A, 1), note="1 of 2 mask tokens"),
    found("entry with a token and no box", f'[{{"label":"x","mask":"{MASK}"}},{MUG}]', ("mug", A, 1), note="four numbers"),
    found(
        "token cut short", '[{"bbox_2d":[10,20,300,400],"label":"mug","mask":"<mask_start><mask_tok', ("mug", A, None), note="cut"
    ),
]
GRID_TEXT = "<seg>others *1| dog *3\n others *4\n</seg>"
TEXT_MASKS = [
    found("Text4Seg", f"Sure, here is the segmentation mask for 'dog':\n{GRID_TEXT}", ("dog", (250, 0, 1000, 500), "text")),
    found(
        "Text4Seg, two labels",
        "<seg>mug *2| others *2\n others *2| red can *2\n</seg>",
        ("mug", (0, 0, 500, 500), "text"),
        ("red can", (500, 500, 1000, 1000), "text"),
    ),
    found("Text4Seg, cut off", "<seg>others *2| mug *2\n others *3| mu", ("mug", (500, 0, 1000, 500), "text")),
    missing("Text4Seg, all background", "<seg>" + "\n ".join(["others *16"] * 16) + "\n</seg>"),
    unreadable("Text4Seg, unreadable", "<seg>mug mug mug</seg>", note="mask text that cannot be read"),
    found("bricks in an entry", f"[{MUG.replace(MASK, '<seg>a3p7/b2p4</seg>')}]", ("mug", A, "text")),
    found("bricks, cut off", f"[{MUG.replace(MASK, '<seg>a3p7/b2p')[:-2]}", ("mug", A, "text"), note="cut off"),
    found("bricks for two boxes", f'[{TWO_BOXES}"<seg>p4</seg>"}}]', ("mug", A, "text"), ("mug", B, None)),
    found("grid in an entry", f"[{MUG.replace(MASK, GRID_TEXT)}]", ("mug", A, "text")),
    found("grid in an entry, escaped", f"[{MUG.replace(MASK, json.dumps(GRID_TEXT)[1:-1])}]", ("mug", A, "text")),
]
WORDS = [
    missing("empty list", "[]"),
    missing("empty list in a fence", "```json\n[]\n```"),
    missing("empty list after words", "Here is the result in JSON format:\n```json\n[]\n```"),
    missing("empty wrapper", '{"objects": []}'),
    missing("None", "None."),
    missing("refusal: there are no", "There are no mugs in the image."),
    missing("refusal: there is no", "There is no mug in this picture, only a can."),
    missing("refusal: not visible", "The mug is not visible in the image."),
    missing("refusal: doesn't show", "Sorry, this image doesn't show any mug."),
    missing("refusal: no object", "No object detected."),
    missing("refusal: cannot see", "I cannot see a mug."),
    missing("refusal in Chinese", "图中没有杯子。"),
    unreadable("the task is refused", "I'm sorry, I cannot help with that."),
    unreadable("the picture is missing", "I cannot see the image. There is no image attached."),
    unreadable("an unsure sentence", "There is no doubt that the mug stands left of the can."),
    unreadable("also says what is there", "There is a mug, but there is no handle."),
    unreadable("a denial somewhere in long prose", "There is no handle. " + "It stands next to the can. " * 20),
    unreadable("None, and far behind it more", "None" + " " * 900 + "taller than the mug beside the can"),
    unreadable("no text", ""),
    unreadable("prose", "The mug stands to the left of the can."),
    unreadable("open brackets only", "[" * 5000),
    unreadable("code", "__import__('os').system('true')"),
]
GROUPS = {
    "Phrases: found, rejected, both": PHRASES,
    "Around the entries": AROUND,
    "Spellings": SPELLINGS,
    "Boxes": BOXES,
    "Cut off and damaged": CUT,
    "Mask tokens": TOKENS,
    "Masks as text": TEXT_MASKS,
    "Words instead of a list": WORDS,
}
CASES = [case for group in GROUPS.values() for case in group]


def read(parsed: ParsedAnswer) -> tuple[tuple[str, tuple[float, ...], int | str | None], ...]:
    """The entries as a case names them."""
    return tuple((e.phrase, e.box_grid, "text" if e.mask_text else e.mask_index) for e in parsed.entries)


def page_block() -> str:
    """The tables of docs/answers.md, with what the parser makes of every case now."""
    return "\n".join(f"### {title}\n\n{_table(cases)}" for title, cases in GROUPS.items())


def _table(cases: list[Case]) -> str:
    head = "| case | text | outcome | instances: phrase, box, mask token | absent | notes |\n|---|---|---|---|---|---|\n"
    return head + "".join(_row(case) for case in cases)


def _row(case: Case) -> str:
    parsed = parse_answer(case.text, INSTRUCTION)
    instances = "; ".join(
        f"{phrase} [{', '.join(f'{v:g}' for v in box)}] {'no mask' if mask is None else mask}"
        for phrase, box, mask in read(parsed)
    )
    text = case.text if len(case.text) <= 150 else case.text[:60] + " ... " + case.text[-60:]
    cells = (case.name, f"`{_shown(text)}`", parsed.outcome.name, instances, ", ".join(parsed.absent), "; ".join(parsed.notes))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _shown(text: str) -> str:
    return text.replace("`", "'").replace("\n", "\\n").replace("\t", "\\t").replace("\x00", "\\x00")


def page_with_cases(page: str) -> str:
    before, rest = page.split(BEGIN)
    return before + BEGIN + page_block() + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(page_with_cases(PAGE.read_text()))
