"""The values of swept keys in runs that were made before these keys were swept."""

import json

import pandas as pd
import pytest

from expkit_bookkeeping import Bookkeeping, result_rows, results, write_results_csv
from expkit_bookkeeping.launching import claim_run


def add(experiment, name, swept, config=None, choices=None, value=0.5):
    """A completed run; `choices` are those of config groups, None as without Hydra."""
    folder = experiment / "training" / name
    claim_run(folder, run_name=name, swept=swept, choices=choices)
    with Bookkeeping(folder, config=config, console=False) as run:
        run.log_metrics({"acc": value}, step=0)
    return folder


def column(experiment, key):
    return {row["run_name"]: row[key] for row in result_rows(experiment)}


def test_an_axis_that_was_added_has_in_earlier_runs_what_was_the_default(tmp_path):
    for seed in (1, 2, 3):
        config = {"seed": seed, "data": "digits", "model": {"width": 8}}
        add(tmp_path, f"{seed}", {"seed": seed}, config, value=seed / 10)
    for data in ("digits", "tones"):
        swept = {"seed": 4, "data": data, "model.width": 16}
        config = {"seed": 4, "data": data, "model": {"width": 16}}
        add(tmp_path, f"4_{data}", swept, config, value=0.4)

    assert column(tmp_path, "data") == dict(
        zip(("1", "2", "3", "4_digits", "4_tones"), 4 * ["digits"] + ["tones"], strict=True)
    )
    assert list(column(tmp_path, "model.width").values()) == [8, 8, 8, 16, 16]
    table = results(tmp_path).table(group_by="data", metrics="acc")
    assert table["acc", "mean"].to_dict() == pytest.approx({"digits": 0.25, "tones": 0.4})
    assert table["acc", "n"].to_dict() == {"digits": 4, "tones": 1}


def test_the_value_of_a_group_is_its_option(tmp_path):
    add(tmp_path, "a", {"seed": 1}, {"model": {"name": "net"}}, choices={"model": "cnn"})
    add(tmp_path, "b", {"model": "mlp", "seed": 1}, {"model": {}}, choices={"model": "mlp"})
    older = add(tmp_path, "c", {"seed": 1}, {"seed": 1, "model": {"name": "net"}})
    (older / ".hydra").mkdir()
    (older / ".hydra" / "hydra.yaml").write_text(
        "hydra: {runtime: {choices: {model: rnn, hydra/launcher: basic}}}\n"
    )

    assert column(tmp_path, "model") == {"a": "cnn", "b": "mlp", "c": "rnn"}


def test_what_only_hydra_has_written_counts_and_its_references_do_not(tmp_path):
    folder = tmp_path / "training" / "a"
    claim_run(folder, swept={"seed": 1}).finish("completed")
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "config.yaml").write_text("lr: 0.1\nroot: ${oc.env:HOME}\nseed: 1\n")
    add(tmp_path, "b", {"lr": 0.2, "root": "/", "seed": 1}, {"lr": 0.2, "root": "/"})

    (row, _) = result_rows(tmp_path)
    assert (row["lr"], row["root"]) == (0.1, None)


def test_what_nothing_tells_is_said_once_and_stays_apart_from_what_there_is_not(tmp_path, caplog):
    lost = tmp_path / "training" / "lost"
    claim_run(lost, swept={"seed": 1}).finish("completed", metrics={"acc": 0.1})
    add(tmp_path, "none", {"seed": 1}, {"seed": 1}, value=0.2)
    add(tmp_path, "null", {"seed": 1}, {"seed": 1, "drop": None}, value=0.3)
    add(tmp_path, "set", {"seed": 1, "drop": 4}, {"seed": 1, "drop": 4}, value=0.4)

    table = results(tmp_path).table(metrics="acc")

    assert table["acc", "mean"].to_dict() == {"?": 0.1, "–": 0.2, "None": 0.3, 4: 0.4}
    (line,) = caplog.messages
    assert "What lost had for drop is unknown" in line
    cells = pd.read_csv(write_results_csv(tmp_path), dtype=str, keep_default_na=False)["drop"]
    assert list(cells) == ["", "", "None", "4"]


def test_saved_scalars_are_columns_under_their_names_where_these_are_unique(tmp_path):
    for name, files in (
        ("a", {"test": {"test_acc": 0.8, "loss": 1}}),
        ("b", {"test": {"test_acc": 0.9}, "dev": {"loss": 2, "acc": 3}}),
    ):
        folder = add(tmp_path, name, {"seed": name}, {"seed": name})
        with Bookkeeping(folder, console=False) as run:
            for file, data in files.items():
                run.save_results(data, file)

    first, second = result_rows(tmp_path)

    assert [first["test_acc"], second["test_acc"]] == [0.8, 0.9]
    assert [first["test.loss"], second["test.loss"]] == [1, None]
    assert [first["dev.loss"], second["dev.loss"]] == [None, 2]
    assert [second["acc"], second["dev.acc"]] == [0.5, 3]
    assert results(tmp_path).table()["test_acc", "mean"].item() == pytest.approx(0.85)


def test_returned_numbers_are_columns(tmp_path):
    for name, returned in (("a", 0.5), ("b", {"x": {"y": 2}, "text": "no"}), ("c", "0.5")):
        folder = add(tmp_path, name, {"seed": name}, {"seed": name})
        facts = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**facts, "returned": returned}))

    assert list(column(tmp_path, "returned").values()) == [0.5, None, None]
    assert list(column(tmp_path, "returned.x.y").values()) == [None, 2, None]
