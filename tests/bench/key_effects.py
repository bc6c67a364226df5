"""Every key of a job file, another value of it, and what has to differ then.

`EFFECTS` has a line for every key of every mapping that a job may hold: the mapping that has the
key, the key's other value, and the view of the job that has to differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.metrics.base import Array, Hypotheses, Metric, References, Score

PIXVOX = {"kind": "pixvox", "label": "delay", "weights": "zoo:pixvox-tiny-delay"}
DRAWING = PIXVOX | {"decoding": {"temperature": 0.5}}
RETRIEVAL = {
    "kind": "retrieval",
    "label": "retrieval",
    "data": {"name": "folder", "manifest": "data.jsonl"},
    "vision": "zoo:pixvox-tiny-delay",
}
CONSENSUS = RETRIEVAL | {"choose": "consensus-words"}
CODEC = {"codec": "codec", "bandwidth": 1.6}
UNITS = {"kind": "units", "label": "units", "file": "units.parquet", **CODEC}
PYTHON = {"kind": "python", "label": "own", "entry": "transcripts:transcribed"}
WAVS = {"kind": "wavs", "label": "files", "folder": "wavs"}
NOISY = {"kind": "noisy", "snr": [0.0, 10.0]}
RESYNTHESIS = {"kind": "resynthesis", **CODEC}
PROMPT = {"kind": "prompt", **CODEC}
HTTP = {"kind": "http", "label": "service", "url": "http://localhost:1/speak"}
CASCADE = {"kind": "cascade", "label": "cascade", "weights": "zoo:blip-captioner-tiny"}
OWN_ASR = {"backend": "transcripts:transcribed"}
CTC = {"backend": "transformers-ctc", "model": "model"}
FASTER = {"backend": "faster-whisper", "model": "model"}
WHISPER = {"backend": "openai-whisper", "model": "whisper.pt"}
FLICKR = {"name": "flickr8k", "root": "flickr8k", "audio": "flickr_audio"}
FOLDER = {"name": "folder", "manifest": "data.jsonl"}
KARPATHY = {"name": "karpathy", "file": "karpathy.json", "images": "images"}
COCO = {"name": "spokencoco", "file": "coco.json", "images": "images", "audio": "wavs"}
SCENES = {"name": "scenes", "folder": "scenes"}


class WordCount(Metric):
    """A metric of a user's own: words per item."""

    name = "words"
    columns = ("words", "items")
    scores = (Score("word count", "WC"),)

    def statistics(self, hypotheses: Hypotheses, references: References) -> Array:
        rows = [(len(text.split()), 1) for text in hypotheses.values()]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def score(self, sums: Array) -> Array:
        return sums[..., :1] / np.maximum(sums[..., 1:], 1)


@dataclass(frozen=True)
class Effect:
    """A mapping that has a key, the key's other value, and the name of the view that differs."""

    mapping: Mapping[str, Any]
    value: Any
    view: str


def _each(model: str, mapping: Mapping[str, Any], /, **keys: tuple[Any, str]) -> dict[str, Effect]:
    return {f"{model}.{key}": Effect(mapping, *change) for key, change in keys.items()}


LABELLED = ("another name", "names")
TRAINED = ("on something", "names")
EFFECTS: dict[str, Effect] = {
    **_each(
        "Job",
        {},
        dataset=(KARPATHY, "data"),
        limit=(1, "plan"),
        caption=(1, "speech"),
        systems=([{"kind": "silence"}], "speech"),
        grid=({"exclude": [{"system": "recorded speech"}]}, "speech"),
        asr=(OWN_ASR, "transcripts"),
        parts=(["whole", "continuation"], "transcripts"),
        scoring=({"confidence": 0.9}, "scored"),
        cluster=({"transcribers": 3}, "actors"),
        tables=(["table2"], "scored"),
    ),
    **_each(
        "ScoringSpec",
        {},
        references=("all", "scored"),
        normaliser=("whisper", "scored"),
        metrics=(["key_effects:WordCount"], "scored"),
        replicates=(150, "scored"),
        confidence=(0.9, "scored"),
        seed=(1, "scored"),
    ),
    **_each(
        "ClusterSpec",
        {},
        generators=(3, "actors"),
        transcribers=(3, "actors"),
    ),
    **_each("ScenesSpec", SCENES, folder=("more-scenes", "data"), items=("items.txt", "data")),
    **_each("ScenesSpec", SCENES, train_images=(3, "refused"), validation_images=(3, "refused")),
    **_each("ScenesSpec", SCENES, seed=(3, "refused")),
    **_each(
        "Flickr8kSpec",
        FLICKR,
        root=("more-flickr8k", "data"),
        audio=(None, "data"),
        split=("train", "data"),
        items=("items.txt", "data"),
        folder=("computed", "refused"),
    ),
    **_each(
        "FolderSpec",
        FOLDER,
        manifest=("more.jsonl", "data"),
        items=("items.txt", "data"),
        validation=("more.jsonl", "refused"),
        folder=("computed", "refused"),
    ),
    **_each(
        "SpokenCocoSpec",
        COCO,
        file=("more-coco.json", "data"),
        images=("more-images", "data"),
        audio=("more-wavs", "data"),
        items=("items.txt", "data"),
        validation=("more-coco.json", "refused"),
        folder=("computed", "refused"),
    ),
    **_each(
        "KarpathySpec",
        KARPATHY,
        file=("more-karpathy.json", "data"),
        images=("more-images", "data"),
        audio=("flickr_audio", "data"),
        split=("val", "data"),
        items=("items.txt", "data"),
        folder=("computed", "refused"),
    ),
    **_each("TextSystem", {"kind": "text"}, label=LABELLED),
    **_each("CopiedSystem", {"kind": "copied"}, label=LABELLED, share=(0.3, "speech")),
    **_each("RecordedSystem", {"kind": "recorded"}, label=LABELLED),
    **_each("SilenceSystem", {"kind": "silence"}, label=LABELLED, seconds=(2.0, "speech")),
    **_each(
        "NoiseSystem",
        {"kind": "noise"},
        label=LABELLED,
        seconds=(2.0, "speech"),
        level=(-20.0, "speech"),
        seed=(1, "speech"),
    ),
    **_each("NoisySystem", NOISY, label=LABELLED, snr=([5.0], "speech"), seed=(1, "speech")),
    **_each(
        "ResynthesisSystem",
        RESYNTHESIS,
        label=LABELLED,
        codec=("zoo:encodec-tiny", "speech"),
        bandwidth=(0.8, "speech"),
    ),
    **_each(
        "PromptSystem",
        PROMPT,
        label=LABELLED,
        codec=("zoo:encodec-tiny", "speech"),
        bandwidth=(0.8, "speech"),
        prompts=([0.4], "speech"),
    ),
    **_each(
        "ShuffledSystem",
        {"kind": "shuffled"},
        label=LABELLED,
        of=("recorded speech", "speech"),
        seed=(1, "speech"),
    ),
    **_each(
        "WavsSystem",
        WAVS,
        label=LABELLED,
        folder=("more-wavs", "speech"),
        file=("{id}.flac", "speech"),
        mapping=("mapping.csv", "speech"),
        training=TRAINED,
    ),
    **_each(
        "UnitsSystem",
        UNITS,
        label=LABELLED,
        file=("more-units.parquet", "speech"),
        codec=("zoo:encodec-tiny", "speech"),
        bandwidth=(0.8, "speech"),
        training=TRAINED,
    ),
    **_each(
        "PythonSystem",
        PYTHON,
        label=LABELLED,
        entry=("pages:finished_run", "speech"),
        options=({"size": 3}, "speech"),
        version=("2", "speech"),
        training=TRAINED,
    ),
    **_each(
        "PixVoxSystem",
        PIXVOX,
        label=LABELLED,
        weights=("zoo:pixvox-tiny-parallel", "speech"),
        codec=("same-codec", "weights"),
        pattern=("parallel", "refused"),
        prompts=([0.5], "speech"),
        decoding=({"temperature": 0.7}, "speech"),
    ),
    **_each(
        "DecodingSpec",
        {"temperature": 0.5},
        temperature=(0.7, "speech"),
        top_k=(3, "speech"),
        top_p=(0.5, "speech"),
        guidance=(2.0, "speech"),
        longest_run=(3, "speech"),
        candidates=(2, "speech"),
        seed=(1, "speech"),
        max_seconds=(3.0, "speech"),
        slots=(8, "speech"),
        lanes=(2, "speech"),
        arithmetic=("bfloat16", "speech"),
    ),
    **_each(
        "CascadeSystem",
        CASCADE,
        label=LABELLED,
        weights=("model", "speech"),
        beams=(2, "speech"),
        training=TRAINED,
        voice=("model", "speech"),
    ),
    **_each("CascadeSystem", CASCADE | CODEC, codec=("zoo:encodec-tiny", "speech")),
    **_each("CascadeSystem", CASCADE | CODEC, bandwidth=(0.8, "speech")),
    **_each(
        "HttpSystem",
        HTTP,
        label=LABELLED,
        url=("http://localhost:2/speak", "speech"),
        api=("openai-chat", "speech"),
        model=("another", "speech"),
        voice=("another", "speech"),
        instruction=("Describe it.", "speech"),
        version=("2", "speech"),
        training=TRAINED,
    ),
    **_each("OracleSystem", {"kind": "oracle"}, label=LABELLED, seed=(1, "speech")),
    **_each("OracleSystem", {"kind": "oracle"}, voice=("model", "speech")),
    **_each("OracleSystem", {"kind": "oracle"} | CODEC, codec=("zoo:encodec-tiny", "speech")),
    **_each("OracleSystem", {"kind": "oracle"} | CODEC, bandwidth=(0.8, "speech")),
    **_each(
        "RetrievalSystem",
        RETRIEVAL,
        label=LABELLED,
        data=({"name": "folder", "manifest": "more.jsonl"}, "speech"),
        vision=("zoo:pixvox-tiny-parallel", "speech"),
        choose=("consensus-words", "speech"),
        seed=(1, "speech"),
    ),
    **_each("RetrievalSystem", CONSENSUS, neighbours=(3, "speech")),
    **_each("RetrievalSystem", RETRIEVAL | CODEC, codec=("zoo:encodec-tiny", "speech")),
    **_each("RetrievalSystem", RETRIEVAL | CODEC, bandwidth=(0.8, "speech")),
    **_each(
        "WhisperAsr",
        WHISPER,
        model=("more-whisper.pt", "transcripts"),
        batch=(4, "transcripts"),
        beam_size=(2, "transcripts"),
        arithmetic=("float16", "transcripts"),
        window=("adaptive", "transcripts"),
    ),
    **_each(
        "FasterAsr",
        FASTER,
        model=("more-model", "transcripts"),
        batch=(4, "transcripts"),
        beam_size=(2, "transcripts"),
        arithmetic=("float16", "transcripts"),
    ),
    **_each(
        "CtcAsr",
        CTC,
        model=("more-model", "transcripts"),
        batch=(4, "transcripts"),
        beam_size=(2, "refused"),
        arithmetic=("float16", "transcripts"),
    ),
    **_each(
        "OwnAsr",
        OWN_ASR,
        backend=("pages:finished_run", "transcripts"),
        batch=(4, "transcripts"),
        options=({"size": 3}, "transcripts"),
        version=("2", "transcripts"),
    ),
    **_each(
        "Grid",
        {},
        prompt=([0.3], "speech"),
        seed=([0, 1], "speech"),
        temperature=([0.7], "speech"),
        top_k=([3], "speech"),
        top_p=([0.5], "speech"),
        guidance=([2.0], "speech"),
        longest_run=([3], "speech"),
        candidates=([2], "speech"),
        bandwidth=([0.8], "speech"),
        snr=([5.0], "speech"),
        include=([{"system": "delay", "seed": 3}], "speech"),
        exclude=([{"system": "delay"}], "speech"),
    ),
    **_each(
        "Point",
        {"system": "delay", "seed": 9},
        system=("delay too", "speech"),
        prompt=(0.3, "speech"),
        seed=(3, "speech"),
        temperature=(0.7, "speech"),
        top_k=(3, "speech"),
        top_p=(0.5, "speech"),
        guidance=(2.0, "speech"),
        longest_run=(3, "speech"),
        candidates=(2, "speech"),
        asr=("openai-whisper whisper.pt", "refused"),
    ),
    **_each("Point", {"system": "resynthesis", "bandwidth": 0.8}, bandwidth=(0.4, "speech")),
    **_each("Point", {"system": "speech in noise", "snr": 5.0}, snr=(6.0, "speech")),
}

WITHOUT_LINE = {
    "Job.name": "names the run's folder: tests/bench/test_run.py",
    "ClusterSpec.address": "needs a running Ray cluster: tests/bench/test_cluster.py",
    "ClusterSpec.latency_items": "changes batches alone: tests/bench/test_run.py, test_costs.py",
    "ClipSettings.model": "decides scores and signature: tests/bench/test_clip.py",
    "SpeakerSettings.voice": "decides scores and signature: tests/bench/test_speaker.py",
    "SpiceSettings.corenlp": "needs a program of the user's: tests/bench/test_spice.py",
    "SpiceSettings.java": "needs a program of the user's: tests/bench/test_spice.py",
    "ClusterSpec.deadline_seconds": "needs an actor that hangs: tests/faults/test_chaos.py",
    **dict.fromkeys(
        (
            "HttpSystem.token",
            "HttpSystem.concurrency",
            "HttpSystem.requests_per_minute",
            "HttpSystem.timeout_seconds",
            "HttpSystem.tries",
            "HttpSystem.price",
        ),
        "change how a service is asked, not its speech: tests/bench/test_http.py",
    ),
    **dict.fromkeys(
        (
            *("Job.tracking", "MlflowTracker.uri", "MlflowTracker.experiment"),
            *("WandbTracker.project", "WandbTracker.entity", "WandbTracker.mode"),
        ),
        "sends scores elsewhere and changes none: tests/bench/test_tracking.py",
    ),
}
"""Keys whose effect cannot be seen here, each with the reason."""
CHOOSERS = ("kind", "name", "backend")
"""Keys that choose which mapping it is; another mapping has lines of its own."""
