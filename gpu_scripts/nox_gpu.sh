#!/usr/bin/env bash
# Run nox's GPU session on a GPU node that has no network access:
#
#   nox -s gpu --install-only      on the login node, once (uses the cluster's own PyTorch)
#   sbatch gpu_scripts/nox_gpu.sh  from the repository's root; the log is nox_gpu-JOB.out
#
# With EXPKIT_NO_VENV=1 nothing is installed: the current environment must have PyTorch,
# scikit-learn, pytest, hypothesis and all dependencies of the packages.
#SBATCH --job-name=expkit-nox-gpu
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=00:30:00
#SBATCH --output=nox_gpu-%j.out

set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}"

# Lines for your cluster go here, for example:
# module load python/3.11 pytorch
# source .venv/bin/activate

if [ "${EXPKIT_NO_VENV:-}" = 1 ]; then
    exec python -m nox --no-venv -s gpu
fi
exec python -m nox -R -s gpu
