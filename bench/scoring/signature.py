"""The protocol behind a score, printed with it, as sacrebleu does for BLEU (Post 2018).

Two scores are comparable as far as their signatures agree.
"""

import hashlib
import importlib.metadata
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, get_type_hints

from bench.datasets.base import Dataset
from bench.jobs.cells import Cell
from bench.jobs.spec import ScoringSpec
from bench.metrics.loading import metrics_text

SAME, NEAR, OTHER, NONE = "✓", "≈", "✗", "-"
"""Marks of a row's grade; NONE for rows that are not measured."""
TOKENISER = "ptb-3.4.1"
"""The Penn Treebank tokeniser of Stanford CoreNLP, and its version."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The consequence if two signatures differ in a field.

    `noun` is the field's name in a sentence. `mark` is the grade of a row that differs, "" if it
    stays ✓. With `board`, a leaderboard refuses an entry that differs; with `gate`, a golden cannot
    judge a run; with `stretch`, a trend starts a new segment.
    """

    noun: str
    mark: str = ""
    board: bool = False
    gate: bool = False
    stretch: bool = False

    def sentence(self, here: object, there: object, whose: str) -> str:
        """Returns a sentence with both values; `whose` is the other side, such as `the golden`."""
        if here in ("", "none"):
            return f"There is no {self.noun}; that of {whose} is {there}."
        if there in ("", "none"):
            return f"The {self.noun} is {here}; {whose} has none."
        return f"The {self.noun} is {here}; that of {whose} is {there}."

    def remark(self, here: object) -> str:
        """Returns a remark with the value, below a table that states the value of other rows."""
        without = here in ("", "none")
        return (
            f"{self.mark}: no {self.noun}"
            if without
            else f"{self.mark}: another {self.noun}, {here}"
        )


def _decides(noun: str) -> Policy:
    return Policy(noun=noun, mark=OTHER, board=True, gate=True, stretch=True)


def _nearly(noun: str) -> Policy:
    return Policy(noun=noun, mark=NEAR, board=True, gate=True, stretch=True)


def _compared(noun: str) -> Policy:
    """Returns the policy of a field that may differ: what is compared, or a result."""
    return Policy(noun=noun)


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The protocol of a cell's scores; every field is a text or a count and is always written.

    The policy of each field is the consequence if two signatures differ in it.
    """

    data: Annotated[str, _decides("dataset")]
    references: Annotated[str, _decides("reading of the references")]
    left_out: Annotated[str, _decides("caption that the references leave out")]
    per_image: Annotated[str, _decides("number of references an image")]
    normaliser: Annotated[str, _nearly("normaliser")]
    tokeniser: Annotated[str, _decides("tokeniser")]
    metrics: Annotated[str, _decides("version of the metrics")]
    idf: Annotated[str, _decides("digest of the document frequencies")]
    asr: Annotated[str, _nearly("ASR")]
    part: Annotated[str, _decides("transcribed part of the speech")]
    codec: Annotated[str, _compared("codec")]
    weights: Annotated[str, _compared("digest of the weights")]
    seeds: Annotated[str, _compared("list of seeds")]
    # A gate may evaluate fewer items than its golden, always the same ones.
    n: Annotated[int, Policy(noun="number of items", mark=OTHER, board=True, stretch=True)]
    failed: Annotated[int, _compared("number of failed items")]
    version: Annotated[str, Policy(noun="version of the suite", mark=NEAR)]
    # Tables and boards compare different decodings; a gate needs the golden's own decoding.
    decoding: Annotated[str, Policy(noun="decoding", gate=True)] = ""

    def text(self, metric: str) -> str:
        """The signature in one line, for one score."""
        named = (f"{name}:{'-' if value == '' else value}" for name, value in asdict(self).items())
        return "|".join([metric, *named])


POLICIES: Mapping[str, Policy] = {
    name: hint.__metadata__[0]
    for name, hint in get_type_hints(Signature, include_extras=True).items()
}
"""The policy of each field, in order."""


def differing(
    signature: Mapping[str, Any],
    other: Mapping[str, Any],
    asks: Literal["board", "gate", "stretch"],
) -> str | None:
    """Returns the first field that differs and for which `asks` allows no difference; else None."""
    for name, policy in POLICIES.items():
        if getattr(policy, asks) and signature.get(name) != other.get(name):
            return name
    return None


def read_fields(text: str) -> dict[str, str]:
    """Returns the fields of a signature's text, as text."""
    return dict(part.partition(":")[::2] for part in text.split("|")[1:])


def idf_digest(references: Mapping[str, tuple[str, ...]]) -> str:
    """Returns a digest of the tokenised references, which document frequencies come from."""
    state = hashlib.sha256()
    for item, texts in references.items():
        state.update("\0".join([item, *texts, ""]).encode())
    return state.hexdigest()[:8]


@dataclass(frozen=True)
class ReferenceSet:
    """The references of all cells.

    `left_out` says which caption is left out, `per_image` is the number of references of an image,
    and `idf` the digest of the references for document frequencies.
    """

    left_out: str
    per_image: str
    idf: str


def _data_text(dataset: Dataset) -> str:
    """Returns the data's name, standing and digest; names from users' files are cleaned."""
    named = re.sub(r"[^\w.-]", "-", f"{dataset.name}.{dataset.split}")
    standing = f"({', '.join(dataset.standing)})" if dataset.standing else ""
    return f"{named}{standing}@{dataset.digest}"


def asr_text(cell: Cell, facts: Mapping[str, Any]) -> str:
    """Returns the ASR and how it decodes."""
    if cell.asr is None:
        return "none"
    return cell.asr.signature_part(facts)


def signature(
    cell: Cell,
    dataset: Dataset,
    scoring: ScoringSpec,
    references: ReferenceSet,
    *,
    asr: Mapping[str, Any],
    n: int,
    failed: int,
) -> Signature:
    """Returns a cell's signature over `n` items."""
    used = filter(None, (dataset.plugin, *cell.plugins, asr.get("plugin", "")))
    plugins_used = sorted({str(each) for each in used})
    return Signature(
        data=_data_text(dataset),
        references=scoring.readings[0],
        left_out=references.left_out,
        per_image=references.per_image,
        normaliser=scoring.normalisers[0],
        tokeniser=TOKENISER,
        metrics=metrics_text(scoring.metrics),
        idf=references.idf,
        asr=asr_text(cell, asr),
        part=cell.part,
        codec=cell.codec,
        weights=cell.weights,
        seeds="" if cell.seed is None else str(cell.seed),
        n=n,
        failed=failed,
        version="+".join([importlib.metadata.version("pixvox-bench"), *plugins_used]),
        decoding=cell.system.decoding_signature(),
    )
