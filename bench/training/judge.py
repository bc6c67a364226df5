"""Judges a model in training by its speech, through the suite's own generating and transcribing.

Losses say how surely the reference's units are predicted; whether the speech says what is in the
picture is measured, by the ASR and the metrics that tables are made with, on validation pictures.
"""

from collections.abc import Mapping, Sequence

import torch

from bench.datasets.base import Item
from bench.execution.actors import TranscriberActor
from bench.metrics.base import Hypotheses, Metric, References
from bench.metrics.bleu import Bleu
from bench.metrics.facts import Facts
from bench.metrics.tokens import tokenise
from bench.store.rows import SpeechRow, ToTranscribe, packed
from bench.systems.resynthesis import ResynthesisSystem
from bench.training.spec import PixVoxJob
from pixvox.decoding.engine import Engine
from pixvox.decoding.requests import Request
from pixvox.decoding.sampling import Decoding
from pixvox.images import load_image
from pixvox.modeling import PixVoxLM

SPEECH = "speech"
"""What the best checkpoint is chosen by: the mean of its parts, n-grams and, where the dataset
knows what is true of its pictures, facts."""


class SpeechJudge:
    """Generates, transcribes and scores the speech of the first validation pictures.

    Raises UserError where the job's ASR or codec cannot be used.
    """

    def __init__(self, job: PixVoxJob, items: Sequence[Item], threads: int) -> None:
        assert job.judge is not None
        self.spec, self.items = job.judge, items[: job.judge.images]
        self.name = job.judge.model_dump_json()
        self.voice = ResynthesisSystem(kind="resynthesis", codec=job.codec, bandwidth=job.bandwidth)
        self.threads = threads
        self._transcriber: TranscriberActor | None = None

    def __call__(self, model: PixVoxLM) -> Mapping[str, float]:
        """Scores in percent: `speech` first, then its parts and how many speeches ended."""
        engine = Engine(model, Decoding(**self.spec.decoding.model_dump()))
        scaling = model.config.scaling
        device = next(model.parameters()).device
        none = torch.zeros(model.config.num_codebooks, 0, dtype=torch.long)
        with torch.inference_mode():
            images = [load_image(item.image, scaling)[None].to(device) for item in self.items]
            states = torch.cat([model.encode_images(image) for image in images])
        asked = [Request(item.id, row, none) for row, item in enumerate(self.items)]
        made = engine.generate(states, asked)
        said = self._said([packed(one.units.cpu().numpy()) for one in made], len(none))
        scores = self._scores(said)
        ended = 100 * sum(one.ended for one in made) / len(made)
        return {SPEECH: sum(scores.values()) / len(scores), **scores, "ended": ended}

    def _said(self, units: Sequence[bytes], codebooks: int) -> list[str]:
        """Transcripts; nothing of what could not be generated or transcribed."""
        if self._transcriber is None:
            self._transcriber = TranscriberActor(self.spec.asr, self.threads)
        entries = [
            ToTranscribe(SpeechRow(item.id, "ok", units=one, codebooks=codebooks), item)
            for item, one in zip(self.items, units, strict=True)
            if one
        ]
        rows = [done.row for done in self._transcriber.work((self.voice, "whole", entries))]
        transcripts = {row.item: row.transcript or "" for row in rows}
        return [transcripts.get(item.id, "") for item in self.items]

    def _scores(self, said: Sequence[str]) -> dict[str, float]:
        tokens = tokenise(said)
        hypotheses = {item.id: text for item, text in zip(self.items, tokens, strict=True)}
        references = {i.id: tokenise([c.text for c in i.captions]) for i in self.items}
        found = dict([_score(Bleu(), hypotheses, references)])
        facts = {item.id: item.facts for item in self.items}
        if all(facts.values()):
            found |= [_score(Facts(), hypotheses, facts)]
        return found


def _score(metric: Metric, hypotheses: Hypotheses, truth: References) -> tuple[str, float]:
    """The last of a metric's scores, which says most."""
    sums = metric.statistics(hypotheses, truth).sum(0)
    return metric.scores[-1].name, float(metric.score(sums)[-1])
