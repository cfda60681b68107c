"""One MLflow store, through its client: never the fluent API, never a run without experiment id."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .addresses import check_artifact_place, check_inside
from .errors import TrackingError
from .limits import clean_key, shorten
from .secrets import without_secrets
from .uris import check_installed, check_reachable, check_uri, is_server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, Run, RunTag
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

logger = logging.getLogger(__name__)

RUN_ID_TAG = "expkit.run_id"
POSITION_TAG = "expkit.journal_bytes"  # how much of the journal the store has
ARTIFACTS_TAG = "expkit.artifacts"  # of an experiment whose artifacts are in its own folder
FOLDER_TAG = "expkit.folder"  # of a run in a store that several experiments' folders may share
REMOVED_TAG = "expkit.removed"  # of a run that `sync` marked as deleted, and may restore
SUPERSEDED_TAG = "expkit.superseded_by"  # of a run whose folder another run has now
REQUEST_TIMEOUT_S = 20
MAX_INTEGER = 2**63 - 1  # of a step or a time in a database

TagMap = Mapping[str, str]
# Without it the UI shows prompts and judges.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}


@dataclass(frozen=True)
class StoredRun:
    """A run as the store has it before anything is sent."""

    id: str
    status: str
    deleted: bool
    position: int
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    artifact_uri: str = ""


class Point(NamedTuple):  # a dataclass takes four times as long to make
    """One value of one metric; `timestamp` in milliseconds since the epoch."""

    key: str
    value: float
    step: int
    timestamp: int


class Store:
    """Reads what a store has, and adds to it.

    Args:
        uri: Tracking URI: a server or a database.
        artifacts: Folder for the artifacts of new experiments; None lets the server choose.
        embedded: Whether the store belongs to one experiment's folder alone.
        is_named: Whether the user has named it; what another one says leads nowhere but to itself.
    """

    def __init__(
        self,
        uri: str,
        *,
        artifacts: Path | None = None,
        embedded: bool = False,
        is_named: bool = True,
    ) -> None:
        self.uri = uri
        self.embedded = embedded
        self.is_named = is_named
        self._artifacts = artifacts
        self._experiments: dict[str, str] = {}
        self._client: MlflowClient | None = None

    @property
    def client(self) -> MlflowClient:
        """The client; imports MLflow when it is first used.

        Raises:
            TrackingError: If the store cannot be used.
        """
        if self._client is None:
            check_uri(self.uri)
            check_installed(self.uri)
            from mlflow import MlflowClient

            self._client = MlflowClient(tracking_uri=self.uri)
        return self._client

    def check(self) -> None:
        """Checks that a server answers; call it before each series of requests.

        Raises:
            TrackingError: If it does not.
        """
        check_reachable(self.uri)

    def experiment_id(self, name: str) -> str:
        """The experiment's id; creates the experiment if it is missing.

        Raises:
            TrackingError: If it was deleted in MLflow.
        """
        experiment_id = self._find_experiment(name)
        if experiment_id is not None:
            return experiment_id
        from mlflow.exceptions import MlflowException

        location = None if self._artifacts is None else self._artifacts.as_uri()
        tags = dict(EXPERIMENT_TAGS)
        if location is not None:
            tags[ARTIFACTS_TAG] = location
        try:
            self.client.create_experiment(name, artifact_location=location, tags=tags)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        experiment_id = self._find_experiment(name)
        if experiment_id is None:
            uri = without_secrets(self.uri)
            raise TrackingError(f"Experiment {name!r} was created in {uri}, but is missing there.")
        return experiment_id

    def _find_experiment(self, name: str) -> str | None:
        if name in self._experiments:
            return self._experiments[name]
        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            return None
        if experiment.lifecycle_stage != "active":
            raise TrackingError(
                f"Experiment {name!r} was deleted in MLflow. Restore it in the UI or with "
                f"`mlflow experiments restore --experiment-id {experiment.experiment_id}`, "
                "or choose another experiment_id."
            )
        self._experiments[name] = str(experiment.experiment_id)
        return self._experiments[name]

    def runs(self, experiment: str) -> dict[str, StoredRun]:
        """All runs of an experiment that came from a journal, by their id there."""
        return self._search(experiment, "")

    def runs_named(self, experiment: str, name: str) -> dict[str, StoredRun]:
        """Those of them that have this name."""
        quote = '"' if "'" in name else "'"
        return self._search(experiment, f"attributes.run_name = {quote}{name}{quote}")

    def find_run(self, experiment: str, run_id: str) -> StoredRun | None:
        """The run with this id in its journal, even if it was deleted."""
        quoted = run_id.replace("'", "")
        return self._search(experiment, f"tags.`{RUN_ID_TAG}` = '{quoted}'").get(run_id)

    def _search(self, experiment: str, condition: str) -> dict[str, StoredRun]:
        from mlflow.entities import ViewType

        experiment_id = self._find_experiment(experiment)
        if experiment_id is None:
            return {}
        runs: dict[str, StoredRun] = {}
        token = None
        while True:
            page = self.client.search_runs(
                [experiment_id],
                condition,
                run_view_type=ViewType.ALL,
                max_results=1000,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            for run in page:
                run_id = run.data.tags.get(RUN_ID_TAG)
                if run_id is not None:
                    runs.setdefault(run_id, _stored(run))
            token = page.token
            if not token:
                return runs

    def create_run(
        self, experiment: str, name: str, tags: TagMap, start_time_s: float
    ) -> StoredRun:
        """Creates a run, always with its experiment's id."""
        limited = self._limited_tags(tags)
        run = self.client.create_run(
            self.experiment_id(experiment),
            start_time=milliseconds(start_time_s),
            tags=limited,
            run_name=name,
        )
        return _stored(run)

    def set_status(self, run: StoredRun, status: str, time_s: float | None) -> None:
        """RUNNING again, or ended: FINISHED, FAILED or KILLED."""
        if status == "RUNNING":
            self.client.update_run(run.id, status=status)
            return
        end_time = milliseconds(time.time() if time_s is None else time_s)
        if is_server(self.uri):  # MLflow's client would print a link to the training's output
            self._post("runs/update", {"run_id": run.id, "status": status, "end_time": end_time})
        else:
            self.client.set_terminated(run.id, status, end_time)

    def remove_run(self, run: StoredRun, why: str) -> None:
        """Marks a run as deleted, and as deleted by us; MLflow can restore it."""
        self.set_tag(run, REMOVED_TAG, why)
        self.client.delete_run(run.id)

    def restore_run(self, run: StoredRun) -> StoredRun:
        """Restores such a run; returns it as it is then."""
        self.client.restore_run(run.id)
        self.client.delete_tag(run.id, REMOVED_TAG)
        return _stored(self.client.get_run(run.id))

    def set_tag(self, run: StoredRun, key: str, value: str) -> None:
        """Sets one tag."""
        self.client.set_tag(run.id, key, value)

    def upload(self, run: StoredRun, path: Path, artifact_path: str | None) -> None:
        """Copies a file to the run's artifacts.

        Raises:
            TrackingError: If the store keeps them where it must not lead.
        """
        if self.is_named and not self.embedded:
            self.client.log_artifact(run.id, str(path), artifact_path)
            return
        # Not by the client, which would ask once more where that is.
        self._artifact_repository(run).log_artifact(  # type: ignore[no-untyped-call]
            str(path), artifact_path
        )

    def _artifact_repository(self, run: StoredRun) -> ArtifactRepository:
        if self.is_named:
            assert self._artifacts is not None
            check_inside(run.artifact_uri, self._artifacts)
        else:
            check_artifact_place(run.artifact_uri, server=self.uri)
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return get_artifact_repository(run.artifact_uri, tracking_uri=self.uri)

    def send(
        self, run: StoredRun, points: Sequence[Point], params: Mapping[str, str], tags: TagMap
    ) -> list[str]:
        """Sends everything in as few requests as MLflow's limits allow, tags last.

        Returns:
            What MLflow refused, in words; everything else was sent.
        """
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.utils import validation

        key_limit = validation.MAX_ENTITY_KEY_LENGTH
        value_limit = validation.MAX_PARAM_VAL_LENGTH
        refused: list[str] = []
        metrics = []
        for key, value, step, timestamp in points:
            if -MAX_INTEGER <= step <= MAX_INTEGER >= timestamp:
                metrics.append(Metric(clean_key(key, key_limit), value, timestamp, step))
            else:  # MLflow would refuse it, and the whole batch with it
                refused.append(f"{key!r} at step {step}: more than 64 bits")
        parameters = [
            Param(clean_key(key, key_limit), shorten(value, value_limit))
            for key, value in params.items()
        ]
        run_tags = [RunTag(key, value) for key, value in self._limited_tags(tags).items()]
        most_others = validation.MAX_PARAMS_TAGS_PER_BATCH
        while metrics or parameters or run_tags:
            room = validation.MAX_ENTITIES_PER_BATCH
            batch_params, parameters = parameters[:most_others], parameters[most_others:]
            room -= len(batch_params)
            size = min(room, validation.MAX_METRICS_PER_BATCH)
            batch_metrics, metrics = metrics[:size], metrics[size:]
            room -= len(batch_metrics)
            batch_tags: list[RunTag] = []
            if not (metrics or parameters):  # the position must not be ahead of the points
                size = min(room, most_others)
                batch_tags, run_tags = run_tags[:size], run_tags[size:]
            refused += self._send_or_split(run.id, batch_metrics, batch_params, batch_tags)
        return refused

    def _send_or_split(
        self, run_id: str, metrics: list[Metric], params: list[Param], tags: list[RunTag]
    ) -> list[str]:
        """Sends one batch; if MLflow refuses it, sends halves, so a bad value costs only itself."""
        from mlflow.exceptions import MlflowException

        count = len(metrics) + len(params) + len(tags)
        if not count:
            return []
        try:
            self._log_batch(run_id, metrics, params, tags)
        except MlflowException as error:
            if error.error_code not in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST"):
                raise
            if count == 1:
                entity = (metrics or params or tags)[0]
                return [f"{entity.key!r}: {str(error).splitlines()[0]}"]
            if sum(map(bool, (metrics, params, tags))) > 1:
                parts: list[tuple[list[Metric], list[Param], list[RunTag]]] = [
                    (metrics, [], []),
                    ([], params, []),
                    ([], [], tags),
                ]
            else:
                a, b, c = (len(items) // 2 for items in (metrics, params, tags))
                parts = [
                    (metrics[:a], params[:b], tags[:c]),
                    (metrics[a:], params[b:], tags[c:]),
                ]
            return [text for part in parts for text in self._send_or_split(run_id, *part)]
        return []

    def _log_batch(
        self, run_id: str, metrics: list[Metric], params: list[Param], tags: list[RunTag]
    ) -> None:
        if not is_server(self.uri):
            self.client.log_batch(run_id, metrics, params, tags)
            return
        self._post(
            "runs/log-batch",
            {
                "run_id": run_id,
                "metrics": [
                    {"key": m.key, "value": m.value, "timestamp": m.timestamp, "step": m.step}
                    for m in metrics
                ],
                "params": [{"key": p.key, "value": p.value} for p in params],
                "tags": [{"key": t.key, "value": t.value} for t in tags],
            },
        )

    def _post(self, endpoint: str, body: Mapping[str, object]) -> None:
        """Sends one request on a connection of its own.

        MLflow's client keeps its connection open. A server with its default four workers answers in
        two small segments, and the second waits 40 ms for the client's delayed acknowledgement. A
        new connection acknowledges at once (12 ms instead of 52 per request on loopback).
        """
        from mlflow.exceptions import RestException
        from mlflow.utils.credentials import get_default_host_creds
        from mlflow.utils.rest_utils import http_request

        response = http_request(  # type: ignore[no-untyped-call]
            get_default_host_creds(self.uri),  # type: ignore[no-untyped-call]
            f"/api/2.0/mlflow/{endpoint}",
            "POST",
            json=body,
            extra_headers={"Connection": "close"},
            max_retries=0,  # the caller tries again
            timeout=REQUEST_TIMEOUT_S,
        )
        if response.status_code != 200:
            try:
                raise RestException(response.json())  # type: ignore[no-untyped-call]
            except ValueError:
                uri, text = without_secrets(self.uri), response.text[:200]
                raise TrackingError(f"{uri} answered {response.status_code}: {text}") from None

    @staticmethod
    def _limited_tags(tags: TagMap) -> dict[str, str]:
        from mlflow.utils import validation

        return {
            clean_key(key, validation.MAX_ENTITY_KEY_LENGTH): shorten(
                value, validation.MAX_TAG_VAL_LENGTH
            )
            for key, value in tags.items()
        }


def milliseconds(time_s: float) -> int:
    """MLflow's timestamp; always the same for one time, else a repeated point would count twice."""
    return round(time_s * 1000)


def _stored(run: Run) -> StoredRun:
    tags = run.data.tags
    position = tags.get(POSITION_TAG, "0")
    return StoredRun(
        id=run.info.run_id,
        status=run.info.status,
        deleted=run.info.lifecycle_stage != "active",
        position=int(position) if position.isdigit() else 0,
        params=dict(run.data.params),
        tags=dict(tags),
        artifact_uri=str(run.info.artifact_uri or ""),
    )
