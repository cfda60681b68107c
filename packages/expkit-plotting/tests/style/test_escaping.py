import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit_plotting._style.escaping import escape


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


@pytest.mark.parametrize("latex", [True, False])
def test_what_no_font_and_no_file_can_hold_is_left_out(latex):
    assert escape("a\tb\x00c\x1b\udce4", latex=latex) == "a b c ?"
