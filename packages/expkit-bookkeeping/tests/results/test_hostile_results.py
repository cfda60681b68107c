"""Files of a run that are damaged, or no files: the others are read as if they were not there."""

import json
import os
import zipfile

import pytest

from expkit_bookkeeping import Bookkeeping, load_metrics, results
from expkit_bookkeeping.reading import read_curves, removed_runs


def not_files(folder, name):
    """What is no file, one after another, by this name."""
    path = folder / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    yield
    path.unlink()
    path.symlink_to("/dev/zero")
    yield
    path.unlink()
    path.symlink_to(name)
    yield
    path.unlink()
    path.mkdir()
    yield
    path.rmdir()


def experiment_of(tmp_path):
    for name in "ab":
        with Bookkeeping(tmp_path / "training" / name, console=False) as run:
            run.log_metrics({"loss": 0.5}, step=0)
    return tmp_path


def test_metrics_that_cannot_be_read_hide_no_other_curves(tmp_path, caplog):
    pytest.importorskip("pandas")
    experiment = experiment_of(tmp_path)
    for _ in not_files(experiment / "training" / "a", "metrics.jsonl"):
        caplog.clear()
        assert read_curves(experiment / "training" / "a") == {}
        assert "metrics.jsonl cannot be read" in caplog.text
        assert list(load_metrics(experiment)["run_name"]) == ["b"]


def test_a_list_of_removed_runs_that_cannot_be_read_is_empty(tmp_path, caplog):
    (tmp_path / ".trash").mkdir()
    for _ in not_files(tmp_path / ".trash", "removed.jsonl"):
        caplog.clear()
        assert removed_runs(tmp_path) == []
        assert "removed.jsonl cannot be read" in caplog.text


@pytest.mark.parametrize("value", ["high", None, [0.5], {"a": 1}, True, "NaN"])
def test_a_metric_that_is_no_number_leaves_a_table_of_the_others(tmp_path, value):
    pytest.importorskip("pandas")
    experiment = experiment_of(tmp_path)
    path = experiment / "training" / "a" / "run.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | {"metrics": {"loss": value}, "swept": {"lr": 1}}))

    table = results(experiment)

    assert table["loss"].isna().tolist() == [True, False]
    assert table.table(group_by="state", metrics="loss")["loss", "mean"].tolist() == [0.5]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("array.npy", b"{'descr", b"z'descr"),
        ("array.npy", b"(3,)", b"(3,("),
        ("array.npy", b"(3,)", b"(9999999999999,)"),
        ("scores.yaml", b"0.5", b"!!bool x"),
        ("scores.json", b"0.5", b"[" * 100_000),
    ],
)
def test_damaged_results_are_refused_by_the_name_of_their_file(tmp_path, name, old, new):
    numpy = pytest.importorskip("numpy")
    data = numpy.arange(3.0) if name == "array.npy" else {"score": 0.5}
    with Bookkeeping(tmp_path / "run", console=False) as run:
        path = run.save_results(data, name)
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new, 1))

        with pytest.raises(ValueError, match=f"{name} cannot be read: "):
            run.load_results(name)


def test_results_that_are_a_link_to_themselves_are_missing(tmp_path):
    with Bookkeeping(tmp_path / "run", console=False) as run:
        run.save_results({"score": 0.5}, "scores").unlink()
        (tmp_path / "run" / "results" / "scores.yaml").symlink_to("scores.yaml")

        with pytest.raises(FileNotFoundError):
            run.load_results("scores")


def test_a_checkpoint_that_holds_more_than_its_bytes_is_damaged(tmp_path):
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(2, 2)
    run = Bookkeeping(tmp_path / "run", console=False).open()
    for epoch in range(2):
        run.save_checkpoint(epoch=epoch, model=model)
    run.close("failed")
    newest = tmp_path / "run" / "states" / "epoch_0001.pt"
    with zipfile.ZipFile(newest) as stored:
        parts = {info.filename: stored.read(info) for info in stored.infolist()}
    newest.unlink()
    with zipfile.ZipFile(newest, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, part in parts.items():
            packed.writestr(name, part)
        packed.writestr("archive/data/zeros", bytes(1 << 24))

    with Bookkeeping(tmp_path / "run", console=False) as run:
        assert run.resume(model=model) == 1
    assert newest.with_name("epoch_0001.pt.damaged").exists()


def test_a_pipe_by_the_name_of_a_checkpoint_is_passed_over(tmp_path):
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(2, 2)
    with Bookkeeping(tmp_path / "run", console=False) as run:
        for epoch in range(2):
            run.save_checkpoint(epoch=epoch, model=model)
    for name in ("epoch_0001.pt", "best.pt"):
        (tmp_path / "run" / "states" / name).unlink(missing_ok=True)
        os.mkfifo(tmp_path / "run" / "states" / name)

    with Bookkeeping(tmp_path / "run", console=False) as run:
        assert run.resume(model=model) == 1
        run.save_checkpoint(epoch=1, model=model)
