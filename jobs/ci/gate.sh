#!/bin/sh
# For any CI: exits 1 on a regression, 3 where the run failed, 0 otherwise; `gate/` has JUnit and a comment.
set -eu
code=0
pixvox gate jobs/gate.yaml --any-machine --budget 15m --out gate || code=$?
case $code in
  4) echo "pixvox gate could not judge; see above" ;;
  *) exit "$code" ;;
esac
