"""The line that shows how far composing a grid has come."""

from expkit_hydra._console.progress import progress_line


def test_composing_that_takes_long_shows_how_far_it_is(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes stderr for a terminal then
    times = iter([0.0, 1.0, 2.5, 3.0])

    with progress_line(3, clock=lambda: next(times)) as advance:
        advance()
        quick = capsys.readouterr().err
        advance()
        advance()

    assert quick == ""
    assert "Composing" in capsys.readouterr().err
