"""Runs that cleaning would give one name."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit_hydra import GridError
from expkit_hydra._drafting import shared_names
from expkit_hydra._drafting.shared_names import (
    EarlierNames,
    folded,
    ignores_case,
    refuse_shared_names,
    told_apart,
)
from expkit_hydra._grid.names import name_of

NOTHING = EarlierNames([])


def names_in_a_grid(texts, folder, earlier=NOTHING):
    names = [name_of({"note": text}) for text in texts]
    plain = [name.plain for name in names]
    suffixed = told_apart(names, plain, [f"hash of {text}" for text in texts], folder, earlier)
    return [suffixed.get(position, name) for position, name in enumerate(plain)]


@given(st.lists(st.text(max_size=4), unique=True, max_size=20))
def test_no_two_runs_of_a_grid_share_a_folder(texts):
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(shared_names, "ignores_case", lambda folder: True)
        names = names_in_a_grid(texts, None)

    assert len({folded(name) for name in names}) == len(texts)
    order = sorted(range(len(texts)), key=lambda position: texts[position])
    assert names_in_a_grid([texts[at] for at in order], None) == [names[at] for at in order]


def test_a_suffix_comes_only_where_names_would_be_shared(tmp_path):
    names = names_in_a_grid(["a b", "a-b", "a c", "Adam", "adam"], tmp_path)

    assert names == ["a-b-541e27fe", "a-b-ff096ad9", "a-c", "Adam", "adam"]


def test_a_run_that_has_its_folder_keeps_it(tmp_path):
    record = SimpleNamespace(folder=tmp_path / "a-b", config_hash="hash of a b")

    names = names_in_a_grid(["a b", "a-b"], tmp_path, EarlierNames([record]))

    assert names == ["a-b", "a-b-ff096ad9"]


def test_two_spellings_of_a_letter_are_one_name_and_two_runs(tmp_path):
    composed, decomposed = names_in_a_grid(["caf\u00e9", "cafe\u0301"], tmp_path)

    assert composed != decomposed
    assert composed[:-9] == decomposed[:-9] == "caf\u00e9"


def test_whether_a_file_system_ignores_case_is_seen_before_the_folder_exists(tmp_path):
    (tmp_path / "Results").mkdir()
    assert not ignores_case(tmp_path / "Results" / "digits")
    (tmp_path / "rESULTS").symlink_to("Results")  # what such a file system would find
    assert ignores_case(tmp_path / "Results" / "digits")


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
