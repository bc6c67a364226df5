"""The cascade, the text-based baseline: a captioner writes a caption and a voice reads it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from bench.common.audio import SpeechError
from bench.common.bounds import Label, Note
from bench.common.machinefaults import is_machines
from bench.common.text import reason_of
from bench.common.yamlfile import WeightsName
from bench.datasets.base import Item
from bench.systems.base import Content, Lookup, Variant
from bench.systems.readaloud import ReadAloud, Writer
from pixvox.digests import folder_digest
from pixvox.weights import resolve

LONGEST = 60
"""The longest caption in tokens."""


class CascadeSystem(ReadAloud):
    """An image captioner whose captions a voice reads aloud."""

    kind: Literal["cascade"]
    label: Label
    weights: WeightsName
    """The captioner, by a path, `zoo:NAME` or a hub id: one that `kind: captioner` trained, BLIP,
    GIT, or another image-text-to-text model of transformers that captions without a prompt."""
    beams: Annotated[int, Field(ge=1, le=64)] = 1
    """The number of beams; 1 is greedy."""
    training: Note = "text in between"
    """The entry in the tables' column `training`."""

    needs_images: ClassVar[bool] = True

    def writer(self, device: str) -> Writer:
        return _Captioner(resolve(self.weights), self.beams, device)

    def content(self, lookup: Lookup) -> Content:
        content = super().content(lookup)
        if self.beams > 1:
            return content
        # The key of a greedy cascade stays what it was before `beams` was an option.
        depends = {key: value for key, value in content.depends.items() if key != "beams"}
        return replace(content, depends=depends)

    def weights_names(self) -> Sequence[str]:
        return (self.weights, *super().weights_names())

    def written_with(self) -> str:
        return folder_digest(resolve(self.weights))


def unknown_token(tokeniser: Any) -> int | None:
    """Returns the id of the unknown word; None if it also ends captions, as in GPT-2 and OPT."""
    unknown: int | None = getattr(tokeniser, "unk_token_id", None)
    ends = {getattr(tokeniser, f"{name}_token_id", None) for name in ("eos", "sep")}
    return None if unknown in ends else unknown


class _Captioner(Writer):
    """A captioner on one device. It captions one picture at a time, so captions are independent."""

    def __init__(self, folder: Path, beams: int, device: str) -> None:
        from transformers import AutoProcessor

        from pixvox.captioner import load_captioner

        self.processor = AutoProcessor.from_pretrained(folder)
        self.model: Any = load_captioner(folder).to(device)
        text = getattr(self.model.config, "text_config", self.model.config)
        longest = min(LONGEST, getattr(text, "max_position_embeddings", LONGEST + 1) - 1)
        self.how: dict[str, Any] = {
            "max_new_tokens": longest,
            "do_sample": False,
            "num_beams": beams,
        }
        unknown = unknown_token(getattr(self.processor, "tokenizer", None))
        if unknown is not None:
            # A voice cannot read it.
            self.how["suppress_tokens"] = [unknown]

    def write(self, item: Item, variant: Variant) -> str:
        import torch

        from pixvox.images import ImageError, load_picture

        try:
            picture = load_picture(item.image)
        except ImageError as error:
            raise SpeechError(str(error)) from error
        pixels = self.processor(images=picture, return_tensors="pt").to(self.model.device)
        with torch.inference_mode():
            try:
                tokens = self.model.generate(**pixels, **self.how)
            except (ValueError, RuntimeError) as error:
                if is_machines(error, reason_of(error)):
                    raise
                raise SpeechError(f"the captioner failed: {reason_of(error)}") from error
        return str(self.processor.batch_decode(tokens, skip_special_tokens=True)[0]).strip()
