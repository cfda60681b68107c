#!/usr/bin/env bash
# Your own batch script for one task of a grid search's array: first resources and environment,
# and on the last line the command that the script is given.
#SBATCH --job-name=grid-search
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append

# module load python/3.11 pytorch
# source .venv/bin/activate

# `exec` makes Python the batch process, so that Slurm's signals reach it.
exec "$@"
