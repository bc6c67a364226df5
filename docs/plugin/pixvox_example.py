"""An example of a package that extends PixVox bench, with one kind of each group."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from bench.asr.base import Asr, Facts, Transcriber, Transcription
from bench.common.audio import Wave
from bench.common.bounds import Label
from bench.common.progress import Progress
from bench.common.yamlfile import FilePath
from bench.datasets.base import (
    Caption,
    Dataset,
    DatasetSpec,
    Half,
    Item,
    inside,
    speech_kind,
    text_lines,
)
from bench.jobs.cells import Cell
from bench.jobs.tables import Table
from bench.metrics.base import Array, Hypotheses, Metric, References, Score
from bench.store.rows import SpeechRow
from bench.systems.base import EachItem, Generator, Role, System, Variant
from bench.systems.sound import flac


class Beeps(System):
    """A beep for each letter of the image's name."""

    kind: Literal["beeps"]
    label: Label
    hertz: float = 440.0
    """The frequency of the beeps in Hz."""

    role: ClassVar[Role] = Role.SYSTEM

    def generator(self, device: str) -> Generator:
        return _Beeper(self.hertz)


class _Beeper(EachItem):
    def __init__(self, hertz: float) -> None:
        time = np.arange(4_000) / 16_000
        self.beep = np.concatenate([0.3 * np.sin(2 * np.pi * hertz * time), np.zeros(4_000)])

    def generate_item(self, item: Item, variant: Variant) -> SpeechRow:
        return SpeechRow(
            item=item.id, status="ok", audio=flac(np.tile(self.beep, len(item.image.stem)), 16_000)
        )


class Tabbed(DatasetSpec):
    """Images with captions in a text file, with a line `IMAGE<tab>CAPTION` for each caption."""

    name: Literal["tabbed"]
    file: FilePath
    """The text file; the images are in its folder."""

    def read(self) -> Dataset:
        captions: dict[str, list[Caption]] = {}
        for line in text_lines(self.file):
            image, _, text = line.partition("\t")
            captions.setdefault(image, []).append(Caption(text))
        items = tuple(
            Item(Path(image).stem, inside(self.file.parent, image), tuple(texts))
            for image, texts in captions.items()
        )
        return Dataset(self.name, self.file.stem, speech_kind(items), items)

    def half(self, half: Half, report: Progress) -> Sequence[Item]:
        return ()

    def computed(self) -> Path:
        return self.file.parent / "computed"


class LoudnessAsr(Asr):
    """Writes a word for each sound between two silences."""

    backend: Literal["loudness"]
    word: str = "beep"
    """The word."""

    @property
    def label(self) -> str:
        return "loudness"

    def locate(self) -> Path:
        return Path(__file__)

    def facts(self) -> dict[str, Any]:
        return {"asr": self.backend, "word": self.word, "weights": "", "protocol": self.protocol}

    def transcriber(self, device: str, threads: int) -> Transcriber:
        return _Listener(self.word)

    def signature_part(self, facts: Facts) -> str:
        return f"{self.backend}.{self.word}"


class _Listener:
    def __init__(self, word: str) -> None:
        self.word = word

    def transcribe(self, waves: Sequence[Wave]) -> list[Transcription]:
        return [Transcription(" ".join([self.word] * self._stretches(wave))) for wave in waves]

    def _stretches(self, wave: Wave) -> int:
        loud = np.add.reduceat(np.abs(wave), np.arange(0, len(wave), 800)) > 8
        return int(np.sum(loud[1:] & ~loud[:-1]) + loud[0])


class Letters(Metric):
    """Letters of the transcripts, as a share of the letters of the first references."""

    name = "letters"
    columns = ("letters", "first reference's letters")
    scores = (Score("letter ratio", "LETTERS"),)

    def statistics(self, hypotheses: Hypotheses, references: References) -> Array:
        rows = [(len(text), len(references[item][0])) for item, text in hypotheses.items()]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def score(self, sums: Array) -> Array:
        return 100 * sums[..., :1] / np.maximum(sums[..., 1:], 1)


class Bounds(Table):
    """Only ceilings and floors."""

    name = "bounds"
    title = "What bounds systems from above and below"
    column = "training"

    def belongs(self, cell: Cell) -> bool:
        return cell.system.role is not Role.SYSTEM


class GrayCellsConfig(PreTrainedConfig):
    """Pictures of `image_size` px, divided into `cells` by `cells`."""

    model_type = "gray_cells"

    def __init__(self, image_size: int = 128, cells: int = 4, **others: Any) -> None:
        super().__init__(**others)
        self.image_size = image_size
        self.cells = cells


class GrayCells(PreTrainedModel):
    """An image encoder whose states are the mean colours of a picture's cells."""

    config_class = GrayCellsConfig
    main_input_name = "pixel_values"

    def __init__(self, config: GrayCellsConfig) -> None:
        super().__init__(config)
        self.scale = torch.nn.Parameter(torch.ones(3))
        self.post_init()

    def forward(self, pixel_values: Tensor) -> BaseModelOutput:
        """Returns image states `[B, P, 3]` of normalised pictures `[B, 3, H, W]`."""
        means = adaptive_avg_pool2d(pixel_values, self.config.cells)
        return BaseModelOutput(last_hidden_state=means.flatten(2).mT * self.scale)
