"""The cascade: a captioner writes, a voice reads. What speaking without text is held against."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from bench.common.audio import SpeechError
from bench.common.bounds import Label, Note
from bench.common.machinefaults import is_machines
from bench.common.text import reason_of
from bench.common.yamlfile import WeightsName
from bench.datasets.base import Item
from bench.systems.base import Variant
from bench.systems.readaloud import ReadAloud, Writer
from pixvox.digests import folder_digest
from pixvox.weights import resolve

LONGEST = 60
"""Tokens of the longest caption."""


class CascadeSystem(ReadAloud):
    """An image captioner of transformers whose greedy captions a voice reads aloud."""

    kind: Literal["cascade"]
    label: Label
    weights: WeightsName
    """The captioner, by a path, `zoo:NAME` or a hub id: BLIP, GIT and what else is an
    image-text-to-text model of transformers and captions without a prompt."""
    training: Note = "text in between"
    """What tables say of its training."""

    needs_images: ClassVar[bool] = True

    def writer(self, device: str) -> Writer:
        """See ReadAloud."""
        return _Captioner(resolve(self.weights), device)

    def written_with(self) -> str:
        """See ReadAloud."""
        return folder_digest(resolve(self.weights))


class _Captioner:
    """A captioner on one device. Pictures are captioned one at a time: none depends on another."""

    def __init__(self, folder: Path, device: str) -> None:
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self.processor = AutoProcessor.from_pretrained(folder)
        model: Any = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True
        )
        self.model = model.to(device).eval()

    def write(self, item: Item, variant: Variant) -> str:
        """See Writer."""
        import torch

        from pixvox.images import ImageError, load_picture

        try:
            picture = load_picture(item.image)
        except ImageError as error:
            raise SpeechError(str(error)) from error
        pixels = self.processor(images=picture, return_tensors="pt").to(self.model.device)
        with torch.inference_mode():
            try:
                tokens = self.model.generate(**pixels, max_new_tokens=LONGEST, do_sample=False)
            except (ValueError, RuntimeError) as error:
                if is_machines(error, reason_of(error)):
                    raise
                raise SpeechError(f"the captioner failed: {reason_of(error)}") from error
        return str(self.processor.batch_decode(tokens, skip_special_tokens=True)[0]).strip()
