"""The model that a PixVoxLM's training starts from: BLIP, an image encoder, or a PixVoxLM."""

from pathlib import Path
from typing import Any

import torch

from bench.training.spec import PixVoxJob
from pixvox.blip import from_blip
from pixvox.codec.encodec import Codec
from pixvox.codec.facts import fitting_codec
from pixvox.configfile import pixvox_config
from pixvox.configuration import PixVoxConfig
from pixvox.digests import WeightsError, digest
from pixvox.modeling import PixVoxLM
from pixvox.patternnames import fitted_name
from pixvox.shapes import check_fit, shapes_of, tensor_shapes
from pixvox.vision import load_vision, scaling_of
from pixvox.weights import resolve


def origin(job: PixVoxJob) -> str:
    """Returns the digest of the PixVoxLM that the job starts from; "" if there is none."""
    return digest(resolve(job.start_from)) if job.start_from is not None else ""


def new_model(job: PixVoxJob, codec: Codec) -> PixVoxLM:
    """Returns the model that the job starts from, for the codec's units.

    Raises WeightsError for weights that do not fit the job or its codec, and for a pattern of
    another number of codebooks.
    """
    try:
        pattern = fitted_name(job.pattern, codec.codebooks)
    except ValueError as error:
        raise WeightsError(str(error)) from error
    options: dict[str, Any] = {
        "pattern": pattern,
        "dropout": job.dropout,
        "codec": job.codec_name or job.codec,
        "codec_digest": codec.digest,
        "bandwidth": job.bandwidth,
        "num_codebooks": codec.codebooks,
        "codebook_size": codec.codebook_size,
        "frame_rate": codec.frame_rate,
        "max_position_embeddings": job.positions,
        "null_image": job.plan.image_dropout > 0,
    }
    torch.manual_seed(job.plan.seed)
    if job.blip is not None:
        return from_blip(job.blip, **options)
    if job.vision is None:
        return _continued(job, options)
    return _over_encoder(job.vision, job, options)


def trained_on(job: PixVoxJob) -> tuple[str, ...]:
    """Returns the datasets of a job's trained model, those of `start_from` first."""
    before = () if job.start_from is None else pixvox_config(resolve(job.start_from)).trained_on
    return tuple(dict.fromkeys([*before, job.data.title()]))


_DECODER_SIZES = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "layer_norm_eps",
    "head_transform",
)
"""The keys of a PixVoxLM's configuration that set its decoder's size."""
_OF_IMAGE_STATES = (".crossattention.key.", ".crossattention.value.", "null_image")
"""Parts of the names of weights whose shape depends on the image encoder."""


def _over_encoder(name: str, job: PixVoxJob, options: dict[str, Any]) -> PixVoxLM:
    """Returns a model over an image encoder, with a new decoder or that of `start_from`."""
    folder = resolve(name)
    vision, scaling = load_vision(folder), scaling_of(folder)
    options |= {
        "vision_config": vision.config,
        "image_size": scaling.size,
        "image_mean": scaling.mean,
        "image_std": scaling.std,
        "image_projection": job.image_projection,
    }
    start = None if job.start_from is None else resolve(job.start_from)
    if start is not None:
        before = pixvox_config(start)
        options |= {key: getattr(before, key) for key in _DECODER_SIZES}
    elif job.size is not None:
        options |= {
            "hidden_size": job.size.hidden,
            "num_hidden_layers": job.size.layers,
            "num_attention_heads": job.size.heads,
            "intermediate_size": 4 * job.size.hidden,
        }
    model = PixVoxLM(PixVoxConfig.tiny(**options))
    model.vision.load_state_dict(vision.state_dict())
    if start is not None:
        _copy_weights(model, start, before, but="vision.")
    return model.eval()


def changed(folder: Path, config: PixVoxConfig, seed: int, **changes: Any) -> PixVoxLM:
    """Returns a folder's PixVoxLM with changed values of its `config`, without a similarity head.

    Weights that the folder lacks are initialised from `seed`. Raises WeightsError where its weights
    are incomplete, or have other sizes than those of the changed model.
    """
    torch.manual_seed(seed)
    model = PixVoxLM(type(config).from_dict(config.to_dict() | changes))
    _copy_weights(model, folder, config, but="similarity_head.")
    return model.eval()


def _continued(job: PixVoxJob, options: dict[str, Any]) -> PixVoxLM:
    """Returns the PixVoxLM that the job names, to train it further."""
    assert job.start_from is not None
    folder = resolve(job.start_from)
    config = pixvox_config(folder)
    fitting_codec(job.start_from, config, job.codec)
    for key, own, asked in (
        ("pattern", config.pattern, options["pattern"]),
        ("bandwidth", config.bandwidth, job.bandwidth),
        ("positions", config.max_position_embeddings, job.positions),
    ):
        if own != asked:
            raise WeightsError(f"{job.start_from}: has {key} {own}, not {asked}; set {key}: {own}")
    options["null_image"] |= config.null_image
    return changed(folder, config, job.plan.seed, **options, similarity_size=0)


def _copy_weights(model: PixVoxLM, folder: Path, config: PixVoxConfig, but: str) -> None:
    """Copies weights of a folder's PixVoxLM into the model's parameters of the same names.

    Names that begin with `but` are left out, and so are the parameters that read image states
    where the image encoder has states of another size. Raises WeightsError for other shapes.
    """
    stored = tensor_shapes(folder)
    check_fit(folder, stored, shapes_of(PixVoxLM, config))
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    names = {name for name in stored if name in wanted and not name.startswith(but)}
    for name in sorted(names):
        if stored[name] != wanted[name]:
            if any(part in name for part in _OF_IMAGE_STATES):
                names.remove(name)
                continue
            raise WeightsError(
                f"{folder}: {name} is {stored[name]}, in the job's model {wanted[name]}; start "
                "from a model of its size"
            )
    before = PixVoxLM.from_pretrained(folder, dtype=torch.float32).state_dict()
    model.load_state_dict({name: before[name] for name in names}, strict=False)
