"""The content of `summary.json`: a run's protocol and job, every row of the tables, every cell."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bench.jobs.spec import Job
from bench.scoring.scorer import CellScores
from bench.tables.pooling import Row
from bench.tables.protocol import Protocol


def summary_of(
    job: Job, protocol: Protocol, rows: Sequence[Row], scores: Sequence[CellScores]
) -> dict[str, Any]:
    """Returns every cell, and every row of the tables, which pool seeds."""
    return {
        "protocol": asdict(protocol) | {"asr_label": job.asrs[0].label},
        "job": json.loads(job.model_dump_json()),
        "rows": [
            {
                "system": row.name,
                "role": row.cell.system.role,
                "prompt": row.cell.prompt,
                "part": row.cell.part,
                "seeds": len(row.cells),
                "cells": [cell_scores.cell.name for cell_scores in row.cells],
                "sampled": row.cell.system.sampled(),
                "scores": {name: asdict(interval) for name, interval in row.scores.items()},
                "n": row.asked,
                "failed": row.failed,
                "signature": asdict(row.signature),
            }
            for row in rows
        ],
        "cells": [
            {
                "system": s.cell.label,
                "role": s.cell.system.role,
                "pattern": s.cell.pattern,
                "prompt": s.cell.prompt,
                "part": s.cell.part,
                "asr": s.cell.asr.label if s.cell.asr else "",
                "cell": s.cell.name,
                "transcript_key": s.cell.transcript_key,
                "scores": {name: asdict(interval) for name, interval in s.scores.items()},
                "n": s.n,
                "failed": s.failed,
                "unended": s.unended,
                "kinds": s.kinds,
                "signature": asdict(s.signature),
            }
            for s in scores
        ],
    }
