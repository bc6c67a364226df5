#!/bin/sh
# For any CI, and this project's own: 0 unless the job got worse (1), could not run (2, 3), or nothing
# was there to judge it by (4). On another machine than the golden's outputs may differ by chance,
# and a gate that judged and cannot tell stops no merge. `gate/` gets JUnit, a comment, a badge.
set -eu
pixvox gate jobs/demo.yaml --any-machine --allow-inconclusive --budget 2m --out gate
