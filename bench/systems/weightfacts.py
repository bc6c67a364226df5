"""Facts about weights, cached by content, because reading them imports PyTorch and transformers."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bench.common.cachefiles import cached_json
from pixvox.codec.facts import CodecFacts, codec_facts
from pixvox.codec.official import is_official
from pixvox.configfile import read_config
from pixvox.digests import WeightsError, digest, file_digest
from pixvox.weights import resolve

if TYPE_CHECKING:
    from pixvox.configuration import PixVoxConfig


@dataclass(frozen=True, kw_only=True)
class ConfigFacts:
    """The fields of a PixVoxConfig that keys and checks need."""

    pattern: str
    num_codebooks: int
    frame_rate: int
    max_position_embeddings: int
    null_image: bool
    trained_on: Sequence[str]


@dataclass(frozen=True)
class Model:
    """The facts about a PixVoxLM and its codec, read once for all its cells."""

    config: ConfigFacts
    codec: str
    facts: CodecFacts
    digest: str


def config_facts(config: "PixVoxConfig") -> ConfigFacts:
    """Returns the facts about a configuration."""
    return ConfigFacts(**{name: getattr(config, name) for name in ConfigFacts.__annotations__})


def cached_codec_facts(name: str, bandwidth: float) -> CodecFacts:
    """Returns codec_facts, from the cache where the content is the same."""
    try:
        digests = _content(name, "encodec")
    except (WeightsError, OSError):
        # codec_facts raises the error that says what is wrong.
        return codec_facts(name, bandwidth)
    keys = ["codec", str(bandwidth), *digests]
    return CodecFacts(*cached_json(keys, lambda: codec_facts(name, bandwidth)))


def cached_model_facts(
    weights: str, codec: str | None, pattern: str | None, read: Callable[[], Model]
) -> Model:
    """Returns the facts that `read` returns, from the cache where the content is the same."""
    try:
        stated = read_config(resolve(weights), "pixvox")
        chosen = codec or stated["codec"]
        digests = [*_content(weights, "pixvox"), chosen, *_content(chosen, "encodec")]
    except (WeightsError, OSError, KeyError, AttributeError):
        return read()
    keys = ["pixvox", str(codec), str(pattern), *digests]
    content: dict[str, Any] = cached_json(keys, lambda: asdict(read()))
    config, facts = ConfigFacts(**content["config"]), CodecFacts(*content["facts"])
    return Model(config, content["codec"], facts, content["digest"])


def _content(name: str, kind: str) -> list[str]:
    """Returns the digests of all that the facts about a folder of weights depend on.

    Raises WeightsError or OSError for weights that are not cached: archives and missing files.
    """
    if kind == "encodec" and is_official(name):
        raise WeightsError(f"{name}: an archive")
    folder = resolve(name)
    read_config(folder, kind)
    return [digest(folder), file_digest(folder / "config.json")]
