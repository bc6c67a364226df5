"""Facts about a codec without loading it: its digest, and the form of its units at a bandwidth."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pixvox.codec.official import (
    BANDWIDTHS,
    CODEBOOK_BITS,
    FRAME_RATE,
    checkpoint_of,
    is_official,
)
from pixvox.configfile import check_sizes, read_config, wrap_config_errors
from pixvox.digests import WeightsError, archive_digest, digest
from pixvox.weights import resolve

if TYPE_CHECKING:
    from transformers import EncodecConfig

    from pixvox.configuration import PixVoxConfig

_SIZES = {"codebook_size": 32_767, "codebook_nbits": 15, "frame_rate": 1_000}


def encodec_config(folder: Path) -> "EncodecConfig":
    """Returns an EnCodec's configuration; raises WeightsError if config.json is not one."""
    from transformers import EncodecConfig

    path = folder / "config.json"
    check_sizes(path, read_config(folder, "encodec"), _SIZES)
    with wrap_config_errors(path):
        config = EncodecConfig.from_pretrained(folder)
        check_sizes(path, {name: getattr(config, name) for name in _SIZES}, _SIZES)
        if not config.target_bandwidths:
            raise WeightsError(f"{path}: has no target_bandwidths; fetch it again")
        # The properties that pixvox.codec.seanet supports: all mono models have them, the 48 kHz
        # one not.
        usual = {"use_causal_conv": True, "norm_type": "weight_norm", "pad_mode": "reflect"}
        usual |= {"trim_right_ratio": 1.0, "normalize": False, "chunk_length_s": None}
        for name, value in usual.items():
            if getattr(config, name) != value:
                raise WeightsError(
                    f"{path}: {name} is {getattr(config, name)!r}; use a mono EnCodec such as the "
                    f"24 kHz one, of which it is {value!r}"
                )
        return config


class CodecFacts(NamedTuple):
    """Facts about a codec at a bandwidth; `frame_rate` is in Hz."""

    digest: str
    codebooks: int
    codebook_size: int
    frame_rate: int


def codec_facts(name: str, bandwidth: float) -> CodecFacts:
    """Returns a codec's digest and the form of its units at a bandwidth in kbps, without loading
    it.

    Raises WeightsError if the codec is missing, its config.json is not an EnCodec's, or it does not
    have this bandwidth.
    """
    if is_official(name):
        _check_offered(name, bandwidth, BANDWIDTHS)
        fingerprint = archive_digest(checkpoint_of(name))
        bits, size, frame_rate = CODEBOOK_BITS, 2**CODEBOOK_BITS, FRAME_RATE
    else:
        folder = resolve(name)
        fingerprint, config = digest(folder), encodec_config(folder)
        _check_offered(name, bandwidth, tuple(config.target_bandwidths))
        bits, size, frame_rate = config.codebook_nbits, config.codebook_size, config.frame_rate
    codebooks = int(bandwidth * 1000 // (bits * frame_rate))
    return CodecFacts(fingerprint, codebooks, size, frame_rate)


def _check_offered(name: str, bandwidth: float, offered: tuple[float, ...]) -> None:
    if bandwidth not in offered:
        raise WeightsError(f"{name} has no bandwidth {bandwidth} kbps; choose one of {offered}")


def fitting_codec(
    name: str, config: "PixVoxConfig", codec: str | None = None
) -> tuple[str, CodecFacts]:
    """Returns the codec of a PixVoxLM that is called `name`, and the facts about it.

    `codec` replaces its name. Raises WeightsError if it is not the codec whose units the model was
    trained on.
    """
    chosen = codec or config.codec
    facts = codec_facts(chosen, config.bandwidth)
    if facts.codebooks != config.num_codebooks:
        raise WeightsError(
            f"{name}: {config.num_codebooks} codebooks, but {chosen} has "
            f"{facts.codebooks} at {config.bandwidth} kbps; name the codec it was trained on"
        )
    if config.codec_digest and config.codec_digest != facts.digest:
        raise WeightsError(
            f"{name}: trained on the codec {config.codec_digest}, {chosen} is "
            f"{facts.digest}; name the codec it was trained on"
        )
    return chosen, facts
