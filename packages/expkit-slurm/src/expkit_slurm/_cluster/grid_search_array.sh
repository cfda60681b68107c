#!/usr/bin/env bash
# One task of a grid search's array: what it asks of Slurm and its environment above, and as last
# line the command that it is given. Copy it to gpu_scripts/grid_search_array.sh and make it yours.
#
# A line counts when it begins with exactly one `#`. What hydra.launcher sets wins over it.
##SBATCH --partition=gpu
##SBATCH --gres=gpu:1
##SBATCH --cpus-per-task=4
##SBATCH --mem=16G
##SBATCH --time=04:00:00

# module load python/3.11 pytorch
# source .venv/bin/activate

# `exec` makes Python the batch process, so that Slurm's signals reach it. For several tasks per run:
# exec srun --cpus-per-task="$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=1 "$@"
exec "$@"
