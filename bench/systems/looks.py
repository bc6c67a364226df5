"""Looks at weights that are kept by content: what looks imports PyTorch and transformers."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bench.common.kept import cached_json as look
from pixvox.codec.facts import CodecFacts, codec_facts
from pixvox.codec.official import is_official
from pixvox.configfile import read_config
from pixvox.digests import WeightsError, digest, file_digest
from pixvox.weights import resolve

if TYPE_CHECKING:
    from pixvox.configuration import PixVoxConfig


@dataclass(frozen=True)
class Make:
    """What keys and checks need of a PixVoxConfig."""

    pattern: str
    num_codebooks: int
    frame_rate: int
    max_position_embeddings: int
    null_image: bool
    trained_on: Sequence[str]


@dataclass(frozen=True)
class Model:
    """A PixVoxLM that was looked at once, for all its cells, and its codec."""

    config: Make
    codec: str
    facts: CodecFacts
    digest: str


def make_of(config: "PixVoxConfig") -> Make:
    """That of a configuration."""
    return Make(**{name: getattr(config, name) for name in Make.__annotations__})


def codec_look(name: str, bandwidth: float) -> CodecFacts:
    """As codec_facts, which is called once for the same content."""
    try:
        of = _content(name, "encodec")
    except (WeightsError, OSError):
        # What looks says what is wrong.
        return codec_facts(name, bandwidth)
    return CodecFacts(*look(["codec", str(bandwidth), *of], lambda: codec_facts(name, bandwidth)))


def model_look(
    weights: str, codec: str | None, pattern: str | None, make: Callable[[], Model]
) -> Model:
    """What `make` finds of a PixVoxLM, which is called once for the same content."""
    try:
        stated = read_config(resolve(weights), "pixvox")
        chosen = codec or stated["codec"]
        of = [*_content(weights, "pixvox"), chosen, *_content(chosen, "encodec")]
    except (WeightsError, OSError, KeyError, AttributeError):
        return make()
    found: dict[str, Any] = look(["pixvox", str(codec), str(pattern), *of], lambda: asdict(make()))
    config, facts = Make(**found["config"]), CodecFacts(*found["facts"])
    return Model(config, found["codec"], facts, found["digest"])


def _content(name: str, kind: str) -> list[str]:
    """Digests of all that a look at a folder of weights sees.

    Raises WeightsError or OSError for what is not looked at so: archives, what is not there.
    """
    if kind == "encodec" and is_official(name):
        raise WeightsError(f"{name}: an archive")
    folder = resolve(name)
    read_config(folder, kind)
    return [digest(folder), file_digest(folder / "config.json")]
