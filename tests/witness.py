"""A script that writes down what its function sees, for the test that it sees the same everywhere.

The first of its runs returns a tuple, the second fails, and the third exits.
"""

import atexit
import enum
import gc
import json
import logging
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

torch = None
if "WITNESS_TORCH" in os.environ:
    import torch
SCALE = 1
early = logging.getLogger("early")
early.addHandler(logging.StreamHandler())
if "WITNESS_THREAD" in os.environ:
    threading.Thread(target=threading.Event().wait, daemon=True).start()


class Kind(enum.Enum):
    DENSE = 1
    SPARSE = 2


@dataclass
class Model:
    kind: Kind = Kind.DENSE
    widths: list[int] = field(default_factory=lambda: [1, 2])
    dropout: float | None = None


@dataclass
class Sample:
    x: int


ConfigStore.instance().store(group="model", name="net", node=Model)


def _types(node: object) -> object:
    """The types of a configuration: nodes, classes and values."""
    if OmegaConf.is_dict(node):
        kind = OmegaConf.get_type(node)
        return {f"{kind.__module__}.{kind.__qualname__}": {k: _types(node[k]) for k in node}}
    if OmegaConf.is_list(node):
        return [_types(value) for value in node]
    return f"{type(node).__module__}.{type(node).__qualname__}"


def _handlers() -> dict[str, str]:
    # Not SIGHUP, which nohup lets a program ignore, and Slurm does not.
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGPIPE)
    handlers = {number.name: signal.getsignal(number) for number in numbers}
    return {name: getattr(one, "__qualname__", str(one)) for name, one in handlers.items()}


def _seen(cfg) -> dict[str, object]:
    module = sys.modules[__name__]
    process = multiprocessing.current_process()
    seen = {
        "config": OmegaConf.to_container(cfg),
        "types": _types(cfg),
        "model": [OmegaConf.get_type(cfg.model) is Model, cfg.model.kind is Kind.SPARSE],
        "hydra": OmegaConf.to_container(HydraConfig.get(), resolve=True, enum_to_str=True),
        "argv": sys.argv,
        "cwd": str(Path.cwd()),
        "environment": dict(os.environ),
        "start method": [
            multiprocessing.get_start_method(allow_none=True),
            type(multiprocessing.get_context().Process).__name__,
        ],
        "process": [process.name, process.daemon, multiprocessing.parent_process() is None],
        "flags": [str(sys.flags), sys.warnoptions, sys._xoptions],
        "path": sys.path,
        "resolved": [cfg.tripled, OmegaConf.has_resolver("triple")],
        "globals": SCALE,
        "module": [
            *(__name__, __file__, module.Sample is Sample, module._seen is _seen),
            *(
                "train" in sys.modules,
                __name__ != "__main__" or sys.modules["__mp_main__"] is module,
            ),
        ],
        "pickles": type(pickle.loads(pickle.dumps(Sample(1)))) is Sample,
        "signals": [_handlers(), sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))],
        "collector": [gc.isenabled(), gc.get_threshold()],
        "logging": [
            [type(one).__name__, one.level, getattr(one.formatter, "_fmt", None)]
            for one in logging.root.handlers
        ],
        "main thread": threading.current_thread() is threading.main_thread(),
        "stdin": sys.stdin.read(),
    }
    if torch is not None:
        seen["torch"] = [str(torch.get_default_dtype()), torch.get_num_threads()]
    return seen


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    print(f"printed by {cfg.x}")
    if cfg.x == 2:
        raise ValueError("2 is too much")
    if cfg.x == 3:
        sys.exit(3)
    if "WITNESS" in os.environ:  # written where the test looks for it
        target = Path(os.environ["WITNESS"])
        target.write_text(json.dumps(_seen(cfg), default=str))
        atexit.register(target.with_suffix(".left").touch)
    os.write(1, b"written to descriptor 1\n")
    subprocess.run(["echo", "said by a child"], check=True)
    with multiprocessing.get_context().Pool(1) as pool:
        print(pool.map(str, [1.5]))
    early.warning("logged by a handler of the module")
    return (SCALE * cfg.x, 0.5)


if __name__ == "__main__":
    SCALE = 100
    OmegaConf.register_new_resolver("triple", lambda value: 3 * value)
    os.environ["OF_THE_BLOCK"] = "here"
    sys.path.insert(0, str(Path(__file__).parent / "library"))
    if torch is not None:
        torch.set_default_dtype(torch.float64)
    main()
