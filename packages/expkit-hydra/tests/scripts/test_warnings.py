"""No version of Hydra and OmegaConf warns of what expkit does with it."""

import hydra
import pytest

SCRIPT = """
import hydra
from hydra.utils import instantiate


@hydra.main(config_path=".", config_name="config"{arguments})
def main(cfg):
    instantiate({{"_target_": "decimal.Decimal", "value": "1"}})
    return cfg.x


if __name__ == "__main__":
    main()
"""
IS_1_4 = hydra.__version__.startswith("1.4")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("-m",),
        ("-m", "hydra.launcher.n_jobs=2"),
        ("-m", "hydra/launcher=basic"),
        ("-m", "x=1,2", "hydra/sweeper=basic"),
    ],
    ids=" ".join,
)
def test_a_command_prints_no_warning(app, arguments):
    # Hydra 1.4 refuses the argument that 1.3 asks for, and wants to know what may be made.
    own = ', execution_whitelist=["decimal.*"]' if IS_1_4 else ', version_base="1.3"'
    (app.folder / "train.py").write_text(SCRIPT.format(arguments=own))

    # Hydra's own switch, too: Python shows a warning once, and some of them nowhere.
    process = app.start("train.py", *arguments, HYDRA_DEPRECATION_WARNINGS_AS_ERRORS="1")
    output = app.finish(process)

    assert process.returncode == 0, output
    assert "warn" not in output.lower(), output
    assert set(app.states().values()) == {"completed"}


@pytest.mark.skipif(not IS_1_4, reason="Hydra has no list of what apps trust before 1.4")
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_what_an_app_does_not_trust_is_refused_in_its_runs(app, n_jobs):
    own = ', execution_whitelist=["fractions.*"]'
    (app.folder / "train.py").write_text(SCRIPT.format(arguments=own))

    output = app.train("-m", f"hydra.launcher.n_jobs={n_jobs}", code=1)

    assert "'decimal.Decimal' is not in the Hydra execution whitelist" in output
    assert set(app.states().values()) == {"failed"}
