"""What a sweep prints about its runs."""

from pathlib import Path

from expkit_hydra._console.sweep_report import user_frame


def test_an_error_is_traced_to_the_users_code():
    try:
        Path("/nonexistent/file").read_text()
    except OSError as error:
        here = user_frame(error, Path(__file__).parent)
        nowhere = user_frame(error, Path("/nonexistent"))

    assert here.startswith("test_sweep_report.py:")
    assert "pathlib" in nowhere  # a package since Python 3.13
