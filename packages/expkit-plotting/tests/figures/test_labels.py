import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit_plotting._figures.labels import (
    compact_none,
    readable,
    shorten,
    shorten_all,
    split_and_quantity,
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


def test_equal_shortened_labels_are_numbered():
    labels = [f"a_very_long_prefix_{middle}_and_a_long_suffix" for middle in "xyz"]

    assert len(set(shorten_all(labels, 20))) == 3


@given(st.text(), st.integers(3, 30))
def test_shortened_text_keeps_to_its_length(text, length):
    assert len(shorten(text, length)) <= length or len(text) <= length
