"""Greedy generation with the image encoded once: one KV prefix per image, any number of instructions on it.

Shapes: M merged image tokens, V visual width, T text width, N mask tokens of an answer, h x w mask cells.
"""

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedTokenizerBase

from qwen_seg_ros.errors import StoppedError
from qwen_seg_ros.geometry.arrays import RgbImage
from qwen_seg_ros.model import prompts
from qwen_seg_ros.model.decisions import decision_tokens
from qwen_seg_ros.model.drafts import Drafts
from qwen_seg_ros.model.mask_decoder import PixelMemory, resize_masks
from qwen_seg_ros.model.modeling import Qwen3VLSegForConditionalGeneration
from qwen_seg_ros.model.processing import ImageProcessor

PrefixCache = tuple[tuple[Tensor, Tensor], ...]


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """An image as the model remembers it. prefix: keys and values per layer; next_position: where text positions go on.
    canvas: height and width in pixels that the model's boxes refer to, the image's own unless it was given a border below and
    on the right (`ImageProcessor.canvas`)."""

    prefix: PrefixCache
    next_position: int
    pixels: PixelMemory | None
    height: int
    width: int
    canvas: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Answer:
    """text: as written, special tokens included. mask_states: (N, T) in the order of the mask tokens. starts: where in the text
    each token begins. log_likelihood: of each token. present: token number -> how sure the model was, where it decided between a
    target and a rejection, that there is a target. truncated: ran out of tokens."""

    text: str
    mask_states: Tensor
    starts: tuple[int, ...]
    log_likelihood: tuple[float, ...]
    present: dict[int, float]
    truncated: bool

    def score(self, span: tuple[int, int]) -> float:
        """Confidence 0..1 in the entry written at these characters: the decision for a target where the model made one, else the
        geometric mean probability of the entry's tokens."""
        inside = range(bisect_left(self.starts, span[0]), bisect_left(self.starts, span[1]))
        decided = [self.present[n] for n in inside if n in self.present]
        if decided:
            return decided[0]
        return math.exp(sum(self.log_likelihood[n] for n in inside) / len(inside)) if inside else 0.0


@dataclass
class _Unfinished:
    """An answer while it is written."""

    tokens: list[int] = field(default_factory=list)
    states: list[Tensor] = field(default_factory=list)
    log_likelihood: list[float] = field(default_factory=list)
    present: dict[int, float] = field(default_factory=dict)
    ended: bool = False


class Engine:
    """Holds no state of a request: `encode` returns a value, `answer` uses it, so requests cannot mix."""

    def __init__(
        self,
        model: Qwen3VLSegForConditionalGeneration,
        tokenizer: PreTrainedTokenizerBase,
        processor: ImageProcessor,
        drafts: bool = True,
    ) -> None:
        self.model, self.tokenizer, self.processor = model.eval(), tokenizer, processor
        self.device = model.device
        self.answers = model.config.answers
        self.mask_id = model.config.mask_token_id
        self.decision = decision_tokens(tokenizer) if self.answers != "boxes" else None
        self.drafts = Drafts(tokenizer, model.config.box_step) if self.answers == "mask_token" and drafts else None
        self.stop_ids = {tokenizer.eos_token_id, tokenizer.pad_token_id} - {None}

    @torch.inference_mode()
    def encode(self, rgb: RgbImage, processor: ImageProcessor | None = None) -> EncodedImage:
        """uint8 (H, W, 3) -> everything that does not depend on the instruction. processor: another one than the model's own, to
        look at fewer pixels; boxes and masks stay those of the picture as it was given."""
        resized = (processor or self.processor).resize(rgb)
        image = self.processor.normalise([resized]).to(self.device, self.model.dtype)
        patches, grid = self.processor.patches(image)
        top, levels = self.model.encode_image(patches, grid)
        rows, cols = (int(v) // self.processor.merge_size for v in grid[0, 1:])
        head, tail = (self._tokens(part) for part in prompts.IMAGE_PREFIX.split("{image}"))
        hidden, cache = self._prefill_image(head, tail, top, levels, rows, cols)
        pixels = None
        if self.model.mask_decoder is not None:
            text = hidden[:, len(head) : len(head) + rows * cols]
            pixels = self.model.mask_decoder.encode(self.model.image_features(top, levels, text, image, rows, cols))
        prefix = tuple((layer.keys, layer.values) for layer in cache.layers)
        height, width = rgb.shape[:2]
        canvas = self.processor.canvas(height, width)
        return EncodedImage(prefix, len(head) + max(rows, cols) + len(tail), pixels, height, width, canvas)

    def _tokens(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def _prefill_image(
        self, head: list[int], tail: list[int], top: Tensor, levels: list[Tensor], rows: int, cols: int
    ) -> tuple[Tensor, DynamicCache]:
        embed = self.model.get_input_embeddings()
        text = embed(torch.tensor([head + tail], device=self.device))
        embeds = torch.cat([text[:, : len(head)], top.to(text.dtype), text[:, len(head) :]], dim=1)
        is_image = torch.zeros(embeds.shape[:2], dtype=torch.bool, device=self.device)
        is_image[:, len(head) : len(head) + rows * cols] = True
        cache = DynamicCache()
        output = self.model.model.language_model(
            inputs_embeds=embeds,
            position_ids=image_positions(len(head), rows, cols, len(tail)).to(self.device),
            past_key_values=cache,
            use_cache=True,
            visual_pos_masks=is_image,
            deepstack_visual_embeds=[level.flatten(0, 1) for level in levels],
        )
        return output.last_hidden_state, cache

    @torch.inference_mode()
    def answer(
        self, encoded: EncodedImage, instruction: str, max_new_tokens: int = 512, reject_bias: float = 0.0,
        stop: Callable[[], bool] = lambda: False,
    ) -> Answer:
        """Greedy answer. reject_bias is added to the log-odds of "no target" wherever the model decides about an entry.

        Raises:
            StoppedError: `stop`, which is asked before every pass through the network, said so.
        """
        cache = _cache_of(encoded)
        answer, position = _Unfinished(), encoded.next_position
        sure = self._tokens(prompts.conversation_tail(instruction, self.answers))
        while True:
            if stop():
                raise StoppedError(f"while the answer was written, after {len(answer.tokens)} tokens")
            guessed = self.drafts.after(answer.tokens) if self.drafts else []
            hidden = self._step([*sure, *guessed], position, cache)[len(sure) - 1 :]
            agreed = self._check(answer, hidden, guessed, reject_bias, max_new_tokens)
            if answer.ended or len(answer.tokens) >= max_new_tokens:
                return self._finished(answer, not answer.ended)
            if agreed < len(guessed):
                cache.crop(agreed - len(guessed))  # negative: how many to forget
            position += len(sure) + agreed
            sure = answer.tokens[-1:]

    def _check(self, answer: "_Unfinished", hidden: Tensor, guessed: list[int], reject_bias: float, most: int) -> int:
        """Write what the model wants after the token that was sure and after each guess, as long as the guesses are what it
        wanted; -> how many of them were."""
        logits = self.model.lm_head(hidden).float()
        for number, state in enumerate(hidden):
            if answer.tokens and answer.tokens[-1] == self.mask_id:
                answer.states.append(state)
            token = self._write(answer, logits[number], reject_bias)
            answer.ended = token in self.stop_ids
            wanted = number < len(guessed) and token == guessed[number]
            if answer.ended or len(answer.tokens) >= most or not wanted:
                return number + (1 if wanted else 0)
        return len(guessed)

    def _write(self, answer: "_Unfinished", logits: Tensor, reject_bias: float) -> int:
        """Choose the likeliest token and note what it says about the answer; a stop token is not written."""
        deciding = self.decision is not None and self.decision.follows(answer.tokens)
        if deciding:
            logits[self.decision.label] += reject_bias
        token = int(logits.argmax())
        if token not in self.stop_ids:
            if deciding and token in (self.decision.box, self.decision.label):
                odds = logits[self.decision.box] - logits[self.decision.label] + reject_bias
                answer.present[len(answer.tokens)] = float(odds.sigmoid())
            answer.log_likelihood.append(float(logits[token] - logits.logsumexp(-1)))
            answer.tokens.append(token)
        return token

    def _finished(self, answer: "_Unfinished", truncated: bool) -> Answer:
        empty = torch.zeros(0, self.model.config.text_config.hidden_size, device=self.device)
        states = torch.stack(answer.states) if answer.states else empty
        text = self.tokenizer.decode(answer.tokens)
        return Answer(text, states, self._starts(answer.tokens, text), tuple(answer.log_likelihood), answer.present, truncated)

    def _starts(self, tokens: list[int], text: str) -> tuple[int, ...]:
        """First character of each token. Characters that several tokens share make the quick way wrong: then prefix by prefix."""
        ends = list(accumulate(len(self.tokenizer.decode([token])) for token in tokens))
        if not ends or ends[-1] != len(text):
            ends = [len(self.tokenizer.decode(tokens[: n + 1])) for n in range(len(tokens))]
        return (0, *ends[:-1])

    @torch.inference_mode()
    def forced_states(self, encoded: EncodedImage, instruction: str, answer: str) -> Tensor:
        """Hidden states (N, T) at the mask tokens while the model reads `answer` instead of writing its own."""
        tokens = self._tokens(prompts.conversation_tail(instruction, self.answers) + answer)
        hidden = self._step(tokens, encoded.next_position, _cache_of(encoded))
        return hidden[[n for n, token in enumerate(tokens) if token == self.mask_id]]

    def _step(self, tokens: list[int], position: int, cache: DynamicCache) -> Tensor:
        """Feed tokens; hidden states (L, T)."""
        embeds = self.model.get_input_embeddings()(torch.tensor([tokens], device=self.device))
        positions = (torch.arange(len(tokens), device=self.device) + position).expand(3, 1, -1)
        output = self.model.model.language_model(
            inputs_embeds=embeds, position_ids=positions, past_key_values=cache, use_cache=True
        )
        return output.last_hidden_state[0]

    @torch.inference_mode()
    def masks(self, encoded: EncodedImage, boxes_N4: Tensor, states_NT: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes 0..1 of the canvas and mask-token states -> logits (N, H, W) of the image and predicted IoU (N,)."""
        where = torch.zeros(len(boxes_N4), dtype=torch.long, device=self.device)
        _, logits, iou = self.model.mask_decoder(encoded.pixels, boxes_N4.to(self.device), states_NT, where)
        return resize_masks(logits, *encoded.canvas)[:, : encoded.height, : encoded.width], iou.float().sigmoid()


def _cache_of(encoded: EncodedImage) -> DynamicCache:
    """A cache to write on; the image's own keys and values stay as they are."""
    cache = DynamicCache()
    for number, (keys, values) in enumerate(encoded.prefix):
        cache.update(keys, values, number)
    return cache


def image_positions(head: int, rows: int, cols: int, tail: int) -> Tensor:
    """M-RoPE positions (3, 1, L) of `head` text tokens, an image of rows x cols tokens and `tail` text tokens."""
    text = torch.arange(head).expand(3, -1)
    grid = (
        torch.stack([torch.zeros(rows * cols), torch.arange(rows).repeat_interleave(cols), torch.arange(cols).repeat(rows)])
        + head
    )
    after = (torch.arange(tail) + head + max(rows, cols)).expand(3, -1)
    return torch.cat([text, grid, after], dim=1).long()[:, None]
