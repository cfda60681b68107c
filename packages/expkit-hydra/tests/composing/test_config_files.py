"""Hydra reads the configuration's files once for all runs of a grid."""

from hydra.types import RunMode

from expkit_hydra._composing.config_files import files_read_once


def test_files_are_read_once_while_a_grid_is_made(app):
    with app.running() as hydra:
        loader = hydra.config_loader
        with files_read_once(loader):
            first = loader.load_configuration("config", [], RunMode.RUN)
            app.edit("epochs: 2", "epochs: 3")
            second = loader.load_configuration("config", ["seed=2"], RunMode.RUN)
        later = loader.load_configuration("config", [], RunMode.RUN)

    assert (first.epochs, second.epochs, later.epochs) == (2, 2, 3)
    assert (first.seed, second.seed) == (1, 2)
