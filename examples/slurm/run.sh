#!/usr/bin/env bash
# A whole run of a large data set on a Slurm cluster: the cases on many machines, the fits on four GPUs.
#
#   LABELS=/data/cardiac/labels OUT=/scratch/$USER/repaired bash examples/slurm/run.sh
#
# Both folders must be on a disk that all machines share. An interrupted job continues when it is submitted again.
set -euo pipefail
: "${LABELS:?the folder of label maps}" "${OUT:?the folder for the result}"
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

first=$(sbatch --parsable "$here/cases.sbatch" prepare "$LABELS" "$OUT")
fitted=$(sbatch --parsable --dependency=afterok:"$first" "$here/fit.sbatch" fit "$LABELS" "$OUT")
fused=$(sbatch --parsable --dependency=afterok:"$fitted" "$here/cases.sbatch" fuse "$LABELS" "$OUT")
sbatch --dependency=afterok:"$fused" "$here/fit.sbatch" unify "$LABELS" "$OUT"
