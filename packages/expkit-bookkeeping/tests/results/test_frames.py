import pytest

pytest.importorskip("pandas")

from expkit_bookkeeping import Bookkeeping, results


@pytest.fixture
def experiment(tmp_path):
    for number, model in enumerate(["cnn", "mlp"]):
        folder = tmp_path / "exp" / "training" / f"{model}_{number}"
        with Bookkeeping(folder, swept={"model": model}, console=False) as run:
            run.log_metrics({"loss": float(number)}, 0)
    return tmp_path / "exp"


def test_a_part_of_the_columns_makes_a_table_too(experiment):
    part = results(experiment)[["model", "loss"]]

    with pytest.raises(KeyError, match=r"no column 'state', so completed runs .* state=None"):
        part.table()
    assert part.table(state=None)["loss", "mean"].tolist() == [0.0, 1.0]
