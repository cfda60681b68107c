"""What a run has saved by name, as it is read: states, encoders, results."""

from __future__ import annotations

from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from ._runs.settings import RunSettings

    T = TypeVar("T")


class StoredFiles:
    """The methods of `Bookkeeping` and `Run` that read files which the user has named.

    Attributes:
        folder: The run folder.
    """

    folder: Path

    def _settings_of_run(self) -> RunSettings:
        raise NotImplementedError

    def _wait_for_files(self) -> None:
        """Wait, before a file is read, until it is the one that was last saved under its name."""

    def load_model(
        self, model: T, name: str | int = "model", *, strict: bool = True, unsafe: bool = False
    ) -> T:
        """Read a saved state into a model, wrapped or not, and return it.

        Args:
            model: The model.
            name: The name that it was saved under; or a checkpoint: `"best"`, `"last"` for the
                newest, or an epoch, from 0.
            strict: Whether every key must exist and fit.
            unsafe: Whether to unpickle arbitrary objects, which runs code from the file; for old
                files of your own.

        Raises:
            FileNotFoundError: If there is no such file; names those that exist.
            ValueError: If the file is damaged, or the name leaves the run folder.
            RuntimeError: If the state does not fit the model.
        """
        return self._load_state(model, name, "model", strict=strict, unsafe=unsafe)

    def load_optimizer(
        self, optimizer: T, name: str | int = "optimizer", *, unsafe: bool = False
    ) -> T:
        """Read a saved state into an optimizer and return it; see `load_model`.

        The parameters must have the order in which it was saved; `resume` goes by their names.
        """
        return self._load_state(optimizer, name, "optimizer", unsafe=unsafe)

    def load_scheduler(
        self, scheduler: T, name: str | int = "scheduler", *, unsafe: bool = False
    ) -> T:
        """Read a saved state into a scheduler and return it; see `load_model`."""
        return self._load_state(scheduler, name, "scheduler", unsafe=unsafe)

    def load_state(self, name: str | int, part: str = "model", *, unsafe: bool = False) -> object:
        """Read a saved state as it is, on the CPU: a state_dict, for instance.

        Args:
            name: See `load_model`.
            part: What to take from a checkpoint, such as `"optimizer"`.
            unsafe: See `load_model`.

        Raises:
            FileNotFoundError: If there is no such file; names those that exist.
            ValueError: If the file is damaged, a checkpoint has no such part, or the name leaves
                the run folder.
        """
        from ._checkpoints.states import read_state

        self._wait_for_files()
        _, state = read_state(
            self.folder, name, part=part, settings=self._settings_of_run(), unsafe=unsafe
        )
        return state

    def load_encoder(
        self, encoder: type[T] | T, name: str = "encoder", *, pickle: bool = False
    ) -> T:
        """Read what `save_encoder` wrote into an object of its class, and return it.

        Args:
            encoder: The class, or an object of it, which is filled.
            name: The name that it was saved under.
            pickle: Whether a pickled one may be loaded, which runs code from the file.

        Raises:
            FileNotFoundError: If there is no such encoder; names the files that exist.
            TypeError: If the file holds another class.
            ValueError: If the file is damaged, or a pickle and `pickle` is not set.
        """
        from ._results.encoders import load_encoder

        return load_encoder(self.folder, encoder, name, pickle=pickle)

    def load_results(self, name: str) -> object:
        """Read what `save_results` wrote; the suffix may be left out where one file fits.

        Raises:
            FileNotFoundError: If there is no such file; names those that exist.
            ValueError: If several files fit, or the file is damaged.
        """
        from ._results.values import load_results

        return load_results(self.folder, name)

    def _load_state(
        self, value: T, name: str | int, part: str, *, strict: bool = True, unsafe: bool
    ) -> T:
        from ._checkpoints.states import load_state

        self._wait_for_files()
        return load_state(
            self.folder,
            value,
            name,
            part=part,
            settings=self._settings_of_run(),
            strict=strict,
            unsafe=unsafe,
        )
