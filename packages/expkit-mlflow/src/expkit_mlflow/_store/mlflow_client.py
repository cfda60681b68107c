"""MLflow's own client, for databases, and its libraries for the places where artifacts lie."""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .entities import StoredExperiment, StoredRun, TagMap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, Run, RunTag


class DirectClient:
    """Reads and writes a database with MLflow's client; has the methods of `Server`.

    Args:
        uri: The database.
    """

    def __init__(self, uri: str) -> None:
        from mlflow import MlflowClient

        self._client: MlflowClient = MlflowClient(tracking_uri=uri)

    def check(self) -> None:
        """Nothing: a database fails quickly, at the first request."""

    def find_experiment(self, name: str) -> StoredExperiment | None:
        """The experiment of this name, even if it was deleted."""
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            return None
        deleted = experiment.lifecycle_stage != "active"
        return StoredExperiment(str(experiment.experiment_id), name, deleted)

    def create_experiment(self, name: str, location: str | None, tags: TagMap) -> None:
        """Creates an experiment."""
        self._client.create_experiment(name, artifact_location=location, tags=dict(tags))

    def search_runs(
        self, experiment_id: str, condition: str, page_token: str | None
    ) -> tuple[list[StoredRun], str | None]:
        """One page of an experiment's runs by their start, deleted ones too, and the next token."""
        from mlflow.entities import ViewType

        page = self._client.search_runs(
            [experiment_id],
            condition,
            run_view_type=ViewType.ALL,
            max_results=1000,
            order_by=["attributes.start_time ASC"],
            page_token=page_token,
        )
        return [_stored(run) for run in page], page.token or None

    def create_run(self, experiment_id: str, name: str, tags: TagMap, start_ms: int) -> StoredRun:
        """Creates a run."""
        run = self._client.create_run(
            experiment_id, start_time=start_ms, tags=dict(tags), run_name=name
        )
        return _stored(run)

    def get_run(self, run_id: str) -> StoredRun:
        """The run with this id."""
        return _stored(self._client.get_run(run_id))

    def update_run(self, run_id: str, status: str, end_ms: int | None) -> None:
        """Sets the status, and the end if there is one."""
        if end_ms is None:
            self._client.update_run(run_id, status=status)
        else:
            self._client.set_terminated(run_id, status, end_ms)

    def delete_run(self, run_id: str) -> None:
        """Marks a run as deleted."""
        self._client.delete_run(run_id)

    def restore_run(self, run_id: str) -> None:
        """Restores it."""
        self._client.restore_run(run_id)

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        """Sets one tag."""
        self._client.set_tag(run_id, key, value)

    def delete_tag(self, run_id: str, key: str) -> None:
        """Deletes one tag."""
        self._client.delete_tag(run_id, key)

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric],
        params: Sequence[Param],
        tags: Sequence[RunTag],
    ) -> None:
        """Writes one batch; the database keeps a point that it already has only once."""
        self._client.log_batch(run_id, metrics, params, tags)


def upload_directly(artifact_uri: str, source: Path, path: str, *, tracking_uri: str) -> None:
    """Copies a file to a bucket or a folder.

    Args:
        artifact_uri: The place of the run's artifacts.
        source: The file.
        path: Its path there.
        tracking_uri: The store that named the place.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository = get_artifact_repository(artifact_uri, tracking_uri=tracking_uri)
    folder, name = posixpath.split(path)
    if name == source.name:
        repository.log_artifact(str(source), folder or None)  # type: ignore[no-untyped-call]
        return
    with tempfile.TemporaryDirectory() as scratch:  # MLflow takes the name from the file
        link = Path(scratch) / name
        link.symlink_to(source.absolute())
        repository.log_artifact(str(link), folder or None)  # type: ignore[no-untyped-call]


def _stored(run: Run) -> StoredRun:
    return StoredRun(
        id=run.info.run_id,
        status=run.info.status,
        deleted=run.info.lifecycle_stage != "active",
        artifact_uri=str(run.info.artifact_uri or ""),
        params=dict(run.data.params),
        tags=dict(run.data.tags),
    )
