"""What a run asks of Slurm: submitit's names for it, as the options of sbatch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches

from .errors import SlurmError

Options = tuple[tuple[str, str | None], ...]
"""Long names of sbatch's options and their values, sorted; a flag's value is None."""

# The arguments of submitit 1.5's SlurmExecutor that say what a job gets; a test compares them.
RESOURCES = (
    "account", "additional_parameters", "comment", "constraint", "cpus_per_gpu", "cpus_per_task",
    "dependency", "exclude", "exclusive", "gpus_per_node", "gpus_per_task", "gres", "mail_type",
    "mail_user", "mem", "mem_per_cpu", "mem_per_gpu", "nodelist", "nodes", "partition", "qos",
    "time",
)  # fmt: skip
ADDITIONAL = "additional_parameters"

# sbatch --help of Slurm 22.05, and the manual's additions up to 25.05. Flags that may also take a
# value (--exclusive=user) take it only after `=`.
_FLAGS = """
consolidate-segments contiguous exclusive external get-user-env help hold ignore-pbs nice no-kill
no-requeue overcommit oversubscribe parsable propagate quiet reboot requeue resv-ports spread-job
spread-segments stepmgr test-only usage use-min-nodes verbose version wait
"""
_OTHERS = """
account acctg-freq array batch bb bbf begin chdir cluster-constraint clusters comment constraint
container container-id core-spec cores-per-socket cpu-freq cpus-per-gpu cpus-per-task deadline
delay-boot dependency distribution error exclude export export-file extra extra-node-info gid
gpu-bind gpu-freq gpus gpus-per-node gpus-per-socket gpus-per-task gres gres-flags hint input
job-name kill-on-invalid-dep licenses mail-type mail-user mcs-label mem mem-bind mem-per-cpu
mem-per-gpu mincpus network nodefile nodelist nodes ntasks ntasks-per-core ntasks-per-gpu
ntasks-per-node ntasks-per-socket oom-kill-step open-mode output partition power prefer priority
profile qos reservation segment signal sockets-per-node switches thread-spec threads-per-core time
time-min tmp tres-bind tres-per-task uid wckey wrap
"""
FLAGS = frozenset(_FLAGS.split())
SBATCH_OPTIONS = FLAGS | frozenset(_OTHERS.split())
_SHORT = {
    "A": "account", "B": "extra-node-info", "C": "constraint", "D": "chdir", "F": "nodefile",
    "G": "gpus", "H": "hold", "J": "job-name", "L": "licenses", "M": "clusters", "N": "nodes",
    "O": "overcommit", "Q": "quiet", "S": "core-spec", "V": "version", "W": "wait", "a": "array",
    "b": "begin", "c": "cpus-per-task", "d": "dependency", "e": "error", "h": "help",
    "i": "input", "k": "no-kill", "m": "distribution", "n": "ntasks", "o": "output",
    "p": "partition", "q": "qos", "s": "oversubscribe", "t": "time", "u": "usage",
    "v": "verbose", "w": "nodelist", "x": "exclude",
}  # fmt: skip

_OURS = {
    "array": "a run is a task of an array; array_parallelism says how many run at a time",
    "chdir": "a run works in the folder where the grid was submitted",
    "clusters": "squeue and scancel ask this cluster alone",
    "error": "each task has a log, which `expkit logs` shows",
    "help": "it submits nothing",
    "job-name": "an interrupted submission is found again by it",
    "ntasks": "tasks_per_run says how many processes a run has",
    "open-mode": "a run that is requeued continues its log",
    "output": "each task has a log, which `expkit logs` shows",
    "parsable": "the job's id is read from it",
    "signal": "signal_delay_s says how early a run is asked to stop",
    "test-only": "expkit.dry_run=true shows what would be submitted",
    "usage": "it submits nothing",
    "version": "it submits nothing",
    "wait": "hydra.launcher.wait says whether to wait",
    "wrap": "script names the batch script",
}
NOT_IN_A_SCRIPT = {
    name: _OURS[name] for name in ("clusters", "help", "test-only", "usage", "version", "wait")
}
# Names that people know from submitit and its Hydra launcher.
_ELSEWHERE = {
    "gpu": "Write gpus_per_node.",
    "gpus": "Write gpus_per_node.",
    "job_name": "The manager names the jobs.",
    "mem_gb": "Write mem: 16G.",
    "name": "The manager names the jobs.",
    "ntasks_per_node": "Write tasks_per_run, the number of processes of one run.",
    "num_gpus": "Write gpus_per_node.",
    "setup": "Such lines stand in the batch script.",
    "srun_args": "srun stands in the batch script: `srun … \"$@\"`.",
    "stderr_to_stdout": "Both go to the task's log.",
    "tasks_per_node": "Write tasks_per_run, the number of processes of one run.",
    "teardown": "Such lines stand in the batch script.",
    "timeout_min": "Write time: 90, in minutes.",
    "use_srun": "srun stands in the batch script: `srun … \"$@\"`.",
}  # fmt: skip

# sbatch ends with an error when it gets two options of one of these sets, from wherever.
EXCLUDING = (
    frozenset({"mem", "mem-per-cpu", "mem-per-gpu"}),
    frozenset({"cpus-per-task", "cpus-per-gpu"}),
)

# YAML 1.1 reads 4:00:00 as a number of base 60. 3600 is 1:00:00, and 60 hours in minutes.
_BASE_60 = 3600
_LEAST_MB = 100  # less is a mistake for gigabytes: Python with torch takes 300 MB


def sbatch_options(values: Mapping[str, object]) -> Options:
    """The options of sbatch for these resources; what is None is left to the script.

    Args:
        values: By submitit's names. A list is joined by commas, True is a flag, an int for `time`
            is minutes, one for memory megabytes. `additional_parameters` has further options of
            sbatch by their long names, and wins.

    Raises:
        SlurmError: If Slurm does not take a name or a value, or it is not the user's to set.

    Examples:
        >>> sbatch_options({"time": 90, "mem": "16G", "exclusive": True, "qos": None})
        (('exclusive', None), ('mem', '16G'), ('time', '01:30:00'))
    """
    options: dict[str, str | None] = {}
    for key, value in values.items():
        if key != ADDITIONAL:
            _refuse_unknown(key, value)
            options.update(_option(key, value))
    additional = values.get(ADDITIONAL)
    if additional is not None and not isinstance(additional, Mapping):
        raise SlurmError(
            f"{ADDITIONAL}={additional!r} must map options of sbatch to values, such as "
            "{reservation: maintenance}."
        )
    additional_options: dict[str, str | None] = {}
    for key, value in (additional or {}).items():
        if re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", str(key)) is None:
            raise SlurmError(
                f"{ADDITIONAL}: {key!r} is no long option of sbatch. Write it without the "
                "leading dashes, such as reservation."
            )
        additional_options.update(_option(str(key), value))
    _refuse_both(options)
    _refuse_both(additional_options)
    return merge_options(tuple(sorted(options.items())), tuple(sorted(additional_options.items())))


def to_arguments(options: Options) -> list[str]:
    """Options as sbatch takes them on its command line.

    Examples:
        >>> to_arguments((("exclusive", None), ("mem", "32G")))
        ['--exclusive', '--mem=32G']
    """
    return [f"--{name}" if value is None else f"--{name}={value}" for name, value in options]


def merge_options(options: Options, changes: Options) -> Options:
    """Both; `changes` win, also over options that sbatch does not take beside them.

    Examples:
        >>> merge_options((("mem-per-cpu", "4G"), ("time", "60")), (("mem", "32G"),))
        (('mem', '32G'), ('time', '60'))
    """
    changed = {name for name, _ in changes}
    replaced = changed.union(*(names for names in EXCLUDING if names & changed))
    kept = [option for option in options if option[0] not in replaced]
    return tuple(sorted([*kept, *changes], key=lambda option: option[0]))


def to_resources(options: Options) -> dict[str, object]:
    """The values that give these options; the inverse of `sbatch_options`.

    Examples:
        >>> to_resources((("exclusive", None), ("reservation", "r1")))
        {'exclusive': True, 'additional_parameters': {'reservation': 'r1'}}
    """
    resources: dict[str, object] = {}
    additional: dict[str, object] = {}
    for name, value in options:
        key = name.replace("-", "_")
        target = resources if key in RESOURCES else additional
        target[key if key in RESOURCES else name] = True if value is None else value
    return {**resources, ADDITIONAL: additional} if additional else resources


def parse_arguments(argv: Sequence[str]) -> Options:
    """Options as they stand on sbatch's command line, such as `--mem 32G --time=4:00:00`.

    Raises:
        SlurmError: If one is unknown, lacks its value, has one that makes no sense, or is not the
            user's to set.

    Examples:
        >>> parse_arguments(["--mem", "32G", "-t", "4:00:00", "--exclusive"])
        (('exclusive', None), ('mem', '32G'), ('time', '4:00:00'))
    """
    options = dict(read_options(argv))
    for name in options:
        if name not in SBATCH_OPTIONS:
            raise SlurmError(
                f"--{name} is not known to sbatch.{_near(name, sorted(SBATCH_OPTIONS), '--')} "
                f"Often changed: --mem, --time, --partition, --gres; `sbatch --help` lists all."
            )
    return sbatch_options(to_resources(tuple(options.items())))


def read_options(words: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Options and values as getopt finds them: `-t5`, `-t 5`, `--time=5`, `--time 5`, `-Ht 5`.

    Raises:
        SlurmError: If a word is no option, or an option lacks its value.
    """
    rest = iter(words)
    for word in rest:
        if word.startswith("--") and len(word) > 2:
            name, has_value, value = word[2:].partition("=")
            name = _whole_name(name)
            if has_value or name in FLAGS:
                yield name, value if has_value else None
            else:
                yield name, _next_value(rest, word)
        elif word.startswith("-") and len(word) > 1 and not word.startswith("--"):
            letters = word[1:]
            while letters:
                letter, letters = letters[0], letters[1:]
                if letter not in _SHORT:
                    raise SlurmError(
                        f"-{letter} is no option of sbatch. `sbatch --help` lists all."
                    )
                name = _SHORT[letter]
                if name in FLAGS:
                    yield name, None
                else:
                    yield name, letters or _next_value(rest, f"-{letter}")
                    letters = ""
        else:
            raise SlurmError(
                f"{word!r} is no option of sbatch. A flag takes its value after `=`, text with "
                "spaces is quoted."
            )


def _whole_name(name: str) -> str:
    """The long name that sbatch understands, which may be abbreviated to its beginning."""
    if name in SBATCH_OPTIONS:
        return name
    matches = [option for option in SBATCH_OPTIONS if option.startswith(name)]
    return matches[0] if len(matches) == 1 else name


def _next_value(words: Iterator[str], option: str) -> str:
    for word in words:
        return word
    raise SlurmError(f"{option} has no value. Write {option}=VALUE, if it needs one.")


def _refuse_unknown(key: str, value: object) -> None:
    if key in RESOURCES or key.replace("_", "-") in _OURS:
        return
    allowed = f"Allowed: {', '.join(RESOURCES)}."
    if key in _ELSEWHERE:
        raise SlurmError(f"The resource {key!r} is not known. {_ELSEWHERE[key]} {allowed}")
    raise SlurmError(
        f"The resource {key!r} is not known.{_near(key, RESOURCES)} {allowed} Any other option of "
        f"sbatch goes into {ADDITIONAL}: {{{key.replace('_', '-')}: {value}}}."
    )


def _near(name: str, names: Sequence[str], prefix: str = "") -> str:
    near = get_close_matches(name, names, n=1)
    return f" Did you mean {prefix}{near[0]}?" if near else ""


def _refuse_both(options: Mapping[str, object]) -> None:
    for names in EXCLUDING:
        both = sorted(names & options.keys())
        if len(both) > 1:
            raise SlurmError(
                f"{' and '.join(both)} are both set, and sbatch takes one of them. Set the "
                "other to null."
            )


def _option(key: str, value: object) -> Options:
    """The option of this key; none where its value says nothing."""
    name = key.replace("_", "-")
    if value is None or value is False:
        return ()
    if name in _OURS:
        raise SlurmError(f"{key}={value!r} is the manager's to set: {_OURS[name]}.")
    if value is True:
        if name in SBATCH_OPTIONS and name not in FLAGS:
            raise SlurmError(f"{key}=true is no value: --{name} of sbatch needs one.")
        return ((name, None),)
    text = _text(key, value)
    if name in _CHECKS:
        text = _CHECKS[name](key, value, text)
    return ((name, text),)


def _text(key: str, value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes) and len(value) > 0:
        return ",".join(_text(key, element) for element in value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise SlurmError(f"{key}={value!r} must be text, a number, a list of them, or null.")
    text = str(value).strip()
    # sbatch would take --partition= for a partition without a name; a line break ends its record.
    if not text or not text.isprintable():
        raise SlurmError(
            f"{key}={value!r} must be text of one line that is not empty. "
            "null leaves it to the script."
        )
    return text


def _time(key: str, value: object, text: str) -> str:
    minutes = isinstance(value, int | float) and re.fullmatch(r"\d+", text) is not None
    if minutes and int(text) >= _BASE_60:
        seconds = int(text)
        clock = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        raise SlurmError(
            f"{key}={text} may be {clock}, which YAML reads as a number of base 60, or {text} "
            f'minutes. Write {key}: "{clock}", in quotes, or {key}: "{text}" for the minutes.'
        )
    if re.fullmatch(r"(?i:unlimited|infinite)", text):
        return text
    if not re.fullmatch(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}", text):
        raise SlurmError(
            f"{key}={value!r} is no time that Slurm reads. Write minutes, MM:SS, HH:MM:SS, D-HH, "
            'D-HH:MM, D-HH:MM:SS or UNLIMITED; four hours are "04:00:00".'
        )
    if not re.search("[1-9]", text):
        # To sbatch, 0 is no limit at all.
        raise SlurmError(f"{key}={value!r} is no time to run in. UNLIMITED stands for no limit.")
    return _clock(int(text)) if minutes else text


def _clock(minutes: int) -> str:
    """Minutes as Slurm itself shows them, so that nobody takes them for hours."""
    days, rest = divmod(minutes, 24 * 60)
    return f"{f'{days}-' if days else ''}{rest // 60:02}:{rest % 60:02}:00"


def _memory(key: str, value: object, text: str) -> str:
    match = re.fullmatch(r"(\d+)(?i:([KMGT])B?)?", text)
    if match is None:
        raise SlurmError(
            f"{key}={value!r} is no memory size that Slurm reads. Write a whole number and K, M, "
            "G or T: 32G, 1536M; 0 is all that a node has."
        )
    if match[2] is None and 0 < int(match[1]) < _LEAST_MB:
        raise SlurmError(
            f"{key}={text} is {text} megabytes to Slurm. Write {key}={text}G, or {text}M if you "
            "mean it."
        )
    return text


def _matching(pattern: str, what: str) -> Callable[[str, object, str], str]:
    def check(key: str, value: object, text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise SlurmError(f"{key}={value!r} must be {what}.")
        return text

    return check


_GPUS = r"([\w.+-]*[A-Za-z][\w.+-]*:)?\d+"  # the type may be a name such as a100
_count = _matching(r"0*[1-9]\d*", "a whole number, 1 or more")
_gpus = _matching(rf"{_GPUS}(,{_GPUS})*", "a whole number, or a type and a number such as a100:2")
_nodes = _matching(r"0*[1-9]\d*(-\d+)?", "a whole number, 1 or more, or a range such as 1-4")
_CHECKS: dict[str, Callable[[str, object, str], str]] = {
    **dict.fromkeys(("time", "time-min"), _time),
    **dict.fromkeys(("mem", "mem-per-cpu", "mem-per-gpu"), _memory),
    **dict.fromkeys(("cpus-per-gpu", "cpus-per-task", "ntasks-per-node"), _count),
    **dict.fromkeys(("gpus", "gpus-per-node", "gpus-per-socket", "gpus-per-task"), _gpus),
    "nodes": _nodes,
}
