"""From a grid's axes to the runs that a launcher gets, in seconds of `sweep()`.

The application has 43 keys and four config groups; the name of a run's folder refers to eight
keys. Dataset, model, optimizer and seed are swept; one rule drops half of the runs, another those
that are completed. The launcher runs nothing. Each repeat is a process of its own.
"""

import copy
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from measuring import Bar, Contender, growth, measure, options, report

FLOOR, PRACTICAL_FLOOR = "floor: plain dicts", "floor: Hydra once per choice of groups"
BASIC, PEER, OURS = "Hydra's basic sweeper", "hydra-filter-sweeper", "expkit"
OURS_DEEP = "expkit, rule on a key that is not swept"

AXES = {  # for each size: datasets, models, optimizers, seeds
    30: (1, 2, 1, 15),
    100: (1, 2, 2, 25),
    1_000: (2, 2, 2, 125),
    10_000: (4, 2, 2, 625),
    100_000: (4, 2, 2, 6_250),
}
BARS = {
    1_000: [Bar(at_most=1.2)],
    10_000: [Bar(at_most=3.5), Bar(at_most=300, figure="peak MB")],
    100_000: [Bar(at_most=35), Bar(at_most=400, figure="peak MB")],
}

NAME = (
    "${dataset.name}_${model.name}_${optimizer.name}_${optimizer.lr}_${scheduler.name}"
    "_${batch_size}_${epochs}_${seed}"
)
RULE = "seed % 2 == 1"
DEEP_RULE = "model.width + seed % 2 == 257"  # drops the same half
CONFIG = f"""
results_dir: results
experiment_id: digits
run_name: {NAME}
seed: 1
epochs: 50
batch_size: 64
device: cpu
num_workers: 4
criterion: cross_entropy
metric: accuracy
deterministic: true
log_every: 10
save_every: 5
clip: 1.0
"""
DATASET = """
name: {name}
path: ${{oc.env:TMPDIR,/tmp}}/{name}
classes: 10
sample_rate: 16000
channels: 1
duration_s: 4.5
split: [train, dev, test]
normalize: true
"""
MODEL = """
name: {name}
width: 256
depth: 4
dropout: 0.1
activation: relu
pretrained: null
norm: batch
bias: true
"""
OPTIMIZER = """
name: {name}
lr: 0.001
weight_decay: 0.01
momentum: 0.9
eps: 1.0e-08
nesterov: false
"""
SCHEDULER = """
name: cosine
warmup: 5
min_lr: 0.0
gamma: 0.5
step_size: 10
interval: epoch
total: ${epochs}
"""
LAUNCHER = '''
from hydra.core.config_store import ConfigStore
from hydra.plugins.launcher import Launcher


class NothingLauncher(Launcher):
    """Runs nothing; `launch_grid` is the method by which a launcher accepts grids."""

    def setup(self, *, hydra_context, task_function, config):
        pass

    def launch(self, job_overrides, initial_job_idx):
        return []

    def launch_grid(self, grid):
        return []


ConfigStore.instance().store(
    group="hydra/launcher",
    name="nothing",
    node={"_target_": "hydra_plugins.nothing_launcher.NothingLauncher"},
)
'''
SWEEPERS = {
    BASIC: "hydra: {sweep: {dir: 'results/digits/training', subdir: '${run_name}'}}",
    PEER: f"""
hydra:
  sweep: {{dir: results/digits/training, subdir: '${{run_name}}'}}
  sweeper:
    filters:
      - hydra_filter_sweeper.Expression: {{expr: '{RULE}'}}
      - hydra_filter_sweeper.Exists: {{path: metrics.csv}}
""",
    OURS: f"_filters: ['{RULE}', {{completed: true}}]",
    OURS_DEEP: f"_filters: ['{DEEP_RULE}', {{completed: true}}]",
}


def write_app(folder: Path, name: str) -> None:
    """The configuration of one contender, and the launcher."""
    first = ["expkit"] if name in (OURS, OURS_DEEP) else []
    groups = ["dataset: audio0", "model: cnn0", "optimizer: adam0", "scheduler: cosine"]
    last = ["override hydra/launcher: nothing"]
    if name == PEER:
        last.append("override hydra/sweeper: filter")
    defaults = "".join(f"  - {entry}\n" for entry in [*first, *groups, "_self_", *last])
    files = {
        "conf/config.yaml": f"defaults:\n{defaults}{CONFIG}{SWEEPERS.get(name, '')}\n",
        **{f"conf/dataset/audio{n}.yaml": DATASET.format(name=f"audio{n}") for n in range(4)},
        **{f"conf/model/cnn{n}.yaml": MODEL.format(name=f"cnn{n}") for n in range(2)},
        **{f"conf/optimizer/adam{n}.yaml": OPTIMIZER.format(name=f"adam{n}") for n in range(2)},
        "conf/scheduler/cosine.yaml": SCHEDULER,
        "hydra_plugins/nothing_launcher.py": LAUNCHER,
    }
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def axes(size: int) -> dict[str, list[Any]]:
    """The grid's keys and their values."""
    datasets, models, optimizers, seeds = AXES[size]
    return {
        "dataset": [f"audio{n}" for n in range(datasets)],
        "model": [f"cnn{n}" for n in range(models)],
        "optimizer": [f"adam{n}" for n in range(optimizers)],
        "seed": list(range(seeds)),
    }


def arguments(size: int) -> list[str]:
    """The command line of the sweep."""
    *groups, seeds = axes(size).items()
    swept = [f"{key}={','.join(values)}" for key, values in groups]
    return [*swept, f"seed=range({len(seeds[1])})"]


def open_app(folder: Path) -> Any:
    """Hydra as `hydra.main` creates it."""
    from hydra import version
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path

    version.setbase("1.3")
    return Hydra.create_main_hydra2("grid", create_config_search_path(f"file://{folder}/conf"))


def time_sweeper(folder: Path, size: int) -> tuple[float, float]:
    """Seconds of `sweep()`, and the memory before it in MB."""
    from hydra._internal.callbacks import Callbacks
    from hydra.core.plugins import Plugins
    from hydra.types import HydraContext, RunMode
    from omegaconf import OmegaConf

    app = open_app(folder)
    config = app.compose_config(
        "config", arguments(size), RunMode.MULTIRUN, with_log_configuration=False
    )
    context = HydraContext(config_loader=app.config_loader, callbacks=Callbacks(config))
    sweeper = Plugins.instance().instantiate_sweeper(
        config=config, hydra_context=context, task_function=lambda config: None
    )
    overrides = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    before_mb = memory_mb("VmRSS")
    start = time.perf_counter()
    sweeper.sweep(overrides)
    return time.perf_counter() - start, before_mb


def time_floor(folder: Path, size: int) -> tuple[float, float]:
    """The product, a compiled rule, a look for one file, and a nested dict for what is kept."""
    import yaml

    def read(group: str, name: str) -> Any:
        return yaml.safe_load((folder / "conf" / group / f"{name}.yaml").read_text())

    before_mb = memory_mb("VmRSS")
    start = time.perf_counter()
    base = yaml.safe_load(CONFIG)
    values = axes(size)
    options_of = {
        group: {name: read(group, name) for name in values[group]}
        for group in ("dataset", "model", "optimizer")
    }
    base["scheduler"] = read("scheduler", "cosine")
    kept = _keep(
        values, lambda choice: base | {key: options_of[key][choice[key]] for key in options_of}
    )
    assert len(kept) >= size // 2
    return time.perf_counter() - start, before_mb


def time_practical_floor(folder: Path, size: int) -> tuple[float, float]:
    """Like the floor, but Hydra composes each choice of groups."""
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    app = open_app(folder)
    master = app.compose_config(
        "config", arguments(size), RunMode.MULTIRUN, with_log_configuration=False
    )
    before_mb = memory_mb("VmRSS")
    start = time.perf_counter()
    composed: dict[tuple[str, ...], Any] = {}

    def base(choice: Mapping[str, Any]) -> Any:
        groups = tuple(f"{key}={choice[key]}" for key in ("dataset", "model", "optimizer"))
        if groups not in composed:
            config = app.config_loader.load_sweep_config(master, list(groups))
            composed[groups] = OmegaConf.to_container(config, resolve=False)
            del composed[groups]["hydra"]
        return composed[groups]

    kept = _keep(axes(size), base)
    assert len(kept) >= size // 2
    return time.perf_counter() - start, before_mb


def _keep(
    values: Mapping[str, list[Any]], base: Callable[[Mapping[str, Any]], Any]
) -> list[tuple[str, Any]]:
    rule = compile(RULE, "rule", "eval")
    kept = []
    for combination in itertools.product(*values.values()):
        choice = dict(zip(values, combination, strict=True))
        if eval(rule, {}, choice):
            continue
        config = copy.deepcopy(base(choice))
        config["seed"] = choice["seed"]
        optimizer = config["optimizer"]
        name = (
            f"{config['dataset']['name']}_{config['model']['name']}_{optimizer['name']}"
            f"_{optimizer['lr']}_{config['scheduler']['name']}_{config['batch_size']}"
            f"_{config['epochs']}_{config['seed']}"
        )
        if not os.path.exists(f"results/digits/training/{name}/metrics.csv"):  # noqa: PTH110
            kept.append((name, config))
    return kept


def memory_mb(name: str) -> float:
    """VmRSS (now) or VmHWM (the peak) of this process; Linux only, NaN elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def one_process(name: str, size: int) -> None:
    """Measure one repeat and print its figures; runs in a process of its own."""
    times = {FLOOR: time_floor, PRACTICAL_FLOOR: time_practical_floor}
    with tempfile.TemporaryDirectory() as folder:
        write_app(Path(folder), name)
        os.chdir(folder)
        sys.path.insert(0, folder)  # Hydra looks for hydra_plugins there
        elapsed_s, before_mb = times.get(name, time_sweeper)(Path(folder), size)
    peak_mb = memory_mb("VmHWM")
    # The processor time of the whole process shows how busy the machine was.
    figures = {
        "CPU s": time.process_time(),
        "peak MB": peak_mb,
        "over base MB": peak_mb - before_mb,
    }
    print(json.dumps([elapsed_s, figures]))


def in_process(name: str, size: int) -> tuple[float, dict[str, float]]:
    """Seconds, and memory."""
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, __file__, "--one", name, str(size)],
        stdout=subprocess.PIPE,
        env=environ,
        check=True,
    )
    value, figures = json.loads(done.stdout.splitlines()[-1])
    return value, figures


def main() -> None:
    """Measure growing grids; contenders that compose each run are extrapolated to large ones."""
    settings = options(__doc__)
    # Repeats of ours and of the floors, and of the contenders that compose each run.
    cases = {30: (2, 2), 1_000: (2, 0), 10_000: (1, 0)} if settings.quick else {
        100: (3, 3), 1_000: (3, 1), 10_000: (3, 0), 100_000: (3, 0),
    }  # fmt: skip
    rows = []
    measured: dict[str, tuple[int, float]] = {}
    for size, (repeats, peer_repeats) in cases.items():
        case = f"{size:,} configurations"
        peers = {}
        for name in (BASIC, PEER):
            if peer_repeats:
                peers[name] = Contender(name, partial(in_process, name, size), repeats=peer_repeats)
            else:
                from_size, seconds = measured[name]
                what = f"{name}, extrapolated from {from_size:,}"
                peers[name] = Contender(what, partial(float, seconds * size / from_size), repeats=1)
        ours = [
            Contender(
                OURS,
                partial(in_process, OURS, size),
                floor=PRACTICAL_FLOOR,
                peer=peers[PEER].name,
                bars=BARS.get(size, ()),
            )
        ]
        if size == 10_000:
            ours.append(
                Contender(
                    OURS_DEEP,
                    partial(in_process, OURS_DEEP, size),
                    floor=PRACTICAL_FLOOR,
                    peer=peers[PEER].name,
                )
            )
        floors = [
            Contender(name, partial(in_process, name, size)) for name in (FLOOR, PRACTICAL_FLOOR)
        ]
        rows_of_case = measure(case, [*ours, *peers.values(), *floors], repeats)
        if peer_repeats:
            medians = {row.name: row.median for row in rows_of_case}
            measured = {name: (size, medians[name]) for name in (BASIC, PEER)}
        rows += rows_of_case
    sizes = {f"{size:,} configurations": size for size in cases if size >= 10_000}
    rows = growth(rows, OURS, sizes, at_most=1.3)
    note = (
        "expkit expands, validates, filters, names, hashes and writes the grid's files; the others "
        "write nothing. Neither floor checks types. `CPU s` and `peak MB` are of the process."
    )
    report("grid", "s", rows, settings.json, note)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one_process(sys.argv[2], int(sys.argv[3]))
    else:
        main()
