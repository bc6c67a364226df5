"""`pixvox show model`: a model's sizes and parameter counts, beside the published ones."""

from argparse import Namespace

from rich.console import Console
from rich.table import Table

from bench.commands.options import Parser, weights
from bench.common.errors import bad_input
from pixvox.blip import blip_config, check_blip
from pixvox.card import PUBLISHED_TOTAL, PUBLISHED_TRAINABLE, Counts
from pixvox.configfile import pixvox_config, read_config
from pixvox.configuration import PixVoxConfig
from pixvox.modeling import PixVoxLM, count_config
from pixvox.shapes import check_fit, shapes_of, tensor_shapes
from pixvox.weights import resolve

_CODEBOOKS = (2, 4, 8, 16, 32)
"""K of EnCodec's 24 kHz model at 1.5, 3, 6, 12 and 24 kbps."""


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "weights",
        type=weights,
        help="base, tiny, zoo:NAME, a folder or a hub id; PixVoxLM's or BLIP's",
    )


def run(args: Namespace) -> int:
    """Prints sizes and parameter counts."""
    with bad_input():
        return info(args.weights)


def _config(name: str) -> PixVoxConfig:
    """Returns a model's configuration; raises WeightsError for damaged weights or wrong shapes."""
    if name in ("base", "tiny"):
        return PixVoxConfig.base() if name == "base" else PixVoxConfig.tiny()
    folder = resolve(name)
    if read_config(folder).get("model_type") == "pixvox":
        config = pixvox_config(folder)
        check_fit(folder, tensor_shapes(folder), shapes_of(PixVoxLM, config))
        return config
    config = blip_config(folder)
    check_blip(folder, config)
    return config


def _millions(number: float) -> str:
    return f"{number / 1e6:.2f}M"


def _against(counts: Counts) -> str:
    """Returns the distance from the published 125M of 211M, in per cent."""
    trained = 100 * (counts.decoder / PUBLISHED_TRAINABLE - 1)
    total = 100 * (counts.total / PUBLISHED_TOTAL - 1)
    return f"{trained:+.1f}% of 125M, {total:+.1f}% of 211M"


def info(name: str) -> int:
    """Prints one model's sizes and, at the paper's size, every K beside the published counts."""
    config = _config(name)
    counts = count_config(config)
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"{name}: {config.pattern} pattern, {config.num_codebooks} codebooks of "
        f"{config.codebook_size}, {config.frame_rate} frames/s ({config.codec})"
    )
    console.print(
        f"decoder: {config.num_hidden_layers} layers of {config.hidden_size}, "
        f"{config.num_attention_heads} heads, {config.max_position_embeddings} positions = "
        f"{config.max_position_embeddings / config.frame_rate:.2f} s in the parallel pattern"
    )
    console.print(
        f"image encoder: {config.vision_type}, {config.image_size} px, "
        f"{config.image_positions} states of {config.image_state_size}"
    )
    console.print(
        f"parameters: {_millions(counts.total)}; trained {_millions(counts.decoder)} with the "
        f"image encoder frozen ({_millions(counts.vision)}), all of them without"
    )
    if config.trained_on:
        console.print(f"trained on: {', '.join(config.trained_on)}", markup=False)
    if config.hidden_size == 768 and config.num_hidden_layers == 12:
        table = Table(title="K against the published 125M trained of 211M")
        for column in ("K", "trained", "total", "distance"):
            table.add_column(column, justify="left" if column == "distance" else "right")
        for number in _CODEBOOKS:
            changed = config.to_dict() | {"num_codebooks": number}
            counted = count_config(PixVoxConfig.from_dict(changed))
            table.add_row(
                str(number), _millions(counted.decoder), _millions(counted.total), _against(counted)
            )
        console.print(table)
    return 0
