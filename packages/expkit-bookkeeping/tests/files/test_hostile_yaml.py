"""YAML that ends the process, never ends, or holds what no value can be, is refused by name."""

import os

import pytest

from expkit_bookkeeping.launching import read_yaml

HOSTILE = {
    "brackets": ("[" * 100_000, "nested more than 200 deep"),
    "closed brackets": ("[" * 5_000 + "]" * 5_000, "nested more than 200 deep"),
    "braces": ('{"a":' * 50_000, "nested more than 200 deep"),
    "dashes": ("- " * 50_000, "nested more than 200 deep"),
    "indentation": ("".join(" " * n + "a:\n" for n in range(300)), "nested more than 200 deep"),
    "aliases of aliases": (
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)),
        "aliases stand for more than 1000000 values",
    ),
    "a list in itself": ("a: &a [*a]\n", r"holds itself, by the alias \*a"),
    "no truth": ("a: !!bool x\n", "not what its tag says"),
    "no number": ("a: !!int ''\n", "not what its tag says"),
    "no time": ("a: !!timestamp x\n", "not what its tag says"),
    "a number beyond floats": (f"a: {':'.join(['9'] * 200)}.5\n", "not what its tag says"),
    "no UTF-8": (b"a: \xff\n", "utf-8"),
    "a merge key": ("a: {<<: 3}\n", "line 1"),
}


@pytest.mark.parametrize(("content", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_yaml_is_refused_by_the_name_of_its_file(tmp_path, content, reason):
    path = tmp_path / "config.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(ValueError, match=reason) as raised:
        read_yaml(path)

    assert str(path) in str(raised.value)
    assert len(str(raised.value)) < 500


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "endless.yaml").symlink_to("/dev/zero")
    (tmp_path / "folder.yaml").mkdir()

    for name in ("pipe.yaml", "endless.yaml", "folder.yaml"):
        with pytest.raises(ValueError, match=f"{name} cannot be read"):
            read_yaml(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    [
        "a: &x [1, 2]\nb: *x\nc: {<<: {d: 3}}\n",  # as people write it by hand
        "- [&x a, *x]\n- 'R&D * 2'\n",
        "\ufeffa: 1\r\nb: [2]\r\n",
        "a: " + "[1, " * 150 + "2" + "]" * 150 + "\n",
        "".join(f"- [{n}, {{a: {n}}}]\n" for n in range(1000)),
    ],
)
def test_yaml_within_the_bounds_is_read_as_before(tmp_path, text):
    import yaml

    (tmp_path / "config.yaml").write_text(text, newline="")

    assert read_yaml(tmp_path / "config.yaml") == yaml.safe_load(text)
