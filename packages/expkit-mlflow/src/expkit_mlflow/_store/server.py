"""A tracking server's REST API, with a limit on every request.

MLflow's own client tries a failing request again for minutes. How often is set in the environment,
which belongs to the user's program.
"""

from __future__ import annotations

import re
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .._addresses.errors import RequestTooLargeError, TrackingError, plain_line
from .._addresses.secrets import uri_without_secrets, without_known_secrets
from .entities import StoredExperiment, StoredRun, TagMap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mlflow.entities import Metric, Param, RunTag
    from requests import Response

CONNECT_TIMEOUT_S = 5.0
PROBE_TIMEOUT_S = 5.0  # for the first answer
REQUEST_TIMEOUT_S = 15.0  # for any later one; 1000 points take a second on a busy server
UPLOAD_BYTES_PER_S = 1e7  # how fast a server passes a file on to its own store, before it answers
# A gateway whose server restarts says 502 for a moment. What is repeated here is harmless if a
# late first request was carried out too; with the timeout, one request ends within 19 s.
RETRY_WITHIN_S = 4.0
TRANSIENT = frozenset({408, 425, 429, 502, 503, 504})

Json = dict[str, object]


class Server:
    """Requests to one tracking server.

    Args:
        uri: Its address, possibly with user name and password.
        naming_command: The command with which the user would name this server; None if they have.
            Without a name it gets no credentials, and leads nowhere else.
        sleep: Waits for so many seconds before a request is repeated.
    """

    def __init__(
        self,
        uri: str,
        *,
        naming_command: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.uri = uri
        self._naming_command = naming_command
        self._sleep = sleep

    def check(self) -> None:
        """Asks for one experiment, to see whether MLflow answers there; call it before a series.

        Raises:
            TrackingError: If it does not.
        """
        from mlflow.exceptions import RestException

        try:
            answer = self._call(
                "POST", "experiments/search", {"max_results": 1}, timeout_s=PROBE_TIMEOUT_S
            )
        except (RestException, RequestTooLargeError) as error:  # of every request, then
            raise self._error(f"does not work: {_plain(str(error))[:300]}") from error
        if answer and not answer.keys() & {"experiments", "next_page_token"}:
            raise self._error("does not answer as MLflow does. Is it the right address?")

    def find_experiment(self, name: str) -> StoredExperiment | None:
        """The experiment of this name, even if it was deleted."""
        from mlflow.exceptions import RestException

        try:
            answer = self._call("GET", "experiments/get-by-name", {"experiment_name": name})
        except RestException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        experiment = _mapping(answer.get("experiment"))
        stage = experiment.get("lifecycle_stage")
        return StoredExperiment(str(experiment.get("experiment_id")), name, stage == "deleted")

    def create_experiment(self, name: str, location: str | None, tags: TagMap) -> None:
        """Creates an experiment; without a location the server chooses one for its artifacts."""
        body: Json = {"name": name, "tags": _pairs(tags)}
        if location is not None:
            body["artifact_location"] = location
        self._call("POST", "experiments/create", body)

    def search_runs(
        self, experiment_id: str, condition: str, page_token: str | None
    ) -> tuple[list[StoredRun], str | None]:
        """One page of an experiment's runs by their start, deleted ones too, and the next token."""
        body: Json = {
            "experiment_ids": [experiment_id],
            "filter": condition,
            "run_view_type": "ALL",
            "max_results": 1000,
            "order_by": ["attributes.start_time ASC"],
        }
        if page_token:
            body["page_token"] = page_token
        answer = self._call("POST", "runs/search", body)
        token = answer.get("next_page_token")
        return [_run(run) for run in _list(answer.get("runs"))], str(token) if token else None

    def create_run(self, experiment_id: str, name: str, tags: TagMap, start_ms: int) -> StoredRun:
        """Creates a run. It is asked for once: a late answer may mean that it was created."""
        body: Json = {
            "experiment_id": experiment_id,
            "run_name": name,
            "start_time": start_ms,
            "tags": _pairs(tags),
        }
        answer = self._call("POST", "runs/create", body, repeatable=False)
        return _run(_mapping(answer.get("run")))

    def get_run(self, run_id: str) -> StoredRun:
        """The run with this id."""
        return _run(_mapping(self._call("GET", "runs/get", {"run_id": run_id}).get("run")))

    def update_run(self, run_id: str, status: str, end_ms: int | None) -> None:
        """Sets the status, and the end if there is one."""
        body: Json = {"run_id": run_id, "status": status}
        if end_ms is not None:
            body["end_time"] = end_ms
        self._call("POST", "runs/update", body)

    def delete_run(self, run_id: str) -> None:
        """Marks a run as deleted."""
        self._call("POST", "runs/delete", {"run_id": run_id})

    def restore_run(self, run_id: str) -> None:
        """Restores it."""
        self._call("POST", "runs/restore", {"run_id": run_id})

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        """Sets one tag."""
        self._call("POST", "runs/set-tag", {"run_id": run_id, "key": key, "value": value})

    def delete_tag(self, run_id: str, key: str) -> None:
        """Deletes one tag."""
        self._call("POST", "runs/delete-tag", {"run_id": run_id, "key": key})

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric],
        params: Sequence[Param],
        tags: Sequence[RunTag],
    ) -> None:
        """Sends one batch; the server keeps a point that it already has only once."""
        body: Json = {
            "run_id": run_id,
            "metrics": [
                {"key": m.key, "value": m.value, "timestamp": m.timestamp, "step": m.step}
                for m in metrics
            ],
            "params": [{"key": p.key, "value": p.value} for p in params],
            "tags": [{"key": t.key, "value": t.value} for t in tags],
        }
        self._call("POST", "runs/log-batch", body)

    def upload(self, artifact_uri: str, source: Path, path: str) -> None:
        """Sends a file to a run's artifacts, where the server itself keeps them.

        Args:
            artifact_uri: `mlflow-artifacts:/1/RUN/artifacts`, the place of the run's artifacts.
            source: The file.
            path: Its path among the run's artifacts.
        """
        root = urllib.parse.urlsplit(artifact_uri).path.strip("/")
        quoted = urllib.parse.quote(f"{root}/{path}")
        endpoint = f"/api/2.0/mlflow-artifacts/artifacts/{quoted}"
        # A connection that is kept may have been closed by the server when it is used again.
        headers = {"Content-Type": "application/octet-stream", "Connection": "close"}
        self._repeat(
            lambda: self._upload(endpoint, source, headers),
            what=f"artifact {path}",
            repeatable=True,
        )

    def _upload(self, endpoint: str, source: Path, headers: Mapping[str, str]) -> Response:
        timeout_s = REQUEST_TIMEOUT_S + source.stat().st_size / UPLOAD_BYTES_PER_S
        with source.open("rb") as file:
            return self._send("PUT", endpoint, timeout_s, headers=headers, data=file)

    def _call(
        self,
        method: str,
        endpoint: str,
        content: Json,
        *,
        timeout_s: float | None = None,
        repeatable: bool = True,
    ) -> Json:
        """Makes one request; returns the JSON of the answer.

        Raises:
            TrackingError: If the server does not answer, or not as MLflow does.
            RestException: If MLflow refuses this request.
            RequestTooLargeError: If the request is too large for the server.
        """
        path = f"/api/2.0/mlflow/{endpoint}"
        # A server with its default four workers answers in two small segments. On a connection that
        # is kept, the second waits 40 ms for the client's delayed acknowledgement; a new connection
        # acknowledges at once (12 ms instead of 52 per request on loopback).
        headers = {"Connection": "close"}
        timeout_s = REQUEST_TIMEOUT_S if timeout_s is None else timeout_s
        body = {"params" if method == "GET" else "json": content}
        return self._repeat(
            lambda: self._send(method, path, timeout_s, headers=headers, **body),
            what=endpoint,
            repeatable=repeatable,
        )

    def _repeat(self, send: Callable[[], Response], *, what: str, repeatable: bool) -> Json:
        """Sends a request until it is answered, or until it is certain enough that it will not."""
        begin_s = time.monotonic()
        pause_s = 0.25
        while True:
            try:
                response = send()
            except _ConnectionLostError as error:
                problem: TrackingError = error
            else:
                if response.status_code not in TRANSIENT or _mlflow_error(response) not in (
                    None,
                    "TEMPORARILY_UNAVAILABLE",
                    "REQUEST_LIMIT_EXCEEDED",
                    "RESOURCE_EXHAUSTED",
                ):
                    return self._data_of(response, what)
                problem = self._error(_answered(response))
                pause_s = max(pause_s, _retry_after_s(response))
            if not repeatable or time.monotonic() - begin_s + pause_s > RETRY_WITHIN_S:
                raise problem
            self._sleep(pause_s)
            pause_s *= 2

    def _send(self, method: str, path: str, timeout_s: float, **kwargs: object) -> Response:
        import requests
        from mlflow.exceptions import MlflowException

        ask = _ask_with_credentials if self._naming_command is None else _ask_without_credentials
        try:
            return ask(self.uri, path, method, (CONNECT_TIMEOUT_S, timeout_s), **kwargs)
        except (MlflowException, requests.exceptions.RequestException) as error:
            cause: BaseException | None = error
            if isinstance(error, MlflowException):
                cause = error.__cause__ or error.__context__
            if isinstance(cause, requests.exceptions.ConnectTimeout):
                why = f"no connection within {CONNECT_TIMEOUT_S:g} s"
                raise self._error(f"does not answer ({why}).") from error
            if isinstance(cause, requests.exceptions.Timeout) or _read_timed_out(cause):
                # It may be carried out later, so it is only repeated after a look at what is there.
                raise self._error(f"does not answer (no reply within {timeout_s:g} s).") from error
            if isinstance(cause, requests.exceptions.SSLError):
                raise self._error(
                    f"has no certificate that is trusted here ({_innermost(cause)}). Set "
                    "MLFLOW_TRACKING_SERVER_CERT_PATH, or correct the address.",
                    lasts=True,
                ) from error
            if isinstance(cause, requests.exceptions.ConnectionError) and _was_refused(cause):
                raise self._error(f"does not answer ({_innermost(cause)}).") from error
            if isinstance(cause, (requests.exceptions.RequestException, OSError)):
                text = f"does not answer ({_innermost(cause)})."
                raise _ConnectionLostError(self._text(text)) from error
            raise self._error(f"cannot be asked: {plain_line(str(error))}") from error

    def _data_of(self, response: Response, what: str) -> Json:
        """The JSON of an answer, which is MLflow's own or an error."""
        from mlflow.exceptions import RestException

        status, code = response.status_code, _mlflow_error(response)
        if status == 200:
            try:
                content = response.json()
            except ValueError:
                content = None
            if isinstance(content, dict):
                return content
            if not response.content.strip():
                return {}
            raise self._error(
                f"answered with {_page(response)} instead of MLflow's data. Is it the right "
                "address, and is there a login page before it?",
                lasts=True,
            )
        if status == 413:
            raise RequestTooLargeError(
                f"{uri_without_secrets(self.uri)} takes no request of this size ({what}: "
                "status 413)"
            )
        if self._naming_command is not None and (response.is_redirect or status in (401, 403)):
            if response.is_redirect:
                place = uri_without_secrets(_plain(response.headers["Location"])[:200])
                why = f"leads to {place!r}, where nothing was sent."
            else:
                why = f"wants credentials ({_answered(response)}) Yours go to servers you name."
            raise self._error(
                f"{why} Only journals name this server. If it is yours: {self._naming_command}",
                lasts=True,
            )
        if status in (401, 403, 407):
            raise self._error(
                f"refuses the credentials ({_answered(response)}) Set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.",
                lasts=True,
            )
        if status in (404, 405) and code in (None, "ENDPOINT_NOT_FOUND"):
            raise self._error(
                f"has no MLflow API ({_answered(response)}) Is it the right address?", lasts=True
            )
        if code is not None:
            raise RestException(response.json())  # type: ignore[no-untyped-call]
        raise self._error(_answered(response), lasts=status < 500)

    def _error(self, text: str, *, lasts: bool = False) -> TrackingError:
        return TrackingError(self._text(text), lasts=lasts)

    def _text(self, text: str) -> str:
        return without_known_secrets(f"{uri_without_secrets(self.uri)} {text}")


def _ask_with_credentials(
    uri: str, path: str, method: str, timeout_s: tuple[float, float], **kwargs: object
) -> Response:
    """Sends what MLflow's client would, from the environment and the files that it reads."""
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    response: Response = http_request(  # type: ignore[no-untyped-call]
        get_default_host_creds(uri),  # type: ignore[no-untyped-call]
        path,
        method,
        extra_headers=kwargs.pop("headers"),
        max_retries=0,
        raise_on_status=False,
        timeout=timeout_s,
        **kwargs,
    )
    return response


def _ask_without_credentials(
    uri: str, path: str, method: str, timeout_s: tuple[float, float], **kwargs: Any
) -> Response:
    """Sends nothing of the user's own: no password, token, cookie, certificate or plugin's header.

    It follows no redirect. Of the environment it takes proxies and which certificates to trust.
    """
    import requests
    from mlflow.environment_variables import (
        MLFLOW_TRACKING_INSECURE_TLS,
        MLFLOW_TRACKING_SERVER_CERT_PATH,
    )

    certificates = MLFLOW_TRACKING_SERVER_CERT_PATH.get()  # type: ignore[no-untyped-call]
    is_insecure = MLFLOW_TRACKING_INSECURE_TLS.get()  # type: ignore[no-untyped-call]
    headers = {"User-Agent": "expkit-mlflow", **kwargs.pop("headers")}
    with requests.Session() as session:  # MLflow's sessions keep the cookies of other servers
        return session.request(
            method,
            uri.rstrip("/") + path,
            headers=headers,
            timeout=timeout_s,
            auth=lambda request: request,  # else requests looks into ~/.netrc
            verify=certificates or not is_insecure,
            allow_redirects=False,
            **kwargs,
        )


class _ConnectionLostError(TrackingError):
    """The connection ended before an answer; the request may have been carried out."""


def _answered(response: Response) -> str:
    """What came instead of an answer, as the rest of a sentence: answered 502 Bad Gateway."""
    code = _mlflow_error(response)
    text = f"answered {response.status_code} {_plain(response.reason or '')}".rstrip()
    if code is not None:
        text += f" ({code}: {_plain(str(response.json().get('message') or ''))[:300]})"
    wait_s = _retry_after_s(response)
    return f"{text}, and asks for {wait_s:.0f} s of patience." if wait_s else f"{text}."


def _page(response: Response) -> str:
    kind = _plain(response.headers.get("Content-Type", "").partition(";")[0]) or "something"
    title = re.search(r"<title[^>]*>([^<]*)", response.text[:10_000], re.IGNORECASE)
    return f"a page of type {kind}" + (f" ({_plain(title[1].strip())[:80]!r})" if title else "")


def _plain(text: str) -> str:
    """A server's text on one line, without what would move a terminal's cursor."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def _mlflow_error(response: Response) -> str | None:
    """The error code of an answer, if it is MLflow's own."""
    if response.status_code == 200 or response.content[:1] != b"{":
        return None
    try:
        content = response.json()
    except ValueError:
        return None
    code = content.get("error_code") if isinstance(content, dict) else None
    return code if isinstance(code, str) else None


def _retry_after_s(response: Response) -> float:
    """How long a server asks to wait; 0 if it does not say."""
    text = response.headers.get("Retry-After", "")
    if text.strip().isdecimal():
        return float(text)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return 0.0


def _read_timed_out(error: BaseException | None) -> bool:
    return "ReadTimeoutError" in repr(error)  # inside requests' ConnectionError


def _was_refused(error: BaseException) -> bool:
    """Whether there was no connection at all, which a moment's patience does not change."""
    return any(name in repr(error) for name in ("NewConnectionError", "NameResolutionError"))


def _innermost(error: BaseException) -> str:
    """The reason inside requests' and urllib3's wrappings: `Connection refused`."""
    text = without_known_secrets(str(error))
    match = re.search(r"(?:\[Errno [^\]]*\] |')([^\[\]'<>]+)['\"]?\)*$", text)
    return _plain(match[1] if match else text)[:200]


def _run(answer: object) -> StoredRun:
    run = _mapping(answer)
    info, data = _mapping(run.get("info")), _mapping(run.get("data"))
    return StoredRun(
        id=str(info["run_id"]),
        status=str(info.get("status")),
        deleted=info.get("lifecycle_stage") == "deleted",
        artifact_uri=str(info.get("artifact_uri") or ""),
        params=_texts(data.get("params")),
        tags=_texts(data.get("tags")),
    )


def _pairs(tags: TagMap) -> list[Json]:
    return [{"key": key, "value": value} for key, value in tags.items()]


def _texts(pairs: object) -> dict[str, str]:
    entries = map(_mapping, _list(pairs))
    return {str(entry.get("key")): str(entry.get("value", "")) for entry in entries}


def _mapping(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
