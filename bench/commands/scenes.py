"""`pixvox scenes`: builds a split of the scenes dataset."""

from argparse import Namespace

from bench.commands.arguments import IMAGES, SEED
from bench.commands.options import Parser, name, number, path, weights


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("folder", type=path)
    parser.add_argument("--split", type=name, default="test")
    parser.add_argument("--images", type=IMAGES, default=200)
    parser.add_argument("--seed", type=SEED, default=0)
    parser.add_argument("--lossy", action="store_true", help="speech as Opus instead of PCM")
    parser.add_argument(
        "--units",
        type=weights,
        metavar="CODEC",
        help="also store this codec's units of the speech before it is stored",
    )
    parser.add_argument("--bandwidth", type=number(0.1, 100), help="that codec's, in kbps")


def run(args: Namespace) -> int:
    """Builds the pictures, captions and speech, and the units if a codec is named."""
    from bench.common.errors import UserError
    from bench.common.progress import progress
    from bench.datasets.scenes.build import SplitPlan, build_split

    if args.units is not None and args.bandwidth is None:
        raise UserError("--units needs --bandwidth, the codec's in kbps")
    plan = SplitPlan(split=args.split, images=args.images, seed=args.seed, lossy=args.lossy)
    with progress() as report:
        for done in build_split(plan, args.folder):
            report("scenes", done, plan.images)
        if args.units is not None:
            from bench.datasets.scenes.units import build_units

            for done, total in build_units(args.folder, args.units, args.bandwidth):
                report("units", done, total)
    return 0
