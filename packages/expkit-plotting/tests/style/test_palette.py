import itertools
import subprocess
import sys

import numpy as np
import pytest

from expkit_plotting._style.background import stands_out
from expkit_plotting._style.palette import (
    SEABORN,
    colours,
    curve_styles,
    distinct_colours,
)
from expkit_plotting._style.rc_parameters import CONTEXT, CONTEXT_SCALES

# Machado, Oliveira and Fernandes (2009), severity 1.0: what a reader with the deficiency sees,
# as a matrix on linear RGB.
DEFICIENCIES = {
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
}
TO_XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]


def seen_lab(colour: str, deficiency: str) -> np.ndarray:
    """The colour that the reader sees, in CIE Lab."""
    rgb = np.array([int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(DEFICIENCIES[deficiency]) @ linear, 0, 1)
    xyz = np.array(TO_XYZ) @ seen / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
@pytest.mark.parametrize("count", [2, 5, 9, 12, 30])
def test_colour_blind_readers_can_tell_any_two_curves_apart(count, deficiency):
    for (one, dash), (other, other_dash) in itertools.combinations(
        curve_styles("colorblind", count), 2
    ):
        distance = np.linalg.norm(seen_lab(one, deficiency) - seen_lab(other, deficiency))

        # 2.3 is the just noticeable difference of CIE76; thin lines want several times that.
        assert dash != other_dash or distance > 10


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_colours_that_are_not_helped_by_line_styles_differ_for_colour_blind_readers(deficiency):
    shades = distinct_colours("colorblind", 6)

    assert len(shades) == 6
    for one, other in itertools.combinations(shades, 2):
        assert np.linalg.norm(seen_lab(one, deficiency) - seen_lab(other, deficiency)) > 10


@pytest.mark.parametrize("palette", ["colorblind", "tab10", "viridis", "deep", "rocket"])
def test_styles_never_repeat_up_to_thirty_curves(palette):
    for count in range(1, 31):
        assert len(set(curve_styles(palette, count))) == count


def test_no_curve_is_too_light_for_paper():
    assert all(stands_out(colour) for colour, _ in curve_styles("colorblind", 30))


def test_our_tables_equal_seaborns():
    # In a process of its own: seaborn registers colormaps.
    code = (
        "import seaborn, json\n"
        "from seaborn.palettes import SEABORN_PALETTES as palettes\n"
        "print(json.dumps([palettes, "
        "{c: dict(seaborn.plotting_context(c)) for c in ('paper','notebook','talk','poster')}]))"
    )
    import json

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    palettes, contexts = json.loads(done.stdout)

    for name, ours in SEABORN.items():
        assert [f"#{code}" for code in ours.split()] == palettes[name]
    for name, scale in CONTEXT_SCALES.items():
        assert {key: value * scale for key, value in CONTEXT.items()} == pytest.approx(
            contexts[name]
        )


def test_a_list_of_colours_is_a_palette():
    assert colours(["red", "#00ff00"], 5) == ["#ff0000", "#00ff00"]
