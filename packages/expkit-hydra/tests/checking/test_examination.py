"""What a check finds, and that its advice ends the finding."""

import random
import re
from itertools import count

import pytest
from omegaconf import OmegaConf


def the_one(findings: dict[str, str], pattern: str) -> tuple[str, str]:
    """The one finding whose text matches, and its level, subject and place."""
    matching = [text for text in findings if re.search(pattern, text)]
    assert len(matching) == 1, findings
    return matching[0], findings[matching[0]]


def test_a_grid_of_which_nothing_is_to_be_said_has_its_numbers(app, examination):
    result = examination("model=mlp,cnn", "seed=1,2", "_filters=['seed == 2']")

    assert (result.summary, result.runs) == ("4 in the grid, 2 skipped by rule 1, 2 to run", 2)
    assert result.findings == []
    assert not app.experiment.exists()


@pytest.mark.parametrize(
    ("lines", "overrides", "pattern", "facts", "advice"),
    [
        (
            "need: ???",
            [],
            r"^need is \?\?\? in every run .* Give it a value: need=…$",
            "warning missing conf/config.yaml:8",
            ["need=3"],
        ),
        (
            "broken: ${nowhere}",
            [],
            "^broken: Interpolation key 'nowhere' not found. What reads it in a run fails.$",
            "warning unresolvable conf/config.yaml:8",
            ["+nowhere=3"],
        ),
        (
            "drawn: ${drawn:}",
            [],
            r"^drawn \(\$\{drawn:\}\) .*would train every run again.*ignore=\[device,num_workers,",
            "warning changing conf/config.yaml:8",
            ["expkit.ignore=[device,num_workers,drawn]"],
        ),
        (
            "kept: ${kept:}",  # the same in one process, another in the next
            [],
            r"^kept .* counts",
            "warning changing conf/config.yaml:8",
            ["kept=3"],
        ),
        (
            "filters: ['seed == 1']",
            ["_filters=[]"],
            "_filters is empty, but there is filters",
            "warning configuration None:None",
            ["_filters=['seed == 3']", "seed=1,3"],
        ),
        (
            "wandb: {api_key: 123456abc}",
            [],
            r"^wandb.api_key is a secret that stands in the configuration itself.*\$\{oc.env:",
            "warning configuration conf/config.yaml:8",
            ["wandb.api_key=${oc.env:HOME}"],
        ),
        (
            "",
            ["_filters=['seed == 7']"],
            "^rule 1 .* never fires",
            "warning rule conf/config.yaml:7",
            ["_filters=[]"],
        ),
        (
            "",
            ["no_such=1,2"],
            r"'no_such'\. To append to your config use \+no_such=1$",
            "refused grid None:None",
            ["+no_such=1,2"],
        ),
        (
            "own: {path: '${hydra:sweep.dir}/x'}\nresults_dir: ${place}",
            [],
            "^results_dir: Interpolation key 'place' not found$",
            "refused grid conf/config.yaml:9",
            ["+place=here"],
        ),
        (
            "",
            ["expkit.rerun=al"],
            "expkit.rerun='al' is not known",
            "refused grid None:None",
            ["expkit.rerun=all"],
        ),
    ],
)
def test_a_finding_says_where_and_its_advice_ends_it(
    app, findings, lines, overrides, pattern, facts, advice
):
    numbers = count()
    OmegaConf.register_new_resolver("drawn", lambda: random.random(), replace=True)
    OmegaConf.register_new_resolver("kept", lambda: next(numbers), replace=True, use_cache=True)
    config = app.folder / "conf/config.yaml"
    rule = """_filters: ["model.name == 'mlp' and optimizer.lr > 0.01"]"""
    text = config.read_text().replace(rule, "_filters: []").partition("hydra:")[0]
    config.write_text(f"{text}{lines}\n")

    _, found = the_one(findings(*overrides), pattern)
    assert found == facts

    kept = [text for text in overrides if text.partition("=")[0] not in
            {word.lstrip("+").partition("=")[0] for word in advice}]  # fmt: skip
    assert not [
        text
        for text, facts in findings(*kept, *advice).items()
        if re.search(pattern, text) and not facts.startswith("note")
    ]


def test_settings_of_a_swept_file_that_have_no_effect_are_found(app, findings):
    app.write("conf/experiment/a.yaml", "# @package _global_\nhydra: {launcher: {n_jobs: 4}}\n")
    app.write(
        "conf/experiment/b.yaml", "# @package _global_\nhydra: {sweeper: {params: {seed: 1}}}\n"
    )
    app.write("conf/experiment/c.yaml", "# @package _global_\nseed: 3\n")

    _, facts = the_one(findings("model=cnn", "+experiment=a,c"), "n_jobs")
    assert facts.startswith("warning no effect")
    _, facts = the_one(findings("model=cnn", "+experiment=b,c"), "hydra.sweeper.params")
    assert facts.startswith("refused grid")


def test_values_that_lose_to_those_of_expkit_are_found_until_expkit_stands_before_self(
    app, findings
):
    app.edit(
        "[expkit, model: mlp, optimizer: adam, _self_]",
        "[_self_, expkit, model: mlp, optimizer: adam]",
    )

    found = findings("model=cnn")
    text, facts = the_one(found, "^experiment_id: expkit's own value .* wins over yours .digits")
    assert facts == "warning shadowed conf/config.yaml:3"
    assert text.endswith("Put expkit before _self_.")
    the_one(found, "Put expkit before _self_, and leave the rest")
    app.edit("[_self_, expkit,", "[expkit, _self_,")

    assert not [text for text in findings("model=cnn") if "_self_" in text]


def test_folders_of_the_project_are_notes_until_their_lines_are_deleted(app, findings):
    app.edit("hydra:\n", "hydra:\n  run: {dir: out}\n  sweep: {subdir: '${hydra.job.num}'}\n")

    _, facts = the_one(findings("model=cnn"), "own hydra.sweep.subdir .* is not used.*It may stay")
    assert facts == "note folder conf/config.yaml:10"
    _, facts = the_one(findings("model=cnn"), "own hydra.run.dir .* is not used.*It may stay")
    assert facts == "note folder conf/config.yaml:9"
    app.edit("  run: {dir: out}\n  sweep: {subdir: '${hydra.job.num}'}\n", "")

    assert findings("model=cnn", "_filters=[]") == {}


def test_a_configuration_file_of_the_name_of_expkits_is_found(app, findings):
    app.write("conf/expkit.yaml", "mine: 1\n")

    _, facts = the_one(findings("model=cnn"), "takes the place of expkit's own configuration")
    assert facts == "warning shadowed conf/expkit.yaml:None"


def test_secrets_and_the_time_are_notes(app, findings):
    app.add("db: {password: '${oc.env:HOME}'}\nstamp: ${now:%Y}\n")

    found = findings("model=cnn")
    assert the_one(found, r"^db.password is secret: shown as \*\*\*")[1].startswith("note secret")
    assert the_one(found, r"^stamp \(\$\{now:%Y\}\) depends on the time")[1].startswith("note")
