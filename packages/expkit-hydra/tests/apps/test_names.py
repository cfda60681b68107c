"""Values of any language and punctuation name the runs of a grid, and find their folders again."""

import re

import pytest

from expkit_bookkeeping import find_runs
from expkit_hydra import GridError


@pytest.fixture
def translations(app):
    app.write(
        "conf/config.yaml",
        """
        defaults: [expkit, _self_]
        experiment_id: digits
        lang: x
        seed: 1
        expkit: {after: []}
        hydra: {sweeper: {params: {lang: [中文, naïve, a b, a-b]}}}
        """,
    )
    return app


def sweep_and_fail(app, *overrides):
    app.task = lambda cfg: 1 / 0
    with pytest.raises(GridError, match="failed; the same command"):
        app.sweep(*overrides)


def folders(app):
    return {run.swept["lang"]: run.folder.name for run in find_runs(app.experiment)}


def test_letters_stay_and_what_only_punctuation_tells_apart_has_a_suffix(translations):
    translations.sweep()
    translations.sweep()

    names = {"中文": "中文", "naïve": "naïve", "a b": "a-b-541e27fe", "a-b": "a-b-ff096ad9"}
    assert folders(translations) == names
    assert translations.names() == list(names.values())


def test_a_run_alone_has_the_name_that_it_has_in_the_grid(translations):
    translations.sweep()
    translations.run("lang='a b'")
    translations.sweep("lang='a b'", "expkit.rerun=all")

    assert translations.names()[4:] == ["a-b-541e27fe", "a-b-541e27fe"]


def test_a_grid_that_grows_keeps_the_names_of_its_runs(translations):
    sweep_and_fail(translations, "lang='a b'")
    sweep_and_fail(translations, "lang='a b',a-b")

    assert translations.names() == ["a-b", "a-b", "a-b-ff096ad9"]


def test_a_run_that_version_0_1_named_is_resumed_in_its_folder(translations):
    sweep_and_fail(translations, "lang='naïve',x")
    folder = translations.experiment / "training" / "naïve"
    (folder / "run.json").write_text(
        (folder / "run.json").read_text().replace("na\\u00efve", "na-ve")
    )
    folder.rename(folder.with_name("na-ve"))

    sweep_and_fail(translations, "lang='naïve',x")

    assert translations.names() == ["naïve", "x", "na-ve", "x"]


@pytest.mark.parametrize("template", ["x_${lang}", "x_${seed}", "same"])
def test_following_the_advice_of_a_refusal_names_the_runs(translations, template):
    overrides = ["seed=1,2", f"run_name={template}"]
    for _ in range(3):
        try:
            translations.sweep(*overrides)
            break
        except GridError as error:
            advice = re.search(r"run_name: (\S+)$", str(error))
            assert advice is not None
            overrides[1] = f"run_name={advice[1]}"

    assert len(set(translations.names())) == len(translations.seen) == 8


def test_a_value_that_only_the_run_has_names_it_as_it_is_written(translations):
    folder = "lang='${hydra:runtime.output_dir}'"
    translations.write(
        "conf/config.yaml",
        """
        defaults: [expkit, _self_]
        experiment_id: digits
        lang: x
        """,
    )
    translations.run(folder)
    translations.sweep(f"{folder},null", "expkit.after=[]")

    names = [run.folder.name for run in find_runs(translations.experiment)]
    assert sorted(names) == ["None", "_-hydra-runtime.output_dir-"]
