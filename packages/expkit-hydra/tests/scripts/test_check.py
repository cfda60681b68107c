"""`expkit check`, as it is typed."""

import json
from pathlib import Path

SCRIPT = """
from pathlib import Path

import hydra
from omegaconf import OmegaConf

import width


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg):
    Path("trained").touch()


if __name__ == "__main__":
    OmegaConf.register_new_resolver("width", lambda: width.WIDTH)
    print("set up")
    main()
    Path("went on").touch()
"""


def written(folder: Path) -> dict[str, bytes | None]:
    """All that lies in a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_check_runs_the_script_up_to_its_app_trains_nothing_and_writes_nothing(app):
    (app.folder / "train.py").write_text(SCRIPT)
    (app.folder / "width.py").write_text("WIDTH = 3\n")
    with (app.folder / "config.yaml").open("a") as config:
        config.write("need: ???\nwidth: ${width:}\n")
    before = written(app.folder)

    lines = app.command("check", "x=1,2").splitlines()
    answer = json.loads(app.command("check", "train.py", "-m", "x=1,2", "--json").splitlines()[-1])

    assert lines[0] == "set up"  # of what stands in the main block
    assert lines[1].startswith("warning  need is ??? in every run (1, 2)")
    assert lines[2].split() == ["config.yaml:7"]
    assert lines[3:] == ["2 in the grid, 2 to run"]
    assert (answer["program"], answer["runs"], answer["summary"]) == ("train.py", 2, lines[3])
    assert [(one["level"], one["line"]) for one in answer["findings"]] == [("warning", 7)]
    assert written(app.folder) == before


def test_check_of_a_grid_that_would_be_refused_ends_with_1(app):
    answer = json.loads(app.command("check", "y=1,2", "--json", code=1))

    (finding,) = answer["findings"]
    assert (finding["level"], finding["subject"]) == ("refused", "grid")
    assert (answer["summary"], answer["runs"]) == (None, None)
    assert finding["text"] in app.train("-m", "y=1,2", code=1)


def test_check_takes_a_module_and_flags_of_hydra(app):
    (app.folder / "other.yaml").write_text("defaults: [config, _self_]\nx: 5\n")
    (app.folder / "config.yaml").write_text(
        (app.folder / "config.yaml").read_text().partition("hydra:")[0]
    )

    output = app.command("check", "-m", "train", "--config-name", "other", "epochs=1,2,3")

    assert output == "3 in the grid, 3 to run\n"


def test_check_says_what_the_program_cannot(app):
    (app.folder / "train.py").write_text("import hydra.main\nraise OSError(5, 'no licence')\n")
    (app.folder / "submitit.py").touch()

    refused = app.command("check", code=1)
    assert "train.py cannot be started: OSError: [Errno 5] no licence" in refused
    assert "submitit.py hides the package submitit, which" in refused
    (app.folder / "train.py").write_text("print('no app of hydra.main')\n")
    (app.folder / "submitit.py").unlink()
    assert "train.py has ended before it started a Hydra app" in app.command("check", code=2)


def test_check_does_not_choose_among_scripts(app):
    (app.folder / "eval.py").write_text((app.folder / "train.py").read_text())

    output = app.command("check", code=2)

    assert "Write expkit check eval.py, or another of eval.py, train.py." in output
    (app.folder / "eval.py").unlink()
    (app.folder / "train.py").unlink()
    assert "No script here has hydra.main" in app.command("check", code=2)
    assert "gone.py: No such file" in app.command("check", "gone.py", code=2)
