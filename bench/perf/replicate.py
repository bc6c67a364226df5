"""One replicate of a speed comparison: a fresh process that decodes a few test pictures.

`python -m bench.perf.replicate WEIGHTS IMAGES` in a checkout prints one line of JSON. Counters are
functions of the code and the weights alone; seconds and memory are the machine's too.
"""

import json
import resource
import sys
import time


def replicate(weights: str, images: int) -> dict[str, float]:
    """Encodes and decodes the first shipped pictures, once to warm up and once measured."""
    import torch

    from bench.datasets.scenes.load import load_scenes
    from pixvox.decoding import Engine, Request
    from pixvox.images import load_image
    from pixvox.modeling import PixVoxLM
    from pixvox.sampling import Decoding
    from pixvox.weights import resolve

    model = PixVoxLM.from_pretrained(resolve(weights), dtype=torch.float32).eval()
    size = model.config.vision_config.image_size
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    model.vision.register_forward_hook(count)
    items = load_scenes(None).items[:images]
    engine = Engine(model, Decoding(temperature=0.5, max_seconds=4.0, slots=16))
    none = torch.zeros(model.config.num_codebooks, 0, dtype=torch.long)

    def once() -> tuple[float, int]:
        started = time.perf_counter()
        with torch.inference_mode():
            states = torch.cat(
                [model.encode_images(load_image(item.image, size)[None]) for item in items]
            )
        asked = [Request(item.id, number, none) for number, item in enumerate(items)]
        made = engine.generate(states, asked)
        return time.perf_counter() - started, sum(one.units.numel() for one in made)

    once()
    calls, before = 0, engine.steps_run
    seconds, tokens = once()
    return {
        "seconds": seconds,
        "decoder steps": engine.steps_run - before,
        "encoder calls": calls,
        "tokens": tokens,
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


if __name__ == "__main__":
    print(json.dumps(replicate(sys.argv[1], int(sys.argv[2]))))
