"""Reads a rater's answers, as the page's listening test writes them."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from bench.common.errors import UserError
from bench.common.yamlfile import Strict, read_small, validate

_MOST_BYTES = 4 * 1024 * 1024
_FNV, _OTHER = 0x811C9DC5, 0x01234567
"""The initial values of the code's two hashes, as in the page's script."""

Condition = Literal["a", "b", "reference", "anchor"]
Text = Annotated[str, Field(min_length=1, max_length=500)]


class Named(Strict):
    """One of the two systems: its cell in the run, and its name in the page."""

    cell: Text
    label: Text


class Pair(Strict):
    """Two speeches for one picture, and which was preferred."""

    item: Text
    first: Condition
    second: Condition
    answer: Condition | Literal["tie"]

    @property
    def check(self) -> bool:
        """Whether the pair checks the rater's attention: one speech is of another picture."""
        return "anchor" in (self.first, self.second)


class Rating(Strict):
    """One speech, and how well it describes the picture, 1 to 5."""

    item: Text
    of: Condition
    rating: Annotated[int, Field(ge=1, le=5)]


class Answers(Strict):
    """All answers of one rater."""

    format: Literal["pixvox-listening-1"]
    page: Text
    rater: Text
    a: Named
    b: Named
    pairs: tuple[Pair, ...]
    ratings: tuple[Rating, ...]
    code: Text

    @property
    def listened(self) -> bool:
        """Whether there was at least one check, and every check was answered correctly."""
        checks = [pair for pair in self.pairs if pair.check]
        return bool(checks) and all(pair.answer not in ("anchor", "tie") for pair in checks)


def hashed(text: str, basis: int = _FNV) -> int:
    """Returns the 32-bit FNV-1a hash (Fowler, Noll and Vo) of a text in UTF-8."""
    value = basis
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 % 2**32
    return value


def code_of(content: dict[str, Any]) -> str:
    """Returns the code that the page shows for answers, from their JSON without the code."""
    body = {name: value for name, value in content.items() if name != "code"}
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return f"{hashed(text):08x}{hashed(text, _OTHER):08x}"


def read_answers(path: Path) -> Answers:
    """Reads a file of answers; raises UserError for other content and for changed answers."""
    try:
        content = json.loads(read_small(path, _MOST_BYTES))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: not readable as JSON; ask the rater for the file again"
        ) from error
    answers: Answers = validate(content, Answers, str(path))
    if code_of(content) != answers.code:
        raise UserError(f"{path}: was changed after the test; ask the rater for the file again")
    return answers


def _test_of(answers: Answers) -> tuple[str, Named, Named]:
    """Returns what is equal in all answers of one test: the page and both systems."""
    return answers.page, answers.a, answers.b


def read_all(paths: list[Path]) -> list[Answers]:
    """Reads the files of one test; raises UserError for files of two tests or of one rater."""
    answers = [read_answers(path) for path in paths]
    raters: dict[str, Path] = {}
    for path, rater_answers in zip(paths, answers, strict=True):
        if _test_of(rater_answers) != _test_of(answers[0]):
            raise UserError(
                f"{path}: answers of another test than {paths[0]}; score them separately"
            )
        rater = rater_answers.rater
        if rater in raters:
            raise UserError(f"{path}: rater {rater} is in {raters[rater]} too; leave one out")
        raters[rater] = path
    return answers
