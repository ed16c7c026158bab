"""Where a model decides between an object and a rejection, in the tokens of its own tokenizer."""

from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from qwen_seg_ros.model import prompts


@dataclass(frozen=True)
class DecisionTokens:
    """An entry with a box and one without part at one token: `box` or `label`, written after one of `openers`."""

    box: int
    label: int
    openers: frozenset[int]

    def follows(self, written: list[int]) -> bool:
        return bool(written) and written[-1] in self.openers


def decision_tokens(tokenizer: PreTrainedTokenizerBase) -> DecisionTokens | None:
    """Where the tokenizer lets a present and an absent entry part; None where it lets them part nowhere in common."""
    parting = []
    for before in ("[", ","):
        box, label = (tokenizer(before + key, add_special_tokens=False).input_ids for key in (prompts.BOX_KEY, prompts.LABEL_KEY))
        place = next((n for n, (a, b) in enumerate(zip(box, label, strict=False)) if a != b), 0)
        if place == 0:
            return None
        parting.append((box[place], label[place], box[place - 1]))
    if len({p[:2] for p in parting}) > 1:
        return None
    return DecisionTokens(*parting[0][:2], frozenset(p[2] for p in parting))
