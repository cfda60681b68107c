"""The one public error of expkit-slurm."""


class SlurmError(RuntimeError):
    """What Slurm did not do, in one text: the fact, the near match, the next step."""
