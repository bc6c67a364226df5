"""Loads a job's dataset: reads it, selects the items that the job names, computes its digest."""

from dataclasses import replace
from pathlib import Path

from bench.common.errors import UserError
from bench.common.plugins import identity
from bench.datasets.base import SUBSET, Dataset, DatasetSpec, digest_of, text_lines
from pixvox.plugins import DATASETS


def load_dataset(spec: DatasetSpec) -> Dataset:
    """Returns the dataset that a job names; raises UserError for files that cannot be used."""
    dataset = spec.read()
    if spec.items is not None:
        dataset = select_items(dataset, spec.items)
    plugin = identity(DATASETS, spec.name)
    return replace(dataset, digest=digest_of(dataset.items), plugin=plugin)


def select_items(dataset: Dataset, listing: Path) -> Dataset:
    """Returns the dataset with only the items that a file lists, in the split's order.

    Each line of the file is an item's id or the file name of its image. Raises UserError with the
    number of a line that names no item, several items, or an item that an earlier line named.
    """
    numbers: dict[str, list[int]] = {}
    for number, item in enumerate(dataset.items):
        for name in {item.id, item.image.name}:
            numbers.setdefault(name, []).append(number)
    reasons = dict(dataset.unusable)
    lines: dict[int, int] = {}
    for line, text in enumerate(text_lines(listing), 1):
        name, at = text.strip(), f"{listing}:{line}"
        if not name:
            continue
        matches = numbers.get(name, [])
        if not matches:
            why = f" that can be scored: {reasons[name]}" if name in reasons else ""
            where = f"{dataset.name} {dataset.split}"
            raise UserError(f"{at}: {name[:80]} is no item of {where}{why}; remove the line")
        if len(matches) > 1:
            raise UserError(f"{at}: {name[:80]} names {len(matches)} items; name one by its id")
        if matches[0] in lines:
            first = lines[matches[0]]
            raise UserError(f"{at}: {name[:80]} is on line {first} already; remove one")
        lines[matches[0]] = line
    if not lines:
        raise UserError(f"{listing}: names no item; write an id or image name on each line")
    if len(lines) == len(dataset.items):
        return dataset
    items = tuple(dataset.items[number] for number in sorted(lines))
    standing = tuple(dict.fromkeys([SUBSET, *dataset.standing]))
    # Unusable entries of the whole split are not part of the selection.
    return replace(dataset, items=items, unusable=(), standing=standing, whole=dataset.of)
