"""What the model reads and writes, as text. One place for training and inference.

Prompt wording follows the published system (arXiv 2605.07141): "Locate and segment ... report bbox coordinates and masks in
JSON format." The answer is a JSON list with one entry per instance; the mask token comes last. A phrase without a target
has an entry with the rejection token and no box (the [REJ] of GSVA, arXiv 2312.10103). Weights that were never trained to
write masks are asked for boxes only, in the wording Qwen3-VL's own grounding examples use.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

MASK_START, MASK_TOKEN, MASK_END, REJECT_TOKEN = "<mask_start>", "<mask_token>", "<mask_end>", "<|rej|>"
SEGMENTATION_TOKENS = (MASK_START, MASK_TOKEN, MASK_END, REJECT_TOKEN)

CONTROL = re.compile(r"<\|[^<>|]{1,40}\|>|</?seg>|<mask_(?:start|token|end)>")

QUESTION_HEAD = 'Locate and segment every object that the instruction "'
QUESTION_TAIL = '" asks for, report bbox coordinates and masks in JSON format.'
BOXES_HEAD = 'Locate every object that the instruction "'
BOXES_TAIL = (
    '" asks for, report bbox coordinates in JSON format, one entry {"bbox_2d": [x1, y1, x2, y2], "label": "..."} for each '
    "object. If there is no such object in the image, answer []."
)
TEXT_TAILS = {
    "text4seg": '" asks for, report the segmentation mask of the image as text.',
    "text4seg++": '" asks for, report bbox coordinates and masks as text in JSON format.',
}
BOX_KEY, LABEL_KEY_AFTER_BOX, LABEL_KEY, MASK_KEY, ENTRY_END = '{"bbox_2d":[', '],"label":"', '{"label":"', '","mask":"', '"}'

IMAGE_PREFIX = "<|im_start|>user\n<|vision_start|>{image}<|vision_end|>"
ANSWER_PREFIX = "<|im_end|>\n<|im_start|>assistant\n"
CHAT_TEMPLATE = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.content is string %}{{- message.content }}{%- else %}{%- for part in message.content %}"
    "{%- if part.type == 'image' or 'image' in part %}<|vision_start|><|image_pad|><|vision_end|>"
    "{%- elif 'text' in part %}{{- part.text }}{%- endif %}{%- endfor %}{%- endif %}{{- '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


@dataclass(frozen=True)
class Entry:
    """One line of an answer: a phrase with its box on the 0..1000 grid, or without a target (box None).

    mask: what stands for the mask, the mask token or the mask as text; None leaves it out.
    """

    phrase: str
    box_grid: tuple[int, int, int, int] | None
    mask: str | None = f"{MASK_START}{MASK_TOKEN}{MASK_END}"


def plain(text: str) -> str:
    """Without special tokens: words of a user must not open a turn, reject a phrase or ask for a mask."""
    return CONTROL.sub(" ", text)


def question(instruction: str, answers: str = "mask_token") -> str:
    """The user turn after the image; `answers` is the model's answer format."""
    instruction = plain(instruction)
    if answers == "boxes":
        return f"{BOXES_HEAD}{instruction}{BOXES_TAIL}"
    return f"{QUESTION_HEAD}{instruction}{TEXT_TAILS.get(answers, QUESTION_TAIL)}"


def conversation_tail(instruction: str, answers: str = "mask_token") -> str:
    """Everything between the image and the model's answer, special tokens included."""
    return question(instruction, answers) + ANSWER_PREFIX


def write_answer(entries: Sequence[Entry]) -> str:
    """Entries -> the answer text the model is trained to write."""
    return "[" + ",".join(_write_entry(entry) for entry in entries) + "]"


def _write_entry(entry: Entry) -> str:
    phrase = json.dumps(plain(entry.phrase), ensure_ascii=False)[1:-1]
    if entry.box_grid is None:
        return f"{LABEL_KEY}{phrase}{MASK_KEY}{REJECT_TOKEN}{ENTRY_END}"
    corners = ",".join(str(int(v)) for v in entry.box_grid)
    mask = "" if entry.mask is None else f"{MASK_KEY}{entry.mask}"
    return f"{BOX_KEY}{corners}{LABEL_KEY_AFTER_BOX}{phrase}{mask}{ENTRY_END}"
