"""Image states in groups are those of each image alone, and files are loaded in their order."""

from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from pixvox.imagegroups import encode_in_groups, load_images
from pixvox.images import ImageError
from pixvox.modeling import PixVoxLM

Make = Callable[[str], PixVoxLM]


def test_a_state_does_not_depend_on_how_many_images_there_are(small_model: Make) -> None:
    model = small_model("delay")
    images = list(torch.randn(7, 3, 32, 32, generator=torch.manual_seed(0)))
    cpu = torch.device("cpu")

    def encode(pictures: list[torch.Tensor], group: int | None) -> torch.Tensor:
        return encode_in_groups(
            model.encode_images, pictures, cpu, arithmetic="float32", group=group
        )

    with torch.inference_mode():
        alone = torch.cat([model.encode_images(image[None]) for image in images])
    assert torch.equal(encode(images, None), alone)
    together = encode(images, 4)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert torch.equal(encode(images[4:5], 4), together[4:5])
    rounded = encode_in_groups(model.encode_images, images, cpu, arithmetic="bfloat16", group=4)
    torch.testing.assert_close(rounded, alone, rtol=0, atol=0.1)
    # A feature map comes out of an operation that autocast computes in bfloat16.
    convolution = torch.nn.Conv2d(3, 8, 4)
    states = encode_in_groups(convolution, images, cpu, arithmetic="bfloat16", group=4)
    assert states.dtype == torch.float32


def test_files_beside_a_gpu_are_loaded_in_order(small_model: Make, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(6)]
    for number, file in enumerate(files):
        Image.new("RGB", (40, 40), (40 * number, 0, 0)).save(file)
    files[3].write_bytes(b"no picture")
    scaling = small_model("delay").config.scaling
    alone = load_images(files, scaling, torch.device("cpu"))
    beside = load_images(files, scaling, torch.device("cuda"))
    assert [isinstance(first, ImageError) for first in beside] == [n == 3 for n in range(6)]
    for first, other in zip(alone, beside, strict=True):
        assert isinstance(first, ImageError) or torch.equal(first, other)  # type: ignore[arg-type]
