from expkit_bookkeeping import Bookkeeping
from expkit_bookkeeping.reading import outcome_numbers


def finished_run(folder, *, metrics=None, results=None):
    settings = {"expkit": {"metric": "val_accuracy", "direction": "maximize"}}
    with Bookkeeping(folder, config=settings) as run:
        for step, value in enumerate((0.5, 0.9, 0.7)):
            run.log_metrics({"val_accuracy": value, **(metrics or {})}, step=step)
        for name, data in (results or {}).items():
            run.save_results(data, name)
    return folder


def test_the_best_value_and_saved_scalars_are_the_outcome(tmp_path):
    run = finished_run(
        tmp_path / "digits/training/r",
        results={
            "test": {"test_acc": 0.8, "per_class": {"cat": 1, "dog": 0.25}, "names": ["a"]},
            "other/test": {
                "test_acc": 0.1,
                "text": "0.3",
                "yes": True,
                "huge": 10**400,
                "n" * 300: 1,
            },
        },
    )

    assert outcome_numbers(run) == {
        "best_val_accuracy": 0.9,
        "other/test.test_acc": 0.1,
        "test.test_acc": 0.8,
        "per_class.cat": 1.0,
        "per_class.dog": 0.25,
    }


def test_what_the_function_returned_is_part_of_it(tmp_path):
    import json

    from expkit_bookkeeping.launching import to_tagged

    run = finished_run(tmp_path / "digits/training/r")
    facts = json.loads((run / "run.json").read_text())
    for returned, numbers in (
        (0.25, {"returned": 0.25}),
        ({"loss": 1, "deep": {"x": 2.5}}, {"returned.loss": 1.0, "returned.deep.x": 2.5}),
        ((0.5, 1), {}),
        ("0.5", {}),
        (True, {}),
        (None, {}),
    ):
        (run / "run.json").write_text(json.dumps({**facts, "returned": to_tagged(returned)}))
        assert outcome_numbers(run) == {"best_val_accuracy": 0.9, **numbers}


def test_a_logged_metric_keeps_its_name(tmp_path):
    run = finished_run(
        tmp_path / "digits/training/r",
        metrics={"best_val_accuracy": 0.1, "test_acc": 0.2},
        results={"test": {"test_acc": 0.8}},
    )

    assert outcome_numbers(run) == {"test.test_acc": 0.8}


def test_damaged_and_foreign_results_are_left_out(tmp_path):
    run = finished_run(tmp_path / "digits/training/r", results={"good": {"x": 1}})
    (run / "results/bad.json").write_text("{")
    (run / "results/list.json").write_text("[1, 2]")
    (run / "results/big.yaml").write_text("a: 1\n" * 100_000)
    (tmp_path / "secret.yaml").write_text("pin: 1234\n")
    (run / "results/link.yaml").symlink_to(tmp_path / "secret.yaml")

    assert outcome_numbers(run) == {"best_val_accuracy": 0.9, "x": 1.0}


def test_a_folder_without_a_run_has_none(tmp_path):
    assert outcome_numbers(tmp_path) == {}
    (tmp_path / "run.json").write_text("{")
    assert outcome_numbers(tmp_path) == {}
