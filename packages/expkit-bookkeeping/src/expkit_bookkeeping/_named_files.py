"""What a run saves by name: states, encoders, its model's summary, results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ._stored_files import StoredFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._recording.finished_run import FinishedRun
    from ._recording.open_run import OpenRun


class NamedFiles(StoredFiles):
    """The methods of `Bookkeeping` for files that the user names."""

    def _writing(self) -> OpenRun | FinishedRun | None:
        raise NotImplementedError

    def _warn(self, text: str) -> None:
        raise NotImplementedError

    def save_model(self, model: object, name: str = "model") -> Path:
        """Write a model's state_dict to `states/NAME.pt`, without wrappers; see `load_model`.

        Raises:
            TypeError: If it has no state_dict, or one with values that need pickle.
            ValueError: If the name leaves the run folder.
            OSError: If it could not be written.
        """
        return self._save_state(model, name)

    def save_optimizer(self, optimizer: object, name: str = "optimizer") -> Path:
        """Write an optimizer's state to `states/NAME.pt`; see `save_model`."""
        return self._save_state(optimizer, name)

    def save_scheduler(self, scheduler: object, name: str = "scheduler") -> Path:
        """Write a scheduler's state to `states/NAME.pt`; see `save_model`."""
        return self._save_state(scheduler, name)

    def save_encoder(self, encoder: object, name: str = "encoder", *, pickle: bool = False) -> Path:
        """Write a label encoder, scaler or vectorizer to `states/NAME.json` (or `.pt`).

        Args:
            encoder: An object with `state_dict`/`load_state_dict` or `to_dict`/`from_dict`, or a
                scikit-learn estimator, whose attributes are written with their dtypes.
            name: Its name.
            pickle: Whether to pickle it instead. Loading that runs code from the file.

        Returns:
            The file.

        Raises:
            TypeError: If it cannot be written without pickle; says which part and why.
            ValueError: If the name leaves the run folder.
        """
        from ._results.encoders import encoder_path, save_encoder

        run = self._writing()
        if run is None:
            return encoder_path(self.folder, name)
        return save_encoder(self.folder, encoder, name, pickle=pickle, check=run.check)

    def save_model_summary(
        self,
        model: object,
        input_size: Sequence[int] | Sequence[Sequence[int]] | None = None,
        input_data: object = None,
        **kwargs: object,
    ) -> Path:
        """Write `model_summary.txt` and `model_summary.yaml`: layers, shapes, totals.

        With torchinfo and an input the model runs once, in eval mode; afterwards its device, train
        flags, buffers and all random states are what they were. If that fails, the parameters are
        listed and one warning is logged.

        Args:
            model: The module, wrapped or not.
            input_size: Shape of the input with its batch, `(1, 1, 8, 8)`, or several shapes.
            input_data: Instead: a tensor, a tuple or list of arguments, or a dict of named ones.
            **kwargs: More arguments of the model's `forward`.

        Returns:
            The text file.

        Raises:
            TypeError: If the model is not a module, or both kinds of input are given.
        """
        from ._results.summary import save_model_summary

        run = self._writing()
        if run is None:
            return self.folder / "model_summary.txt"
        return save_model_summary(
            self.folder,
            model,
            run.check,
            input_size=input_size,
            input_data=input_data,
            report=self._warn,
            **kwargs,
        )

    def save_results(self, data: object, name: str) -> Path:
        """Write results to `results/NAME`; `load_results` gives back equal ones.

        A dict or list goes to `.yaml` or `.json`, a DataFrame to `.csv` (with its dtypes and
        index beside it in `NAME.csv.schema.json`) or `.parquet`, a numpy array to `.npy`; the
        first of each is the default. Numpy and torch scalars in a dict become plain numbers.

        Args:
            data: The results.
            name: Relative name, with or without suffix; `"fold1/scores"` makes a folder.

        Returns:
            The file.

        Raises:
            TypeError: If something would not be read back equal; says where and what to do.
            ValueError: If the suffix is not one of the data's, or the name leaves the run folder.
            ImportError: If Parquet is asked for and pyarrow is missing.
        """
        from ._results.values import results_path, save_results

        run = self._writing()
        if run is None:
            return results_path(self.folder, data, name)
        return save_results(self.folder, data, name, check=run.check)

    def _save_state(self, value: object, name: str) -> Path:
        from ._checkpoints.states import save_state, state_path

        run = self._writing()
        if run is None:
            return state_path(self.folder, name)
        return save_state(self.folder, value, name, check=run.check)
