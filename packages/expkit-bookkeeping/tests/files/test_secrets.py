"""What is secret, and texts that do not show it."""

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from expkit_bookkeeping import Bookkeeping, read_run
from expkit_bookkeeping.launching import (
    is_secret_key,
    public_config,
    public_override,
    uri_without_secrets,
    without_known_secrets,
)

# Not what begins a query behind an `@`: nobody can tell whether the password goes on.
PASSWORDS = st.text(st.characters(codec="utf-8", exclude_characters="=\n\r"), min_size=1)


@given(PASSWORDS)
@example("a/b#c?d e@f")
@example("5432/x")
@example("***")
def test_no_password_of_a_database_is_shown_however_it_is_written(password):
    uri = f"postgresql+psycopg2://ada:{password}@db:5432/mlflow?sslmode=require"

    shown = uri_without_secrets(uri)

    assert shown == "postgresql+psycopg2://ada:***@db:5432/mlflow?sslmode=require"


@pytest.mark.parametrize(
    "uri",
    [
        "http://localhost:5000", "http://host:5000/x@y", "sqlite:////a/b@c.db", "s3://bucket/a@b",
        "http://[::1]:5000/a@b", "hdfs://node:8020/data@v2", "https://x.org/?q=1&page=2",
        "ssh://git@github.com/x", "postgresql://ada@db/x", "mlflow-artifacts:/1/a", "C:\\x@y",
        "postgresql://${oc.env:USER}:${oc.env:DB_PASSWORD}@db/x",
    ],
)  # fmt: skip
def test_what_has_no_password_stays_as_it_is(uri):
    assert uri_without_secrets(uri) == uri
    assert public_config({"uri": uri, "uris": [uri]}) == {"uri": uri, "uris": [uri]}


@pytest.mark.parametrize(
    "key", ["password", "db.password", "DB_PASSWORD", "aws.secret_access_key", "api-key", "token",
            "hf_token", "+auth.api_token", "credentials", "client_secret"],
)  # fmt: skip
def test_keys_of_secrets(key):
    assert is_secret_key(key)


@pytest.mark.parametrize(
    "key", ["pad_token", "tokenizer", "token_dim", "password_length", "secretary", "monkey", 7]
)
def test_keys_of_models_are_no_secrets(key):
    assert not is_secret_key(key)


def test_only_texts_are_secret():
    config = {"token": 50256, "password": None, "secret": "", "api_key": ["a"], "hf_token": "x"}

    assert public_config(config) == {**config, "hf_token": "***"}


def test_a_text_that_holds_a_secret_shows_none():
    config = {"db": {"password": "s3cret-word"}, "header": "Bearer s3cret-word", "adam": "adam"}

    assert public_config(config)["header"] == "Bearer ***"
    assert public_config({"password": "adam", "optimizer": "adam"})["optimizer"] == "adam"


@pytest.mark.parametrize(
    ("override", "public"),
    [
        ("++db.password='a,b=c'", "++db.password='***'"),
        ("uri=http\\://u\\:pw@h", "uri=http://u:***@h"),
        ("api_key=${oc.env:KEY}", "api_key=${oc.env:KEY}"),
        ("api_key=${oc.env:KEY,abc}", "api_key=***"),
        ("model=cnn", "model=cnn"),
        ("-m", "-m"),
    ],
)
def test_overrides_without_secrets(override, public):
    shown = public_override(override)

    assert shown == public or (shown.startswith("api_key=${oc.env:KEY,***") and "abc" in override)


def test_a_run_shows_no_secret_of_its_configuration(tmp_path, capsys):
    folder = tmp_path / "e" / "training" / "r"
    config = {"db": {"password": "PLANTED-9"}, "lr": 0.1}
    run = Bookkeeping(folder, config=config)
    with contextlib.suppress(RuntimeError), run:
        assert run.config["db"] == {"password": "PLANTED-9"}  # training code reads it
        run.log("connecting with PLANTED-9")
        raise RuntimeError("PLANTED-9 was refused by http://u:PLANTED/8@h")

    texts = [path.read_text() for path in folder.rglob("*") if path.is_file()]
    printed = capsys.readouterr().out
    assert [text for text in [*texts, printed] if "PLANTED" in text] == []
    assert "db.password: ${oc.env:DB_PASSWORD}" in printed
    assert read_run(folder).error["message"] == "*** was refused by http://u:***@h"


def test_secrets_of_the_environment_are_not_shown():
    environ = {"GITHUB_TOKEN": "abcdefgh1234", "PWD": "/home/ada/x", "TOKENIZERS": "parallelism"}

    text = without_known_secrets("abcdefgh1234 in /home/ada/x, parallelism", environ)

    assert text == "*** in /home/ada/x, parallelism"
