"""Scores a model in training by its speech for validation pictures.

A loss measures how well the reference's units are predicted, not whether the speech describes the
picture. So the speech is transcribed by the ASR and scored by the metrics of the tables.
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
"""The score that chooses the best checkpoint: the mean of BLEU and, for datasets that have them,
facts."""


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
        """Returns scores in percent: `speech`, its parts, and the share of speeches that ended."""
        engine = Engine(model, Decoding(**self.spec.decoding.model_dump()))
        scaling = model.config.scaling
        device = next(model.parameters()).device
        none = torch.zeros(model.config.num_codebooks, 0, dtype=torch.long)
        with torch.inference_mode():
            images = [load_image(item.image, scaling)[None].to(device) for item in self.items]
            states = torch.cat([model.encode_images(image) for image in images])
        asked = [
            Request(item=item.id, image=row, prompt=none) for row, item in enumerate(self.items)
        ]
        generations = engine.generate(states, asked)
        units = [packed(generation.units.cpu().numpy()) for generation in generations]
        scores = self._scores(self._transcripts(units, len(none)))
        ended = 100 * sum(generation.ended for generation in generations) / len(generations)
        return {SPEECH: sum(scores.values()) / len(scores), **scores, "ended": ended}

    def _transcripts(self, units: Sequence[bytes], codebooks: int) -> list[str]:
        """Returns a transcript of each item; "" where generation or transcription failed."""
        if self._transcriber is None:
            self._transcriber = TranscriberActor(self.spec.asr, self.threads)
        entries = [
            ToTranscribe(
                row=SpeechRow(item=item.id, status="ok", units=packed_units, codebooks=codebooks),
                item=item,
            )
            for item, packed_units in zip(self.items, units, strict=True)
            if packed_units
        ]
        rows = [done.row for done in self._transcriber.work((self.voice, "whole", entries))]
        transcripts = {row.item: row.transcript or "" for row in rows}
        return [transcripts.get(item.id, "") for item in self.items]

    def _scores(self, transcripts: Sequence[str]) -> dict[str, float]:
        tokens = tokenise(transcripts)
        hypotheses = {item.id: text for item, text in zip(self.items, tokens, strict=True)}
        references = {i.id: tokenise([c.text for c in i.captions]) for i in self.items}
        scores = dict([_score(Bleu(), hypotheses, references)])
        facts = {item.id: item.facts for item in self.items}
        if all(facts.values()):
            scores |= [_score(Facts(), hypotheses, facts)]
        return scores


def _score(metric: Metric, hypotheses: Hypotheses, truth: References) -> tuple[str, float]:
    """Returns the last of a metric's scores, its main one."""
    sums = metric.statistics(hypotheses, truth).sum(0)
    return metric.scores[-1].name, float(metric.score(sums)[-1])
