"""Runs that cleaning would give one name."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit_hydra import GridError
from expkit_hydra._drafting.shared_names import (
    EarlierNames,
    file_system_ignores_case,
    folded,
    refuse_shared_names,
    told_apart,
)
from expkit_hydra._grid.names import name_of

NOTHING = EarlierNames([])


def names_in_a_grid(texts, earlier=NOTHING, *, ignores_case=False):
    names = [name_of({"note": text}) for text in texts]
    plain = [name.plain for name in names]
    hashes = [f"hash of {text}" for text in texts]
    suffixed = told_apart(names, plain, hashes, earlier, lambda: ignores_case)
    return [suffixed.get(position, name) for position, name in enumerate(plain)]


@given(st.lists(st.text(max_size=4), unique=True, max_size=20))
def test_no_two_runs_of_a_grid_share_a_folder(texts):
    names = names_in_a_grid(texts, ignores_case=True)

    assert len({folded(name) for name in names}) == len(texts)
    assert names_in_a_grid(texts[::-1], ignores_case=True) == names[::-1]


def test_a_suffix_comes_only_where_names_would_be_shared():
    names = names_in_a_grid(["a b", "a-b", "a c", "Adam", "adam"])

    assert names == ["a-b-541e27fe", "a-b-ff096ad9", "a-c", "Adam", "adam"]


def test_a_run_that_has_its_folder_keeps_it(tmp_path):
    record = SimpleNamespace(folder=tmp_path / "a-b", config_hash="hash of a b")

    names = names_in_a_grid(["a b", "a-b"], EarlierNames([record]))

    assert names == ["a-b", "a-b-ff096ad9"]


def test_two_spellings_of_a_letter_are_one_name_and_two_runs():
    composed, decomposed = names_in_a_grid(["caf\u00e9", "cafe\u0301"])

    assert composed != decomposed
    assert composed[:-9] == decomposed[:-9] == "caf\u00e9"


def test_whether_a_file_system_ignores_case_is_seen_before_the_folder_exists(tmp_path):
    (tmp_path / "Results").mkdir()
    assert not file_system_ignores_case(tmp_path / "Results" / "digits")
    (tmp_path / "rESULTS").symlink_to("Results")  # what such a file system would find
    assert file_system_ignores_case(tmp_path / "Results" / "digits")


def test_one_name_for_two_runs_names_the_missing_key():
    with pytest.raises(GridError) as raised:
        refuse_shared_names(
            ["mlp", "mlp"],
            [{"model": "mlp", "seed": 1}, {"model": "mlp", "seed": 2}],
            template="${model.name}",
        )

    assert str(raised.value) == (
        "Runs 0 and 1 of the grid would both be named 'mlp'. They differ in seed (1 and 2), which "
        "the template run_name: ${model.name} does not tell apart. Add the key, e.g. run_name: "
        "${model.name}_${seed}"
    )


def test_no_key_is_added_to_a_template_that_has_it():
    with pytest.raises(GridError, match="Leave run_name out"):
        refuse_shared_names(["1", "1"], [{"seed": 1}, {"seed": "1"}], template="${seed}")


def test_equal_values_with_different_configurations_are_refused():
    with pytest.raises(GridError, match="have the same values, but their configurations differ"):
        refuse_shared_names(["a", "a"], [{"x": "a"}, {"x": "a"}], template=None)
