"""`pixvox perf`: which measurement is meant."""

import argparse


def measure(arguments: argparse.Namespace) -> int:
    """Does what is asked; the exit code."""
    from bench.common.errors import bad_input

    if arguments.what == "transcribe":
        from bench.perf import transcribe

        return transcribe.run(arguments.weights, arguments.images, arguments.rounds, arguments.save)
    if arguments.what == "gpu":
        from bench.perf import gpu

        return gpu.run(arguments.save)
    from bench.perf import decode

    plan = decode.DecodeOptions(
        arguments.weights,
        arguments.slots,
        arguments.images,
        arguments.seconds,
        arguments.rounds,
        codebooks=arguments.codebooks,
    )
    with bad_input():
        return decode.run(plan, arguments.save)
