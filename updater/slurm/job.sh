#!/bin/bash
# One worker of an elfup farm, as a task of a Slurm array: makes its share of a release's jobs, then what others left.
# Wants REPO, PRODUCT and RELEASE, and for a bucket the AWS_* variables; see README.md beside it.
#SBATCH --job-name=elfup
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=elfup-%a.log
#SBATCH --cpus-per-task=1
#SBATCH --mem=900M
#SBATCH --signal=TERM@30

set -u
# Three quarters of what the task has: the rest is for what the process needs anyway.
memory=$((${SLURM_MEM_PER_NODE:-900} * 3 / 4))
exec "${ELFUP:-elfup}" --quiet farm work --repo "$REPO" --product "$PRODUCT" --channel "${CHANNEL:-stable}" \
    --arch "${ARCH:-$(uname -m)}" --release "$RELEASE" \
    --threads "${SLURM_CPUS_PER_TASK:-1}" --memory "$memory"
