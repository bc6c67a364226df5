"""Measured rows in the format of the Hugging Face hub: the evaluation results of a model card."""

from collections.abc import Sequence
from typing import Any

from bench.common.text import clean
from bench.tables.pooling import Row
from bench.tables.protocol import Protocol


def model_index(competing: Sequence[Row], protocol: Protocol) -> str:
    """Returns `model-index` of rows in YAML, for a model card's front matter."""
    import yaml
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    entries: list[dict[str, Any]] = []
    for row in competing:
        name = clean(row.label) + (f" at {row.cell.prompt:.0%}" if row.cell.prompt else "")
        results = [
            EvalResult(
                task_type="image-to-speech",
                task_name="Image-to-speech captioning",
                dataset_type=protocol.dataset,
                dataset_name=protocol.data,
                dataset_split=protocol.split,
                dataset_revision=protocol.dataset_digest,
                metric_type=score.hub or score.name.lower(),
                metric_name=score.name,
                metric_value=round(row.scores[score.name].score, 4),
                metric_config=row.signature.text(score.name),
            )
            for score in row.counted.scores
        ]
        entries += eval_results_to_model_index(name, results)
    return yaml.safe_dump({"model-index": entries}, sort_keys=False, allow_unicode=True)
