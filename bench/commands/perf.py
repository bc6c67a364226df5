"""`pixvox perf`: measures decoding, transcribing, and two versions of pixvox on this machine."""

from argparse import Namespace

from bench.commands.arguments import IMAGES
from bench.commands.options import Parser, number, path, weights, whole

_ROUNDS = whole(1, 100_000)


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of the command."""
    commands = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    decode = commands.add_parser("decode", help="our engine, eager decoding, and the floor")
    decode.add_argument(
        "--weights",
        type=weights,
        default="zoo:pixvox-tiny-delay",
        help="or base, tiny: of that size, random",
    )
    decode.add_argument("--slots", type=whole(1, 4096), default=32)
    decode.add_argument("--seconds", type=number(0.1, 30), default=6.0, help="the longest speech")
    decode.add_argument("--images", type=IMAGES, default=200)
    decode.add_argument("--rounds", type=_ROUNDS, default=3, help="each method runs once a round")
    decode.add_argument(
        "--codebooks", type=whole(1, 64), default=8, help="K, where weights is base"
    )
    decode.add_argument("--save", type=path, help="write the figures as JSON")
    gpu = commands.add_parser(
        "gpu", help="whether a GPU computes what the CPU does, and how fast, in 8 minutes"
    )
    gpu.add_argument("--save", type=path, help="write the report as JSON, and Markdown beside it")
    transcribe = commands.add_parser(
        "transcribe", help="Whisper beside its floor, and what a shorter window changes"
    )
    transcribe.add_argument(
        "--weights",
        type=weights,
        nargs="*",
        default=["zoo:pixvox-tiny-delay", "zoo:pixvox-tiny-parallel"],
        help="the model whose speech is transcribed too (%(default)s)",
    )
    transcribe.add_argument("--images", type=IMAGES, default=200)
    transcribe.add_argument("--rounds", type=_ROUNDS, default=1)
    transcribe.add_argument("--save", type=path, help="write the figures as JSON")

    versions = commands.add_parser(
        "versions", help="whether this checkout decodes slower than another git revision"
    )
    versions.add_argument("--base", required=True, help="the git revision, such as origin/main")
    versions.add_argument("--weights", type=weights, default="zoo:pixvox-tiny-delay")


def run(args: Namespace) -> int:
    """Runs a measurement; the exit code of `versions` is that of its verdict."""
    from bench.common.errors import bad_input

    if args.what == "versions":
        from bench.commands.gate import code_of, print_findings
        from bench.gate.verdicts import overall
        from bench.perf.versions import compare_versions

        findings = compare_versions(args.base, args.weights)
        print_findings(findings)
        print(f"pixvox perf versions: {overall(findings).name}")
        return code_of(overall(findings))
    if args.what == "transcribe":
        from bench.perf import transcribe

        return transcribe.run(args.weights, args.images, args.rounds, args.save)
    if args.what == "gpu":
        from bench.perf import gpu

        return gpu.run(args.save)
    from bench.perf import decode

    plan = decode.DecodeOptions(
        weights=args.weights,
        slots=args.slots,
        images=args.images,
        seconds=args.seconds,
        rounds=args.rounds,
        codebooks=args.codebooks,
    )
    with bad_input():
        return decode.run(plan, args.save)
