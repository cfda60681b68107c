"""What any package writes as YAML is the same data for whoever reads it.

PyYAML follows YAML 1.1, OmegaConf (and so Hydra) adds floats of YAML 1.2, and other programs
follow YAML 1.2.
"""

import math
import os
import re

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

try:
    from omegaconf._yaml import get_yaml_loader
except ImportError:  # before OmegaConf 2.4
    from omegaconf._utils import get_yaml_loader

from expkit_bookkeeping import Bookkeeping
from expkit_bookkeeping.launching import read_yaml, yaml_text
from expkit_hydra._running.yaml_text import to_yaml
from expkit_mlflow._journal.configuration import yaml_text as mlflow_yaml
from expkit_timer._files import _dump_yaml as timer_yaml

LONG = os.environ.get("EXPKIT_HYPOTHESIS") == "long"
EXAMPLES = settings(
    max_examples=20_000 if LONG else 400,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
WRITERS = {
    "bookkeeping, hydra and slurm": yaml_text,
    "bookkeeping's summaries": lambda data: yaml_text(data, compact=True),
    "mlflow": mlflow_yaml,
    "timer": timer_yaml,
}

WORDS = """
695e0514 1e5 1e-3 1.e5 .5 +.5 -1E+3 1_000 1__0 _1 0x1F 0X1f 0o17 017 08 0b11 1:30 1:30.5 190:20:30
2026-11-30 2026-11-30T01:02:03Z 2026-11-30t1:2:3.4+01 .inf -.INF +.inf .NaN inf nan NaN Infinity
null Null NULL ~ yes no on off y n True false << = - -- --- ... ? : ! & * % @ ` | > [ ] { } , #
!!int $ ${a ??? a: :a a#
"""
SPACED = ("", " ", "a ", " a", "a: b", "a #b", "- a", "? a", "a\n", "\na", "\n", "a\n\n b")
TRAPS = (*WORDS.split(), *SPACED)
NUMBER_LIKE = st.text("0123456789-+.eE_:oxbOXabfINFinfnanTtZz", max_size=12)
# Line ends of all kinds, a byte order mark, control characters and characters beyond the plane.
SIGNS = " \n\t\r'\"#:-?\\a1\x00\x07\x1b\x7f\x85\x9f\xa0\u2028\u2029\ufeff\ufffe\U0001f600\U0010ffff"
TEXT = st.one_of(
    st.sampled_from(TRAPS),
    NUMBER_LIKE,
    st.text(SIGNS, max_size=40),
    st.text(max_size=20),
    st.builds(
        lambda word, count: word * count, st.text(min_size=1, max_size=9), st.integers(1, 60)
    ),
)
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT)
KEYS = st.one_of(TEXT, st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False))


def trees(keys, values=VALUES):
    return st.recursive(
        values, lambda part: st.lists(part, max_size=4) | st.dictionaries(keys, part, max_size=4),
        max_leaves=12,
    )  # fmt: skip


def same(data, other):
    """Whether both are equal, types included; in the order of their keys, and NaN equals NaN."""
    if type(data) is not type(other):
        return False
    if isinstance(data, dict):
        keys = [(type(key), repr(key)) for key in data] == [(type(k), repr(k)) for k in other]
        return keys and all(map(same, data.values(), other.values()))
    if isinstance(data, list):
        return len(data) == len(other) and all(map(same, data, other))
    return repr(data) == repr(other)


CORE = {  # https://yaml.org/spec/1.2.2/#1032-tag-resolution
    r"null|Null|NULL|~|": lambda text: None,
    r"true|True|TRUE|false|False|FALSE": lambda text: text.lower() == "true",
    r"[-+]?[0-9]+": int,
    r"0o[0-7]+": lambda text: int(text[2:], 8),
    r"0x[0-9a-fA-F]+": lambda text: int(text[2:], 16),
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?": float,
    r"[-+]?(\.inf|\.Inf|\.INF)": lambda text: float(text.replace(".", "")),
    r"\.nan|\.NaN|\.NAN": lambda text: math.nan,
}


def read_as_1_2(text):
    """The data that the core schema of YAML 1.2 sees; PyYAML only finds the marks between."""

    def value(node):
        if isinstance(node, yaml.MappingNode):
            return {value(key): value(part) for key, part in node.value}
        if isinstance(node, yaml.SequenceNode):
            return [value(part) for part in node.value]
        if node.style is None:
            for pattern, convert in CORE.items():
                if re.fullmatch(pattern, node.value):
                    return convert(node.value)
        return node.value

    return value(yaml.compose(text, Loader=yaml.BaseLoader))


READERS = {
    "OmegaConf": lambda text: yaml.load(text, Loader=get_yaml_loader()),
    "yaml.safe_load": yaml.safe_load,
    "YAML 1.2": read_as_1_2,
}


# OmegaConf 2.4 reads with libyaml, which has no halves of characters.
OMEGACONF_HAS_HALVES = not issubclass(get_yaml_loader(), getattr(yaml, "CSafeLoader", ()))


@pytest.mark.parametrize("writer", WRITERS)
@EXAMPLES
@given(data=trees(KEYS))
@example(data={text: text for text in TRAPS})
@example(data=[-0.0, 1e-5, 1e16, 1.5e300, 5e-324, math.inf, -math.inf, math.nan, 2**70, 10**16])
@example(data={2: "2", "2": 2, True: "x", "True": 0, 1.5: None, "1.5": [], None: {}, "null": ""})
@example(data={"a" * 200: "word " * 5000, "b\nc": "x" * 5000})
def test_what_a_package_writes_is_read_back_equal_by_every_reader(writer, data):
    text = WRITERS[writer](data)

    for name, read in READERS.items():
        assert same(data, read(text)), (name, text)


@EXAMPLES
@given(data=trees(KEYS))
@example(data="\x85")
def test_it_is_the_same_where_libyaml_cannot_write_it(data):
    """Libyaml has no halves of characters; PyYAML's own writer then takes its place."""
    data = {"half": "\udce9", "data": data}

    text = yaml_text(data)

    for name, read in READERS.items():
        if name != "OmegaConf" or OMEGACONF_HAS_HALVES:
            assert same(data, read(text)), (name, text)


@EXAMPLES
@given(data=st.dictionaries(TEXT, trees(TEXT), max_size=4).filter(lambda d: "${" not in repr(d)))
def test_omegaconf_makes_the_same_configuration_of_it(data):
    config = OmegaConf.create(data)

    for text in (yaml_text(data), to_yaml(config)):  # the latter are Hydra's own files
        read = OmegaConf.create(text) if data else OmegaConf.create({})
        assert same(data, OmegaConf.to_container(read)), text


@pytest.mark.parametrize("writer", WRITERS)
def test_half_of_a_character_is_escaped_and_read_back(writer, tmp_path):
    data = {"data_dir": os.fsdecode(b"/data/caf\xe9"), "revision": "1e5"}  # a path in Latin 1

    (tmp_path / "a.yaml").write_text(WRITERS[writer](data), encoding="utf-8")

    assert read_yaml(tmp_path / "a.yaml") == data
    if OMEGACONF_HAS_HALVES:
        assert OmegaConf.to_container(OmegaConf.load(tmp_path / "a.yaml")) == data


def test_a_revision_stays_text_in_the_files_of_a_run(tmp_path):
    config = {"experiment_id": "e", "run_name": "r", "results_dir": str(tmp_path), "tag": "1e5"}
    with Bookkeeping.from_config(config, console=False) as run:
        run.save_results({"revision": "695e0514"}, "test")

    assert OmegaConf.load(run.folder / "config.yaml").tag == "1e5"
    assert OmegaConf.load(run.folder / "results" / "test.yaml").revision == "695e0514"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a: 1\nb: [2", r"a\.yaml is damaged: line 2, column 6: expected ',' or ']'"),
        (b"a: 1\nb: !!python/object:os.system x", r"is damaged: line 2, column 4: could not deter"),
        (b"a: 1\nb: \x01", r"is damaged: line 2: unacceptable character #x0001"),
        (b"a: \xff", r"is damaged: 'utf-8' codec"),
        (b"a: 2026-02-30", r"is damaged: day"),
        (b"[" * 5000, r"is damaged: "),
    ],
)
def test_a_damaged_file_is_named_with_the_line(content, problem, tmp_path):
    (tmp_path / "a.yaml").write_bytes(content)

    with pytest.raises(ValueError, match=problem):
        read_yaml(tmp_path / "a.yaml")


def test_what_yaml_does_not_have_is_refused_by_name():
    with pytest.raises(TypeError, match="is a complex, which YAML does not have"):
        yaml_text({"a": 1j})
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(ValueError, match="holds itself"):
        yaml_text(circle)


def test_mlflow_writes_numbers_of_numpy_as_numbers():
    import numpy as np

    data = {"lr": np.float64(0.1), "seed": np.int64(3), "amp": np.bool_(True), "eps": np.float32(2)}

    assert yaml.safe_load(mlflow_yaml(data)) == {"lr": 0.1, "seed": 3, "amp": True, "eps": 2.0}
