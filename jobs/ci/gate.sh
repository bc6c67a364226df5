#!/bin/sh
# For any CI, and this project's own. Exits with 0, or with 1 if the job got worse, 2 or 3 if it could not
# run, and 4 without a suitable golden. On another machine than the golden's, outputs may differ by
# chance, so INCONCLUSIVE exits with 0. Writes JUnit, a comment and a badge to `gate/`.
set -eu
pixvox gate jobs/demo.yaml --any-machine --allow-inconclusive --budget 2m --out gate
