import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit_plotting._text import (
    compact_none,
    escape,
    readable,
    short_keys,
    shorten,
    shorten_all,
    split_and_quantity,
    value_text,
)


@pytest.mark.parametrize(
    ("label", "compact"),
    [
        ("Some_Run_None_None_1", "Some_Run~~1"),
        ("None_1", "~1"),
        ("cnn_None", "cnn~"),
        ("None", "~"),
        ("a_None_b_None_c", "a~b~c"),
        ("cnn, None, 1", "cnn, ~, 1"),
        ("model=None, lr=0.1", "model=~, lr=0.1"),
        ("NoneType_1", "NoneType_1"),
        ("MyNone_x", "MyNone_x"),
    ],
)
def test_none_parts_become_a_tilde_and_nothing_else_does(label, compact):
    assert compact_none(label) == compact


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("val_loss", "Validation loss"),
        ("val_accuracy", "Validation accuracy"),
        ("test/f1", "Test F1"),
        ("loss", "Loss"),
        ("epoch_time_s", "Epoch time (s)"),
        ("gpu_memory_gb", "GPU memory (GB)"),
        ("s", "S"),
        ("dev_acc", "Development accuracy"),
        ("MyMetric", "MyMetric"),
        ("Loss on 50%", "Loss on 50%"),
    ],
)
def test_names_in_code_become_words(name, words):
    assert readable(name) == words


def test_metrics_of_two_splits_share_their_quantity():
    assert split_and_quantity("train_loss")[1] == split_and_quantity("val/loss")[1] == "loss"


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


def test_equal_shortened_labels_are_numbered():
    labels = [f"a_very_long_prefix_{middle}_and_a_long_suffix" for middle in "xyz"]

    assert len(set(shorten_all(labels, 20))) == 3


@given(st.text(), st.integers(3, 30))
def test_shortened_text_keeps_to_its_length(text, length):
    assert len(shorten(text, length)) <= length or len(text) <= length


@given(st.text())
def test_escaping_leaves_no_active_latex_character(text):
    escaped = escape(text, latex=True)

    bare = escaped
    for command in (r"\$", r"\&", r"\#", r"\%", r"\_", r"\{", r"\}"):
        bare = bare.replace(command, "")
    assert not set("&#%_~") & set(bare)


@given(st.text())
def test_escaped_text_is_no_mathtext(text):
    from matplotlib.cbook import is_math_text

    assert not is_math_text(escape(text, latex=False))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_in_a_label_reads_back_exactly(value):
    assert float(value_text(value)) == value


@pytest.mark.parametrize("latex", [True, False])
def test_what_no_font_and_no_file_can_hold_is_left_out(latex):
    assert escape("a\tb\x00c\x1b\udce4", latex=latex) == "a b c ?"
