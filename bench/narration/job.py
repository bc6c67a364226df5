"""The schema of a narration's YAML file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from bench.common.bounds import Actors, Bandwidth
from bench.common.yamlfile import FilePath, Strict, WeightsName, read_small, validate
from bench.datasets.base import to_evaluate
from bench.datasets.shipped import AnyDataset
from bench.systems.voices import PIPER, VoiceName

Layout = Literal["flickr", "manifest"]
Captions = Annotated[int, Field(ge=1, le=1000, description="captions of an image")]


class NarrationJob(Strict):
    """Captions that a voice reads aloud, and the folder for their speech.

    Each key except `dataset` is also an option of `pixvox narrate`, which replaces the key.
    """

    dataset: Annotated[AnyDataset, AfterValidator(to_evaluate)]
    """Whose captions are read, as in a job file."""
    splits: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=100)], ...], Field(max_length=20)
    ] = ()
    """Several splits of the dataset; without any, the one that `dataset` names."""
    voice: VoiceName = PIPER
    """The voice, as in a job's `cascade`."""
    captions: Captions | None = None
    """Read only the first captions of each image; `null` for all."""
    codec: WeightsName | None = None
    """A codec, as a training's `codec`. Its units of the voice's samples are written to
    `units.npz`; `null` for none."""
    bandwidth: Bandwidth | None = None
    """That codec's bandwidth in kbps."""
    sound: bool = True
    """Whether the speech itself is written; `false` writes only units, which suffice for a
    training."""
    output: FilePath
    """The folder for speech, units and lists; captions with files there are not read again."""
    layout: Layout = "flickr"
    """`flickr`: as the Flickr Audio Caption Corpus; `manifest`: JSONL files for `name: folder`,
    with the images copied beside them."""
    workers: Actors = 0
    """How many processes read, with one thread each; 0 for one process a core."""
    address: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The address of a running Ray cluster, HOST:PORT or `auto`, if the command line gives none;
    `null` uses RAY_ADDRESS. Without both, or with `local`, Ray is started on this machine."""

    @model_validator(mode="after")
    def _check_units(self) -> "NarrationJob":
        if (self.codec is None) != (self.bandwidth is None):
            raise ValueError("codec and bandwidth belong together; name both, or neither")
        if self.codec is None and not self.sound:
            raise ValueError("without sound only units are written; name codec and bandwidth")
        return self


def read_job(path: Path, options: Mapping[str, Any]) -> NarrationJob:
    """Reads a narration's file; options of the command line replace its keys.

    `options` are keys of a NarrationJob, and `items` of its dataset; an option that is None was not
    given. Raises UserError naming all that is wrong.
    """
    from bench.common.strictyaml import MAX_BYTES, read_yaml

    content = read_yaml(read_small(path, MAX_BYTES), str(path))
    given = {key: value for key, value in options.items() if value is not None}
    items = given.pop("items", None)
    if isinstance(content, dict):
        content = content | given
        if items is not None and isinstance(content.get("dataset"), dict):
            content["dataset"] = content["dataset"] | {"items": items}
    job: NarrationJob = validate(content, NarrationJob, str(path))
    return job
