#!/bin/sh
# Generates everything that ships: the test split, the codec, the image encoder, the captioner, both PixVoxLMs.
# Every step resumes where it stopped. Run from the repository's root, or by `make zoo`.
set -eu
PATH="$PWD/.venv/bin:$PATH"

pixvox scenes bench/datasets/scenes/test --split test --images 200 --lossy
for model in encodec-tiny blip-vision-tiny blip-captioner-tiny pixvox-tiny-parallel pixvox-tiny-delay; do
  pixvox train "jobs/train/$model.yaml"
done
# The cards that ship are written by hand.
for model in encodec-tiny blip-captioner-tiny pixvox-tiny-parallel pixvox-tiny-delay; do
  mkdir -p "pixvox/zoo/$model"
  rm -f "work/zoo/$model/README.md"
  cp "work/zoo/$model/"* "pixvox/zoo/$model/"
done
pixvox scenes bench/datasets/scenes/test --split test --images 200 --lossy \
  --units zoo:encodec-tiny --bandwidth 1.6
