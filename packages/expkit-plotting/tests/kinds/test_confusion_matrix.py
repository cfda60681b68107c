"""Confusion matrices, from saved results and from data."""

import numpy as np
import pandas as pd
import pytest

from expkit_plotting import PlotMetrics, PlotStyle, PlottingError

STYLE = PlotStyle(filetypes=("png",), dpi=80)
TRUE = ["cat", "cat", "cat", "cat", "dog", "dog", "bird"]
PREDICTED = ["cat", "cat", "cat", "dog", "dog", "dog", "dog"]
COUNTS = [[0, 0, 1], [0, 3, 1], [0, 0, 2]]  # bird, cat, dog
PLOTS = PlotMetrics({"cnn_1": {"loss": [1.0]}}, STYLE)


def drawn(figure) -> tuple[list[str], np.ndarray]:
    axes = figure.axes[0]
    (mesh,) = (c for c in axes.collections if hasattr(c, "get_coordinates"))
    return [label.get_text() for label in axes.get_xticklabels()], np.asarray(mesh.get_array())


def written(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


SOURCES = {
    "labels and predictions": (TRUE, PREDICTED),
    "arrays of them": (np.array(TRUE), np.array(PREDICTED)),
    "a mapping": {"labels": TRUE, "predictions": PREDICTED},
    "a mapping of numbers": {
        "y_true": [1, 1, 1, 1, 2, 2, 0],
        "y_pred": [1.0, 1, 1, 2, 2, 2, 2],
        "classes": ["bird", "cat", "dog"],
    },
    "a matrix with its classes": {"matrix": COUNTS, "labels": ["bird", "cat", "dog"]},
    "a table of them": pd.DataFrame({"id": range(7), "true": TRUE, "predicted": PREDICTED}),
    "a table of counts": pd.DataFrame(
        COUNTS, index=["bird", "cat", "dog"], columns=["bird", "cat", "dog"]
    ),
    "a table of counts without an index": pd.DataFrame(COUNTS, columns=["bird", "cat", "dog"]),
    "a crosstab, in which what was never predicted has no column": pd.crosstab(
        pd.Series(TRUE, name="t"), pd.Series(PREDICTED, name="p")
    ),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_what_scripts_have_gives_a_matrix(source):
    classes, counts = drawn(PLOTS.confusion_matrix(source, normalize=None))

    assert classes == ["bird", "cat", "dog"]
    assert counts.tolist() == COUNTS


def test_a_bare_matrix_has_numbers_for_classes_or_the_given_names():
    assert drawn(PLOTS.confusion_matrix(COUNTS))[0] == ["0", "1", "2"]
    figure = PLOTS.confusion_matrix(np.array(COUNTS), classes=["bird", "cat", "dog"])
    assert drawn(figure)[0] == ["bird", "cat", "dog"]


def test_classes_may_be_put_in_order():
    classes, counts = drawn(
        PLOTS.confusion_matrix((TRUE, PREDICTED), classes=["dog", "cat", "bird"], normalize=None)
    )

    assert classes == ["dog", "cat", "bird"]
    assert counts.tolist() == [[2, 0, 0], [1, 3, 0], [1, 0, 0]]


SEVENTH = 100 / 7
SHARES = {
    "true": [[0, 0, 100], [0, 75, 25], [0, 0, 100]],
    "pred": [[0, 0, 25], [0, 100, 25], [0, 0, 50]],
    "all": [[0, 0, SEVENTH], [0, 3 * SEVENTH, SEVENTH], [0, 0, 2 * SEVENTH]],
    None: COUNTS,
}
WRITTEN = {
    "true": ["100", "75", "25", "100"],
    "pred": ["25", "100", "25", "50"],
    "all": ["14", "43", "14", "29"],
    None: ["1", "3", "1", "2"],
}
UNITS = {
    "true": "\n% of the true class",
    "pred": "\n% of the predicted class",
    "all": "\n% of all",
    None: "",
}


@pytest.mark.parametrize("normalize", SHARES)
def test_cells_are_counts_or_shares(normalize):
    figure = PLOTS.confusion_matrix((TRUE, PREDICTED), normalize=normalize)

    np.testing.assert_allclose(drawn(figure)[1], SHARES[normalize])
    assert written(figure) == WRITTEN[normalize]
    assert figure.axes[0].get_xlabel() == f"Predicted class{UNITS[normalize]}"
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    sizes = ["bird (n = 1)", "cat (n = 4)", "dog (n = 2)"]
    assert rows == (["bird", "cat", "dog"] if normalize is None else sizes)


def test_what_is_rare_is_not_written_as_nothing():
    figure = PLOTS.confusion_matrix([[9996, 4, 0], [30, 970, 0], [0, 1, 99999]])

    assert written(figure) == ["100", "<0.1", "3.0", "97", "<0.1", "100"]


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        (np.ones((2, 3)), r"This ndarray is no confusion matrix: its shape is \(2, 3\). Give a"),
        ([[1, -1], [0, 1]], "counts must be finite and not negative"),
        ([[1, float("nan")], [0, 1]], "counts must be finite"),
        ((["a", "b"], ["a"]), "there are 2 labels and 1 predictions"),
        (([], []), "there are no labels"),
        ({"loss": 1.0}, "it is a mapping with the keys loss"),
        (pd.DataFrame({"loss": [1.0], "acc": [2.0]}), "table of 1 rows with the columns loss, acc"),
        (np.zeros((500, 500)), "it has 500 classes; drawn are 1 to 200"),
        (3, r"This int is no confusion matrix"),
    ],
)
def test_what_is_no_confusion_matrix_is_refused_with_what_is_one(source, complaint):
    with pytest.raises(PlottingError, match=complaint) as caught:
        PLOTS.confusion_matrix(source)

    assert "or labels and predictions" in str(caught.value)


def test_a_label_that_is_no_class_is_named():
    with pytest.raises(PlottingError, match=r"'bird' is none of the classes cat, dog"):
        PLOTS.confusion_matrix((TRUE, PREDICTED), classes=["cat", "dog"])


@pytest.fixture
def folder(tmp_path, run_folder):
    for seed in (1, 2):
        run_folder(tmp_path / "e" / "training" / f"cnn_{seed}", {"seed": seed}, {"loss": [1.0]})
    return tmp_path / "e"


def save(folder, data, name) -> None:
    from expkit_bookkeeping import Run

    Run(folder / "training" / "cnn_2").add_results(data, name)


SAVED = {
    "an array": (np.array(COUNTS), "confusion"),
    "a table of counts": (SOURCES["a table of counts"], "confusion"),
    "a crosstab": (pd.crosstab(pd.Series(TRUE), pd.Series(PREDICTED)), "confusion"),
    "a mapping": ({"labels": TRUE, "predictions": PREDICTED}, "test/predictions"),
    "a table of predictions": (SOURCES["a table of them"], "predictions"),
    "a list": (COUNTS, "confusion_matrix"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "name"), SAVED.values(), ids=SAVED)
def test_results_of_a_run_are_read_by_their_name(folder, data, name):
    save(folder, data, name)
    save(folder, {"test_acc": 0.9}, "test/scores")
    plots = PlotMetrics(folder, STYLE)

    by_name = plots.confusion_matrix(name, run="cnn_2", normalize=None)
    by_default = plots.confusion_matrix(run="cnn_2", normalize=None)

    assert drawn(by_name)[1].tolist() == COUNTS
    assert drawn(by_default)[1].tolist() == COUNTS
    assert by_name.axes[0].get_title() == "cnn_2"


def test_a_run_or_result_that_is_not_there_is_said(folder):
    plots = PlotMetrics(folder, STYLE)

    with pytest.raises(PlottingError, match="Name one of the 2 runs: cnn_1, cnn_2"):
        plots.confusion_matrix("confusion")
    with pytest.raises(PlottingError, match=r"Run 'cnn_2' has saved no results. save_results of"):
        plots.confusion_matrix(run="cnn_2")
    save(folder, {"a": 1}, "scores")
    with pytest.raises(PlottingError, match=r"Say which result of run 'cnn_2' .*: scores"):
        plots.confusion_matrix(run="cnn_2")
    with pytest.raises(PlottingError, match=r"confusio.*scores"):
        plots.confusion_matrix("confusio", run="cnn_2")
    with pytest.raises(PlottingError, match=r"Result 'scores' of run 'cnn_2' is no confusion mat"):
        plots.confusion_matrix("scores", run="cnn_2")
    with pytest.raises(PlottingError, match="normalize must be one of true, pred, all; got 'row'"):
        plots.confusion_matrix(COUNTS, normalize="row")
