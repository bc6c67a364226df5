"""CLIPScore and RefCLIPScore (Hessel et al. 2021, "CLIPScore: A Reference-free Evaluation Metric
for Image Captioning", sections 3 and 3.1), with any CLIP in the format of transformers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.common.errors import UserError
from bench.common.threads import one_thread
from bench.common.yamlfile import WeightsName
from bench.metrics.base import (
    SHORT,
    Array,
    Count,
    Files,
    Hypotheses,
    ImageMetric,
    References,
    Score,
)
from bench.metrics.settings import MetricSettings
from bench.metrics.vectors import VectorFile, Vectors, by_length
from pixvox.configfile import read_config
from pixvox.digests import WeightsError, file_digest, folder_digest
from pixvox.picturefile import ImageError, load_picture
from pixvox.weights import resolve

_WHO = "scoring: metrics: clip_score"
_SCALE = 2.5
_PROMPT = "A photo depicts "


@dataclass(frozen=True)
class ClipScore(ImageMetric):
    """Means over items, × 100: 2.5 times the cosine of picture and transcript, at least 0; and
    its harmonic mean with the cosine of transcript and nearest reference.

    An item without a transcript has 0. Texts are tokenised, as for BLEU, and begin with "A photo
    depicts".
    """

    model: str

    name = "CLIPScore"
    columns = ("CLIPScore", "RefCLIPScore", "items")
    scores = (
        Score("CLIPScore", "CLIP-S", display_priority=SHORT, most=100 * _SCALE),
        Score(
            "RefCLIPScore",
            "RefCLIP-S",
            display_priority=1,
            most=100 * 2 * _SCALE / (_SCALE + 1),
        ),
    )

    def weights(self) -> str:
        return _digest(self.model)

    def unusable(self, files: Files) -> str:
        missing = [each.image for each in files.values() if not each.image.is_file()]
        if not missing:
            return ""
        of = f"{len(missing)} of {len(files)} pictures are missing"
        return f"{of}; first: {missing[0]}; add them, or leave their items out"

    def statistics(self, hypotheses: Hypotheses, references: References, files: Files) -> Array:
        return _statistics(Clip(self.model), hypotheses, references, files)

    @contextmanager
    def opened(self, references: References, files: Files, cache: Path) -> Iterator[Count]:
        clip = Clip(self.model, cache)
        yield lambda texts, truths: _statistics(clip, texts, truths, files)
        clip.save()

    def score(self, sums: Array) -> Array:
        return 100 * sums[..., :2] / np.maximum(sums[..., 2:], 1e-9)


class ClipSettings(MetricSettings):
    """How well transcripts fit their pictures, by a CLIP."""

    name: Literal["clip_score"]
    model: WeightsName
    """The CLIP, by a path or a hub id: a folder that transformers' `CLIPModel` has saved, with its
    tokeniser and image processor. It computes on the CPU."""

    def metric(self) -> ClipScore:
        return ClipScore(self.model)


class Clip:
    """A CLIP's vectors of texts and pictures, each computed once; kept in a folder."""

    def __init__(self, model: str, cache: Path | None = None) -> None:
        self._folder = _folder(model)
        digest = _digest(model)
        places = (cache / f"clip-{kind}-{digest}.parquet" if cache else None for kind in _KINDS)
        self._texts, self._pictures = map(VectorFile, places)
        self._digests: dict[Path, str] = {}

    def texts(self, texts: Sequence[str]) -> Vectors:
        """Vectors of length 1, `[n, size]`, of texts without the prompt."""
        return self._texts.of(texts, self._of_texts)

    def picture(self, path: Path) -> Vectors:
        """The vector of a picture, `[size]`, of length 1; raises UserError for none."""
        if path not in self._digests:
            self._digests[path] = file_digest(path)
        key = self._digests[path]
        vector: Vectors = self._pictures.of([key], lambda _: {key: self._of_picture(path)})[0]
        return vector

    def save(self) -> None:
        """Writes the vectors that the folder lacks."""
        self._texts.save()
        self._pictures.save()

    def _of_texts(self, texts: Sequence[str]) -> dict[str, Vectors]:
        most = self._model.config.text_config.max_position_embeddings
        prompted = [_PROMPT + text for text in texts]
        tokens = self._tokeniser(prompted, truncation=True, max_length=most)["input_ids"]
        return by_length(dict(zip(texts, tokens, strict=True)), self._text_vectors)

    def _text_vectors(self, ids: Sequence[Sequence[int]]) -> Vectors:
        import torch

        model = self._model
        with torch.inference_mode(), one_thread():
            states = model.text_model(input_ids=torch.tensor(ids)).pooler_output
            return _unit(model.text_projection(states))

    def _of_picture(self, path: Path) -> Vectors:
        import torch

        try:
            picture = load_picture(path)
        except ImageError as error:
            raise UserError(f"{_WHO}: {error}") from error
        model = self._model
        pixels = self._processor(images=picture, return_tensors="pt")["pixel_values"]
        with torch.inference_mode(), one_thread():
            states = model.vision_model(pixel_values=pixels).pooler_output
            return _unit(model.visual_projection(states))[0]

    @cached_property
    def _tokeniser(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self._folder)

    @cached_property
    def _processor(self) -> Any:
        from transformers import AutoImageProcessor

        # Not by torchvision, which other machines have not: it rounds otherwise.
        return AutoImageProcessor.from_pretrained(self._folder, backend="pil")

    @cached_property
    def _model(self) -> Any:
        import torch
        from transformers import CLIPModel

        from pixvox.loading import without_bars

        with without_bars():
            model: Any = CLIPModel.from_pretrained(self._folder, dtype=torch.float32)
        return model.eval()


_KINDS = ("texts", "pictures")


def _unit(vectors: Any) -> Vectors:
    import torch

    unit: Vectors = torch.nn.functional.normalize(vectors, dim=-1).numpy()
    return unit


def _statistics(clip: Clip, hypotheses: Hypotheses, references: References, files: Files) -> Array:
    counted = np.zeros((len(hypotheses), 3))
    counted[:, 2] = 1
    asked = [references[item] for item in hypotheses]
    clip.texts([*filter(None, hypotheses.values()), *(text for texts in asked for text in texts)])
    for row, (item, text), truths in zip(counted, hypotheses.items(), asked, strict=True):
        if text:
            vector = clip.texts([text])[0]
            fit = _SCALE * max(float(clip.picture(files[item].image) @ vector), 0.0)
            row[0] = fit
            if truths:
                nearest = max(float((clip.texts(truths) @ vector).max()), 0.0)
                row[1] = 2 * fit * nearest / (fit + nearest) if fit and nearest else 0.0
    return counted


def _folder(model: str) -> Path:
    try:
        folder = resolve(model)
        kind = read_config(folder).get("model_type")
    except WeightsError as error:
        raise UserError(f"{_WHO}: model: {error}") from error
    if kind != "clip":
        raise UserError(f"{_WHO}: model: {model} is a {kind!r}; name a CLIP (`clip`)")
    return folder


@lru_cache(maxsize=4)
def _digest(model: str) -> str:
    """The digest of all that a CLIP's folder holds, 16 hex digits; raises UserError."""
    try:
        return folder_digest(_folder(model))[:16]
    except WeightsError as error:
        raise UserError(f"{_WHO}: model: {error}") from error
