"""What is secret is the same for all packages, and no file or message shows it."""

from pathlib import Path

from workspace import REPOSITORY


def source(package: str, module: str) -> str:
    name = package.replace("-", "_")
    return Path(REPOSITORY, "packages", package, "src", name, module).read_text(encoding="utf-8")


def test_mlflow_knows_secrets_as_bookkeeping_does():
    ours = source("expkit-bookkeeping", "_files/secrets.py")

    assert source("expkit-mlflow", "_store/secrets.py") == ours
