"""One MLflow store: never the fluent API, never a run without experiment id."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .._addresses.errors import RequestTooLargeError, StoreDownError, TrackingError, plain_line
from .._addresses.secrets import uri_without_secrets
from .._addresses.uris import check_installed, check_reachable, check_uri, is_server
from .artifact_names import clean_path
from .artifact_places import check_in_folder, check_on_server, is_on_server
from .entities import (
    ARTIFACTS_TAG,
    REMOVED_TAG,
    RUN_ID_TAG,
    Point,
    StoredRun,
    TagMap,
)
from .limits import clean_key, shorten
from .metric_rows import remove_points
from .mlflow_client import DirectClient, upload_directly
from .server import Server
from .sqlite_health import check_database

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mlflow.entities import Metric, Param, RunTag

MAX_INTEGER = 2**63 - 1  # of a step or a time in a database

# Without it the UI shows prompts and judges.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}


class Store:
    """Reads what a store has, and adds to it.

    Args:
        uri: Tracking URI: a server or a database.
        artifacts: Folder for the artifacts of new experiments; None lets the server choose.
        embedded: Whether the store belongs to one experiment's folder alone.
        naming_command: The command with which the user would name it; None if they have. What
            another one says, leads nowhere but to itself.
        follow_links: Whether a store in the experiment's folder may write through a link.
    """

    def __init__(
        self,
        uri: str,
        *,
        artifacts: Path | None = None,
        embedded: bool = False,
        naming_command: str | None = None,
        follow_links: bool = False,
    ) -> None:
        self.uri = uri
        self.embedded = embedded
        self._artifacts = artifacts
        self._naming_command = naming_command
        self._follow_links = follow_links
        self._experiments: dict[str, str] = {}
        self._client: Server | DirectClient | None = None
        self._artifacts_problem: TrackingError | None = None
        self._duplicates: dict[str, list[StoredRun]] = {}

    @property
    def client(self) -> Server | DirectClient:
        """Who makes the requests; imports MLflow when it is first used.

        Raises:
            TrackingError: If the store cannot be used.
        """
        if self._client is None:
            check_uri(self.uri)
            check_installed(self.uri)
            if is_server(self.uri):
                self._client = Server(self.uri, naming_command=self._naming_command)
            else:
                self._client = DirectClient(self.uri)
        return self._client

    def check(self) -> None:
        """Checks that the store answers; call it before each series of requests.

        Raises:
            TrackingError: If it does not.
        """
        self._artifacts_problem = None
        check_reachable(self.uri)
        database = Path(self.uri.removeprefix("sqlite:///"))
        if self.uri.startswith("sqlite:///") and database.exists():
            check_database(database)  # before MLflow's client opens it
        self.client.check()

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
            self.client.create_experiment(name, location, tags)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        experiment_id = self._find_experiment(name)
        if experiment_id is None:
            uri = uri_without_secrets(self.uri)
            raise TrackingError(f"Experiment {name!r} was created in {uri}, but is missing there.")
        return experiment_id

    def experiment_name(self, name: str, folder_name: str) -> str:
        """The name that an experiment has there; its folder's, if it was renamed with it."""
        if name == folder_name or self._find_experiment(name) is not None:
            return name
        return name if self._find_experiment(folder_name) is None else folder_name

    def _find_experiment(self, name: str) -> str | None:
        if name in self._experiments:
            return self._experiments[name]
        experiment = self.client.find_experiment(name)
        if experiment is None:
            return None
        if experiment.deleted:
            raise TrackingError(
                f"Experiment {name!r} was deleted in MLflow. Restore it in the UI or with "
                f"`mlflow experiments restore --experiment-id {experiment.id}`, "
                "or choose another experiment_id."
            )
        self._experiments[name] = experiment.id
        return experiment.id

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
        experiment_id = self._find_experiment(experiment)
        if experiment_id is None:
            return {}
        runs: dict[str, StoredRun] = {}
        token = None
        while True:
            page, token = self.client.search_runs(experiment_id, condition, token)
            for run in page:
                run_id = run.tags.get(RUN_ID_TAG)
                if run_id is None:
                    continue
                other = runs.setdefault(run_id, run)
                if other is not run:  # created twice: the first answer was late
                    kept, left = sorted((other, run), key=_precedence)
                    runs[run_id] = kept
                    self._duplicates.setdefault(run_id, []).append(left)
            if not token:
                return runs

    def create_run(
        self, experiment: str, name: str, tags: TagMap, start_time_s: float
    ) -> StoredRun:
        """Creates a run, always with its experiment's id."""
        return self.client.create_run(
            self.experiment_id(experiment),
            name,
            self._limited_tags(tags),
            milliseconds(start_time_s),
        )

    def remove_duplicates(self, run_id: str) -> None:
        """Marks empty runs as deleted that were created for this id once more.

        That happens if the request to create a run is answered too late, and carried out only after
        the run was looked for again.
        """
        for run in self._duplicates.pop(run_id, ()):
            if not run.deleted and run.position == 0:
                self.remove_run(run, "created twice, as an answer was late")

    def set_status(self, run: StoredRun, status: str, time_s: float | None) -> None:
        """RUNNING again, or ended: FINISHED, FAILED or KILLED."""
        end_ms = None
        if status != "RUNNING":
            end_ms = milliseconds(time.time() if time_s is None else time_s)
        self.client.update_run(run.id, status, end_ms)

    def remove_run(self, run: StoredRun, why: str) -> None:
        """Marks a run as deleted, and as deleted by us; MLflow can restore it."""
        self.set_tag(run, REMOVED_TAG, why)
        self.client.delete_run(run.id)

    def restore_run(self, run: StoredRun) -> StoredRun:
        """Restores such a run; returns it as it is then."""
        self.client.restore_run(run.id)
        self.client.delete_tag(run.id, REMOVED_TAG)
        return self.client.get_run(run.id)

    def set_tag(self, run: StoredRun, key: str, value: str) -> None:
        """Sets one tag."""
        self.client.set_tag(run.id, key, value)

    def upload(self, run: StoredRun, source: Path, path: str) -> None:
        """Copies a file to the run's artifacts.

        Args:
            run: The run.
            source: The file.
            path: Its path there. Characters that a server or a file system would change are
                written as `artifact_names` says.

        Raises:
            TrackingError: If the store keeps them where it must not lead.
        """
        if self._artifacts_problem is not None:
            raise self._artifacts_problem
        path = clean_path(path)
        if isinstance(self.client, Server):
            if self._naming_command is not None:
                check_on_server(run.artifact_uri, self.uri)
            if is_on_server(run.artifact_uri, self.uri):
                self.client.upload(run.artifact_uri, source, path)
                return
        elif self.embedded or self._naming_command is not None:
            assert self._artifacts is not None
            check_in_folder(
                run.artifact_uri, path, self._artifacts, follow_links=self._follow_links
            )
        # A bucket or a folder, which this process writes itself.
        upload_directly(run.artifact_uri, source, path, tracking_uri=self.uri)

    def leave_artifacts(self, problem: TrackingError) -> None:
        """Takes no more artifacts until the next check, after one had this problem.

        Raises:
            StoreDownError: If the store does not answer at all.
        """
        try:
            self.check()
        except TrackingError as error:
            raise StoreDownError(str(error), lasts=error.lasts) from problem
        self._artifacts_problem = problem

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

    def remove_points(self, run: StoredRun, points: Sequence[Point]) -> None:
        """Removes points from the embedded store, for which MLflow itself has no call."""
        from mlflow.utils import validation

        limit = validation.MAX_ENTITY_KEY_LENGTH
        database = Path(self.uri.removeprefix("sqlite:///"))
        remove_points(
            database,
            run.id,
            [(clean_key(key, limit), value, step, time) for key, value, step, time in points],
        )

    def _send_or_split(
        self, run_id: str, metrics: list[Metric], params: list[Param], tags: list[RunTag]
    ) -> list[str]:
        """Sends one batch; if MLflow refuses it, sends halves, so a bad value costs only itself."""
        from mlflow.exceptions import MlflowException

        count = len(metrics) + len(params) + len(tags)
        if not count:
            return []
        try:
            self.client.log_batch(run_id, metrics, params, tags)
        except (MlflowException, RequestTooLargeError) as error:
            code = error.error_code if isinstance(error, MlflowException) else "BAD_REQUEST"
            if code not in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST"):
                raise
            if count == 1:
                entity = (metrics or params or tags)[0]
                return [f"{entity.key!r}: {plain_line(str(error))}"]
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


def _precedence(run: StoredRun) -> tuple[bool, int]:
    """Which of two runs for one journal is the run: one that is not deleted, and has more."""
    return run.deleted, -run.position
