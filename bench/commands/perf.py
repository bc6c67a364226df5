"""`pixvox perf`: which measurement is meant."""

import argparse


def measure(arguments: argparse.Namespace) -> int:
    """Does what is asked; the exit code."""
    from bench.common.errors import bad_input

    if arguments.what == "scheduler":
        from bench.perf import scheduler

        return scheduler.run(arguments.items, arguments.transcribers, arguments.save)
    if arguments.what == "pipeline":
        from bench.perf import pipeline

        return pipeline.run(arguments.items, arguments.save)
    if arguments.what == "scoring":
        from bench.perf import scoring

        return scoring.run(arguments.job, arguments.variants, arguments.save)
    if arguments.what == "audit":
        from bench.perf import audit

        return audit.run(arguments.job, arguments.limit, arguments.save)
    if arguments.what == "gate":
        from bench.selfcheck import gates

        stored = (arguments.golden, arguments.speed)
        return gates.run(*stored, arguments.gates, arguments.items, arguments.save)
    if arguments.what == "speed":
        from bench.selfcheck import gates

        return gates.measure_speed(arguments.weights, arguments.rounds, arguments.save)
    if arguments.what == "units":
        from bench.perf import units

        return units.run(arguments.images, arguments.save)
    if arguments.what == "published":
        from bench.selfcheck import published

        return published.run(arguments.job, arguments.save)
    if arguments.what == "references":
        from bench.selfcheck import stock

        return stock.run(arguments.job, arguments.save)
    if arguments.what == "statistics":
        from bench.selfcheck import rates as statistics

        sizes = (arguments.splits, arguments.items, arguments.replicates)
        return statistics.run(*sizes, arguments.job, arguments.save)
    if arguments.what == "transcribe":
        from bench.perf import transcribe

        return transcribe.run(arguments.weights, arguments.images, arguments.rounds, arguments.save)
    if arguments.what == "report":
        from bench.perf import page

        return page.run(arguments.items, arguments.cells, arguments.rounds, arguments.save)
    if arguments.what == "screenshots":
        from bench.perf import screenshots

        return screenshots.run(arguments.page, arguments.folder, arguments.item)
    with bad_input():
        return _decoding(arguments)


def _decoding(arguments: argparse.Namespace) -> int:
    if arguments.what == "decode":
        from bench.perf import decode

        plan = decode.DecodeOptions(
            arguments.weights,
            arguments.slots,
            arguments.images,
            arguments.seconds,
            arguments.rounds,
            codebooks=arguments.codebooks,
        )
        return decode.run(plan, arguments.save)
    from bench.perf import invariance

    return invariance.run(
        invariance.InvarianceOptions(
            arguments.weights,
            arguments.slots,
            arguments.images,
            arguments.seconds,
            arguments.temperature,
            arguments.guidance,
            arguments.candidates,
            arguments.arithmetic,
        ),
        arguments.save,
    )
