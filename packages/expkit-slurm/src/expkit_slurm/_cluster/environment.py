"""What jobs and Slurm's commands inherit of this process's environment."""

from collections.abc import Mapping

# How a client finds its cluster, and identifies its user where there is no munge.
_CLIENT_SETTINGS = frozenset(("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT"))
# Who pays and where it runs: sites let users set these in their shell's profile, and Slurm never
# sets them in a job. A `#SBATCH` line yields to them, as it does when the user types sbatch.
_SITE_DEFAULTS = frozenset(
    ("SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_QOS", "SBATCH_RESERVATION")
)
# Facts of the job, the rank or the run that this process is. SQUEUE_STATES and its like filter
# what a command prints, and SCANCEL_* which jobs it reaches: tasks would look gone.
_PREFIXES = (
    *("SLURM_", "SLURMD_", "SBATCH_", "SALLOC_", "SRUN_", "SUBMITIT_"),
    *("SQUEUE_", "SCANCEL_", "SACCT_", "SINFO_", "SCONTROL_"),
    *("PMI_", "PMI2_", "PMIX_", "OMPI_COMM_WORLD_", "TORCHELASTIC_"),
)
_NAMES = frozenset(
    (
        *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK"),
        *("GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_RANK", "ROLE_WORLD_SIZE", "ROLE_NAME"),
        *("MASTER_ADDR", "MASTER_PORT"),
        *("MLFLOW_RUN_ID", "MLFLOW_RUN_NAME", "MLFLOW_PARENT_RUN_ID"),
        *("MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"),
        *("EXPKIT_GRID", "EXPKIT_RUN"),
    )
)
# The GPUs of a surrounding job; outside of one they are the user's own choice.
_DEVICES = frozenset(("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"))


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What jobs and Slurm's commands inherit: all except what describes this process itself.

    A grid may be submitted from inside a job, a notebook on a node or an MLflow run. Its tasks
    must not take that job's size, rank, GPUs or run for their own.

    Examples:
        >>> clean_environment({"HOME": "/home/me", "SLURM_JOB_ID": "7", "SLURM_CONF": "/etc/x"})
        {'HOME': '/home/me', 'SLURM_CONF': '/etc/x'}
    """
    kept = _CLIENT_SETTINGS | _SITE_DEFAULTS
    dropped = _NAMES | (_DEVICES if "SLURM_JOB_ID" in environ else frozenset())
    return {
        name: value
        for name, value in environ.items()
        if name in kept or not (name in dropped or name.startswith(_PREFIXES))
    }
