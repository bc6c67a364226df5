#!/bin/sh
# Runs a job on the head node of a Ray cluster that is already there:
#   sh jobs/cluster/submit.sh http://HEAD:8265 jobs/table1.yaml /disk/of/the/head/runs
# The current folder is sent along (at most 500 MB) without data, results and a checkout's packages, of
# which the nodes have their own. Name data by their paths on the head node. Needs pip install 'ray[default]' here and on the head node.
set -eu
dashboard=${1:?the address of the dashboard, http://HEAD:8265}
job=${2:?a job file below the current folder}
runs=${3:?an absolute folder on the head node, which the next submission finds again}
shift 3
exec ray job submit --address "$dashboard" --working-dir . \
  --runtime-env-json '{"excludes": ["/results", "/work", "/data", "/.venv", "/.git", "/bench", "/pixvox"]}' \
  -- pixvox run "$job" --runs "$runs" "$@"
