from hypothesis import given
from hypothesis import strategies as st

from expkit_plotting._data.groups import natural_key, short_keys, value_text
from expkit_plotting._figure_files.paths import file_name


def test_short_keys_stay_unambiguous_and_say_something():
    assert short_keys(["optimizer.lr", "model.name", "optimizer.name"]) == {
        "optimizer.lr": "lr",
        "model.name": "model",
        "optimizer.name": "optimizer",
    }
    assert short_keys(["a.lr", "b.lr"]) == {"a.lr": "a.lr", "b.lr": "b.lr"}
    assert short_keys(["model", "model.name"]) == {"model": "model", "model.name": "name"}
    assert short_keys(["name", "a.b.name", "c.b.name"]) == {
        "name": "name",
        "a.b.name": "a.b",
        "c.b.name": "c.b",
    }


@given(st.lists(st.text()))
def test_any_text_has_its_place_among_others(texts):
    assert sorted(texts, key=natural_key)[:1] == sorted(texts, key=natural_key, reverse=True)[-1:]


def test_digits_that_are_no_numbers_are_sorted_as_text():
    assert sorted(["²", "2"], key=natural_key) == ["2", "²"]


def test_figures_are_named_by_whole_letters_of_all_languages():
    assert file_name("val/हिन्दी") == "val_हिन्दी"
    assert file_name("pre\u0301cision") == file_name("pr\u00e9cision") == "pr\u00e9cision"
    assert file_name("🙂") == "metric"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_in_a_label_reads_back_exactly(value):
    assert float(value_text(value)) == value


def test_numbers_sort_as_numbers():
    assert sorted(["r_10", "r_2"], key=natural_key) == ["r_2", "r_10"]
    assert sorted([0.1, 1e-5, 10], key=natural_key) == [1e-5, 0.1, 10]
    assert sorted([None, "a", 3, True], key=natural_key)  # of mixed kinds, without an error
