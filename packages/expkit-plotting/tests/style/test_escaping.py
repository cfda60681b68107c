import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.cbook import is_math_text

from expkit_plotting._style.escaping import escape


@given(st.text())
def test_escaping_leaves_no_active_latex_character(text):
    escaped = escape(text, latex=True)

    bare = escaped
    for command in (r"\$", r"\&", r"\#", r"\%", r"\_", r"\{", r"\}", r"\~"):
        bare = bare.replace(command, "")
    assert not set("&#%_~") & set(bare)


@given(st.text())
def test_escaped_text_is_no_mathtext(text):
    assert not is_math_text(escape(text, latex=False))


@pytest.mark.parametrize("latex", [True, False])
def test_what_no_font_and_no_file_can_hold_is_left_out(latex):
    assert escape("a\tb\x00c\x1b\udce4", latex=latex) == "a b c ?"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("10⁴", r"10\textsuperscript{4}"),
        ("10⁻³", r"10\textsuperscript{\ensuremath{-}}\textsuperscript{3}"),
        ("x₁", r"x\textsubscript{1}"),
        ("2½", r"2\textsuperscript{1}\kern-.1em/\kern-.1em\textsubscript{2}"),
        ("①", "(1)"),
        ("2", "2"),
        ("x̄", r"\={x}"),
        ("θ̂", r"\ensuremath{\hat{\ensuremath{\theta}}}"),
        ("№ 𝐱 Ⅷ", "No x VIII"),
        ("a\u200db", "ab"),
    ],
)
def test_latex_draws_the_same_number_and_letter(text, escaped):
    assert escape(text, latex=True) == escaped


@given(st.text(st.characters(categories=["Nd", "Nl", "No"]), min_size=1, max_size=3))
def test_no_number_loses_a_part(text):
    """Either all of a number is in what LaTeX draws, or its place is marked and named."""
    missing: dict[str, None] = {}

    escaped = escape(text, latex=True, missing=missing)

    drawn = "".join(re.findall(r"\d", escaped.replace(".1em", "")))
    for character in text:
        if character in missing:
            continue
        digits = "".join(re.findall("[0-9]", unicodedata.normalize("NFKD", character)))
        assert digits in drawn
        if unicodedata.decomposition(character).startswith(("<fraction>", "<super>", "<sub>")):
            assert "script{" in escaped
    assert escaped.count("?") == sum(character in missing for character in text)


@pytest.mark.parametrize("latex", [True, False])
def test_characters_without_a_glyph_are_marked_and_named(latex):
    missing: dict[str, None] = {}

    escaped = escape("a漢b漢🙂", latex=latex, has_glyph=str.isascii, missing=missing)

    assert escaped == "a?b??"
    assert list(missing) == ["漢", "🙂"]


def test_without_latex_numbers_in_another_form_are_never_taken_apart():
    assert escape("½ 10⁴ ２", latex=False, has_glyph=str.isascii) == "? 10? 2"
