"""The metrics that come with the suite: the standard ones, and those that a job may name."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from bench.metrics.base import CorpusMetric, Metric, Score
from bench.metrics.bleu import Bleu
from bench.metrics.cider import Cider
from bench.metrics.clip import ClipSettings
from bench.metrics.dnsmos import Dnsmos
from bench.metrics.dnsmos_p808 import DnsmosP808
from bench.metrics.facts import Facts
from bench.metrics.meteor import Meteor
from bench.metrics.pauses import Pauses
from bench.metrics.pitch import Pitch
from bench.metrics.rate import SpeakingRate
from bench.metrics.rouge import RougeL
from bench.metrics.sbert import SbertSim
from bench.metrics.speaker import SpeakerSettings, SpeakerSimilarity
from bench.metrics.spice import SpiceSettings
from bench.metrics.wer import Wer

METRICS: tuple[Metric, ...] = (Bleu(), Meteor(), RougeL(), Cider(), Facts(), Wer())
"""The metrics of every job, in the order of the papers' tables."""

NAMED: Mapping[str, CorpusMetric] = {
    "dnsmos": Dnsmos(),
    "dnsmos_p808": DnsmosP808(),
    "pauses": Pauses(),
    "pitch": Pitch(),
    "sbert_sim": SbertSim(),
    "speaker_similarity": SpeakerSimilarity(),
    "speaking_rate": SpeakingRate(),
}
"""The metrics that a job's `scoring.metrics` may name."""

AnySettings = Annotated[ClipSettings | SpeakerSettings | SpiceSettings, Field(discriminator="name")]
"""Those that a job gives settings."""
WITH_SETTINGS: Mapping[str, str] = {
    "clip_score": "write {name: clip_score, model: FOLDER_OR_HUB_ID}",
    "spice": "write {name: spice, corenlp: FOLDER, java: JAVA_8_OR_11}",
}
"""Those that cannot do without, each with what to write."""


def scores_of(metrics: Sequence[CorpusMetric]) -> tuple[Score, ...]:
    """Returns the scores of metrics, in order."""
    return tuple(score for metric in metrics for score in metric.scores)


KNOWN = scores_of((*METRICS, *NAMED.values()))
"""The scores of all of them."""
