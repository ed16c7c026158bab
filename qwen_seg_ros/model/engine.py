"""Greedy generation with the image encoded once: one KV prefix per image, any number of instructions on it.

Shapes: M merged image tokens, V visual width, T text width, N mask tokens of an answer, h x w mask cells.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedTokenizerBase

from qwen_seg_ros.geometry.arrays import RgbImage
from qwen_seg_ros.model import prompts
from qwen_seg_ros.model.mask_decoder import PixelMemory, resize_masks
from qwen_seg_ros.model.modeling import Qwen3VLSegForConditionalGeneration
from qwen_seg_ros.model.processing import ImageProcessor

PrefixCache = tuple[tuple[Tensor, Tensor], ...]


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """An image as the model remembers it. prefix: keys and values per layer; next_position: where text positions go on."""

    prefix: PrefixCache
    next_position: int
    pixels: PixelMemory | None
    height: int
    width: int


@dataclass(frozen=True, eq=False)
class Answer:
    """text: as written, special tokens included. mask_states: (N, T) in the order of the mask tokens. present_probability: for
    every entry, rejections included, how sure the model was that there is a target. truncated: ran out of tokens."""

    text: str
    mask_states: Tensor
    present_probability: tuple[float, ...]
    truncated: bool


class Engine:
    """Holds no state of a request: `encode` returns a value, `answer` uses it, so requests cannot mix."""

    def __init__(
        self, model: Qwen3VLSegForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, processor: ImageProcessor
    ) -> None:
        self.model, self.tokenizer, self.processor = model.eval(), tokenizer, processor
        self.device = model.device
        ids = tokenizer.convert_tokens_to_ids
        self.mask_id = ids(prompts.MASK_TOKEN)
        self.box_key, self.label_key = ids(prompts.BOX_KEY), ids(prompts.LABEL_KEY)
        self.stop_ids = {tokenizer.eos_token_id, tokenizer.pad_token_id} - {None}

    @torch.inference_mode()
    def encode(self, rgb: RgbImage) -> EncodedImage:
        """uint8 (H, W, 3) -> everything that does not depend on the instruction."""
        image = self.processor.normalise([self.processor.resize(rgb)]).to(self.device, self.model.dtype)
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
        return EncodedImage(prefix, len(head) + max(rows, cols) + len(tail), pixels, *rgb.shape[:2])

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
    def answer(self, encoded: EncodedImage, instruction: str, max_new_tokens: int = 512, reject_bias: float = 0.0) -> Answer:
        """Greedy answer. reject_bias is added to the log-odds of "no target" wherever the model decides about an entry."""
        cache = DynamicCache()
        for number, (keys, values) in enumerate(encoded.prefix):
            cache.update(keys, values, number)
        position = encoded.next_position
        pending = self._tokens(prompts.conversation_tail(instruction))
        written: list[int] = []
        states, present = [], []
        while len(written) < max_new_tokens:
            hidden = self._step(pending, position, cache)
            position += len(pending)
            if written and written[-1] == self.mask_id:
                states.append(hidden[-1])
            token, probability = self._choose(hidden[-1], reject_bias)
            if token in (self.box_key, self.label_key):
                present.append(probability)
            if token in self.stop_ids:
                break
            written.append(token)
            pending = [token]
        size = self.model.config.text_config.hidden_size
        stacked = torch.stack(states) if states else torch.zeros(0, size, device=self.device)
        return Answer(self.tokenizer.decode(written), stacked, tuple(present), len(written) >= max_new_tokens)

    def _step(self, tokens: list[int], position: int, cache: DynamicCache) -> Tensor:
        """Feed tokens; hidden states (L, T)."""
        embeds = self.model.get_input_embeddings()(torch.tensor([tokens], device=self.device))
        positions = (torch.arange(len(tokens), device=self.device) + position).expand(3, 1, -1)
        output = self.model.model.language_model(
            inputs_embeds=embeds, position_ids=positions, past_key_values=cache, use_cache=True
        )
        return output.last_hidden_state[0]

    def _choose(self, hidden_T: Tensor, reject_bias: float) -> tuple[int, float]:
        """The likeliest token; at a decision between a box and a rejection also the probability of the box."""
        logits = self.model.lm_head(hidden_T).float()
        logits[self.label_key] += reject_bias
        token = int(logits.argmax())
        odds = logits[self.box_key] - logits[self.label_key] + reject_bias
        return token, float(odds.sigmoid())

    @torch.inference_mode()
    def masks(self, encoded: EncodedImage, boxes_N4: Tensor, states_NT: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes 0..1 and mask-token states -> logits (N, H, W) at the image's size and predicted IoU (N,)."""
        where = torch.zeros(len(boxes_N4), dtype=torch.long, device=self.device)
        _, logits, iou = self.model.mask_decoder(encoded.pixels, boxes_N4.to(self.device), states_NT, where)
        return resize_masks(logits, encoded.height, encoded.width), iou.float().sigmoid()


def image_positions(head: int, rows: int, cols: int, tail: int) -> Tensor:
    """M-RoPE positions (3, 1, L) of `head` text tokens, an image of rows x cols tokens and `tail` text tokens."""
    text = torch.arange(head).expand(3, -1)
    grid = (
        torch.stack([torch.zeros(rows * cols), torch.arange(rows).repeat_interleave(cols), torch.arange(cols).repeat(rows)])
        + head
    )
    after = (torch.arange(tail) + head + max(rows, cols)).expand(3, -1)
    return torch.cat([text, grid, after], dim=1).long()[:, None]
