"""Names of artifacts: whatever they are, each file arrives once, with its own content."""

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expkit_mlflow import MLFlowLogger, sync
from expkit_mlflow._store.artifact_names import MOST_BYTES, clean_name, clean_path, original_name

NAMES = [
    "confusion#1.txt",
    "confusion#2.txt",
    "confusion",
    "what?.txt",
    "what",
    "50%.txt",
    "50%25.txt",
    "a%2Fb.txt",
    "%2e%2e",
    "!23.txt",
    "#.txt",
    " leading.txt",
    "trailing ",
    "trailing",
    "dots..",
    "dots",
    "...",
    ".hidden",
    "back\\slash.txt",
    "co:lon.txt",
    'quo"te*<>|.txt',
    "new\nline.txt",
    "tab\t.txt",
    "größe 数据 🎉.txt",
    unicodedata.normalize("NFC", "é.txt"),
    unicodedata.normalize("NFD", "é.txt"),
    "lr=0.1-step=3.ckpt",
    "plus+and&.txt",
    ".artifact.uploading.x",
    "x" * 250,
    "x" * 249 + "y",
    "é" * 120 + ".png",
    os.fsdecode(b"latin\xe9.txt"),
]
texts = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=120
)


@given(texts)
@settings(max_examples=300)
def test_a_name_can_be_read_back_and_a_clean_one_stays(name):
    cleaned = clean_name(name)
    if "!!" not in cleaned:
        assert original_name(cleaned) == name
    assert clean_path(f"folder/{name}") == f"folder/{cleaned}"
    assert len(cleaned.encode()) <= MOST_BYTES
    assert cleaned not in (".", "..")
    assert cleaned == cleaned.strip(" ")
    assert not set(cleaned) & set('#?%\\:*"<>|\n\r\t\0')
    assert unicodedata.normalize("NFC", cleaned) == cleaned


@given(texts, texts)
@settings(max_examples=300)
def test_two_names_stay_two(name, other):
    assert (clean_name(name) == clean_name(other)) == (name == other)


def test_all_names_of_the_list_stay_different_on_file_systems_that_normalise():
    cleaned = [unicodedata.normalize("NFC", clean_name(name)).rstrip(" .") for name in NAMES]
    assert len(set(cleaned)) == len(NAMES)


@pytest.fixture(params=["server", "embedded"])
def place(request, tmp_path):
    """An experiment's folder, and where it is sent."""
    if request.param == "server":
        server = request.getfixturevalue("server")
        return tmp_path / "results" / tmp_path.name, server  # a name of its own, as tests share it
    return request.getfixturevalue("experiment"), None


def contents(folder, uri, name="r"):
    """Path and text of each artifact, as MLflow's own client finds them."""
    from mlflow import MlflowClient

    uri = uri or f"sqlite:///{folder / 'mlflow.db'}"
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(folder.name)
    runs = client.search_runs([experiment.experiment_id])
    (run,) = [run for run in runs if run.info.run_name == name]
    found, folders = {}, [None]
    while folders:
        for entry in client.list_artifacts(run.info.run_id, folders.pop()):
            if entry.is_dir:
                folders.append(entry.path)
            else:
                local = client.download_artifacts(run.info.run_id, entry.path)
                found[entry.path] = Path(local).read_text(errors="surrogateescape")
    return found, run


def test_each_file_arrives_under_a_name_of_its_own_with_its_own_content(place):
    folder, uri = place
    with MLFlowLogger(folder, "r", tracking_uri=uri, mode="offline") as tracking:
        for name in NAMES:
            path = folder / "training/r" / name
            path.write_text(name, errors="surrogateescape")
            tracking.log_artifact(path)
            tracking.log_artifact(path)  # twice is once

    assert sync(folder).problems == []

    found, run = contents(folder, uri)
    assert len(found) == len(NAMES)
    originals = {original_name(path): text for path, text in found.items() if "!!" not in path}
    assert len(originals) >= len(NAMES) - 3
    for name, text in originals.items():
        assert os.fsencode(name) == os.fsencode(text)
    long = {text for path, text in found.items() if "!!" in path}
    tags = {value for key, value in run.data.tags.items() if key.startswith("artifact.")}
    assert long == tags
    assert str(sync(folder)).endswith("nothing missing")


def test_folders_and_targets_are_made_safe_too(place):
    folder, uri = place
    with MLFlowLogger(folder, "r", tracking_uri=uri, mode="offline") as tracking:
        plots = folder / "training/r" / "plots #1"
        for name in ("a#1.txt", "sub?/b%.txt", "plain.txt"):
            (plots / name).parent.mkdir(parents=True, exist_ok=True)
            (plots / name).write_text(name)
        tracking.log_artifact(plots, "target:1")
        tracking.log_artifact(plots / "plain.txt", "deep/er")

    assert sync(folder).problems == []

    found, _ = contents(folder, uri)
    assert {original_name(path): text for path, text in found.items()} == {
        "target:1/plots #1/a#1.txt": "a#1.txt",
        "target:1/plots #1/sub?/b%.txt": "sub?/b%.txt",
        "target:1/plots #1/plain.txt": "plain.txt",
        "deep/er/plain.txt": "plain.txt",
    }


def test_files_of_one_name_from_two_folders_do_not_replace_each_other(place):
    folder, uri = place
    run = folder / "training/r"
    for attempt in (1, 2):  # the second one begins after what the first has sent
        with MLFlowLogger(folder, "r", tracking_uri=uri, mode="offline") as tracking:
            for fold in range(attempt * 2):
                path = run / f"results/fold{fold}/scores.yaml"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"fold {fold}")
                tracking.log_artifact(path)
            if attempt == 1:
                tracking.close("interrupted")
        assert sync(folder).problems == []

    found, _ = contents(folder, uri)
    assert found == {
        "scores.yaml": "fold 0",
        **{f"results/fold{fold}/scores.yaml": f"fold {fold}" for fold in (1, 2, 3)},
    }


def test_a_link_that_leads_out_of_the_run_is_not_sent_and_told(experiment, tmp_path):
    secret = tmp_path / "id_rsa"
    secret.write_text("secret")
    with MLFlowLogger(experiment, "r", mode="offline") as tracking:
        run = experiment / "training/r"
        (run / "plots").mkdir()
        (run / "plots/a.txt").write_text("a")
        (run / "b.txt").write_text("b")
        tracking.log_artifact(run / "plots")
        tracking.log_artifact(run / "b.txt")
    (run / "plots/key").symlink_to(secret)  # somebody else's archive
    (run / "b.txt").unlink()
    (run / "b.txt").symlink_to(secret)
    os.mkfifo(run / "plots/pipe")

    problems = sync(experiment).problems

    assert len(problems) == 2
    assert all("out" in problem for problem in problems)
    assert contents(experiment, None)[0] == {"plots/a.txt": "a"}
