"""A results folder is data: whoever wrote the journals gets no credentials and no other files."""

import base64
import contextlib
import http.server
import json
import os
import shutil
import socket
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from expkit_mlflow import MLFlowLogger, sync
from expkit_mlflow.commands import sync as sync_verb

PASSWORD = "PLANTED-PASSWORD"


class FakeServer(http.server.ThreadingHTTPServer):
    """Answers as a tracking server does, and keeps what it was sent."""

    def __init__(
        self,
        *,
        status: int = 200,
        location: str | None = None,
        artifacts: str = "",
        upload_status: int | None = None,
        message: str = "Unauthorized",
    ):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upload_status, self.message = upload_status or status, message
        self.cookie: str | None = None
        self.status, self.location = status, location
        self.artifacts = artifacts or "mlflow-artifacts:/1/a/artifacts"
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def credentials(self) -> set[str]:
        headers = ("Authorization", "Cookie", "X-Api-Key", "Proxy-Authorization")
        return {sent[name] for _, sent, _ in self.requests for name in headers if name in sent}

    @property
    def bodies(self) -> bytes:
        return b"\n".join(body for _, _, body in self.requests)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FakeServer

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((self.path, dict(self.headers), body))
        info = {
            "run_id": "a" * 32, "run_uuid": "a" * 32, "experiment_id": "1", "status": "RUNNING",
            "artifact_uri": self.server.artifacts, "lifecycle_stage": "active",
        }  # fmt: skip
        answer: dict[str, object] = {}
        if "experiments/get" in self.path:
            answer = {
                "experiment": {"experiment_id": "1", "name": "e", "lifecycle_stage": "active"}
            }
        elif "runs/create" in self.path or "runs/get" in self.path:
            answer = {"run": {"info": info, "data": {}}}
        is_upload = "mlflow-artifacts" in self.path
        status = self.server.upload_status if is_upload else self.server.status
        if status >= 400:
            answer = {"message": self.server.message}  # as gateways say it
        if status == 400:  # as MLflow does
            answer["error_code"] = "INVALID_PARAMETER_VALUE"
        data = json.dumps(answer).encode()
        self.send_response(status)
        if self.server.cookie is not None:
            self.send_header("Set-Cookie", self.server.cookie)
        if self.server.location is not None:
            self.send_header("Location", self.server.location + self.path)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_PATCH = _answer

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def make_server():
    servers = []

    def make(**kwargs):
        servers.append(FakeServer(**kwargs))
        return servers[-1]

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def journal(tmp_path, monkeypatch):
    """Writes a journal that names a server; the user's own credentials lie everywhere."""
    home = tmp_path / "home"
    (home / ".mlflow").mkdir(parents=True)
    (home / ".mlflow" / "credentials").write_text(
        f"[mlflow]\nmlflow_tracking_username = ada\nmlflow_tracking_password = {PASSWORD}\n"
    )
    (home / ".netrc").write_text(f"machine 127.0.0.1 login ada password {PASSWORD}\n")
    (home / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    def write(uri, *artifacts, name="r"):
        run = tmp_path / "e" / "training" / name
        run.mkdir(parents=True, exist_ok=True)
        lines = [
            {
                "kind": "run", "id": name * 32, "experiment": "e", "run_name": name, "attempt": 1,
                "time": 1763884800.0, "tracking_uri": uri, "mode": "auto", "tags": {},
                "host": "n", "pid": 1, "process_start": "x/1",
            },
            {"kind": "metrics", "step": 0, "time": 1.0, "metrics": {"loss": 1}},
            *(
                {"kind": "artifact", "path": path, "artifact_path": place}
                for path, place in artifacts
            ),
            {"kind": "end", "status": "FINISHED", "time": 2.0},
        ]  # fmt: skip
        (run / "tracking.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return run

    return write


def basic(password):
    return "Basic " + base64.b64encode(f"ada:{password}".encode()).decode()


VARIABLES = {
    "password": {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": PASSWORD},
    "token": {"MLFLOW_TRACKING_TOKEN": PASSWORD},
    "files": {},
}


@pytest.mark.parametrize("variables", VARIABLES.values(), ids=VARIABLES)
def test_no_credentials_go_to_a_server_that_only_a_journal_names(
    journal, make_server, monkeypatch, variables
):
    server = make_server()
    run = journal(server.uri)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)

    report = sync(run.parents[1])

    assert report.problems == []
    assert report.points == 1  # what is in the folder is sent all the same
    assert server.credentials == set()
    assert dict(os.environ) == before


def test_no_cookie_and_no_header_of_a_plugin_goes_there_either(journal, make_server, monkeypatch):
    from mlflow.tracking.request_header import registry

    monkeypatch.setattr(
        registry, "resolve_request_headers", lambda *_: {"X-Api-Key": PASSWORD}
    )  # what the plugins of an environment add
    named, server = make_server(), make_server()
    run = journal(named.uri)
    named.cookie = "session=abc; Path=/"  # which counts for all ports of a host
    sync(run.parents[1], tracking_uri=named.uri)
    assert named.credentials >= {PASSWORD, "session=abc"}
    journal(server.uri)

    report = sync(run.parents[1])

    assert (report.problems, report.points) == ([], 1)
    assert server.credentials == set()
    named.cookie = "session=; Path=/; Max-Age=0"  # the tests that follow have the same client
    sync(run.parents[1], tracking_uri=named.uri)


@pytest.mark.parametrize("named", ["--tracking-uri", "MLFLOW_TRACKING_URI", "EXPKIT_TRACKING_URI"])
def test_the_named_server_gets_the_users_credentials(journal, make_server, monkeypatch, named):
    server = make_server()
    run = journal(server.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    arguments = [str(run.parents[1])]
    spelling = (
        server.uri.replace("http", "HTTP", 1) if named == "EXPKIT_TRACKING_URI" else server.uri
    )
    if named.startswith("--"):
        arguments += [named, spelling]
    else:
        monkeypatch.setenv(named, f"{spelling}/")

    assert sync_verb(arguments) == 0

    assert server.credentials == {basic(PASSWORD)}


def test_a_bare_spelling_takes_no_password_away_from_another_of_the_same_address(
    journal, make_server, monkeypatch
):
    server = make_server()
    run = journal(server.uri)
    monkeypatch.setenv("HOME", str(run))  # no files with other credentials
    monkeypatch.setenv("EXPKIT_TRACKING_URI", server.uri.replace("//", "//ada:own@"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{server.uri}/")

    for arguments in ([], ["--tracking-uri", server.uri]):
        assert sync_verb([str(run.parents[1]), *arguments]) == 0

    assert server.credentials == {basic("own")}


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_wants_credentials_is_named_with_the_command(
    journal, make_server, monkeypatch, status, capsys
):
    server = make_server(status=status)
    run = journal(server.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", PASSWORD)

    assert sync_verb([str(run.parents[1])]) == 1

    told = capsys.readouterr().err
    assert f"sync {run.parents[1]} --tracking-uri {server.uri}" in told
    assert server.credentials == set()
    assert PASSWORD not in told


def test_one_reason_is_told_for_all_runs_of_a_server_that_wants_credentials(journal, make_server):
    server = make_server(status=401)
    for name in "abcdefgh":
        run = journal(server.uri, name=name)

    (problem,) = sync(run.parents[1]).problems

    assert "Only journals name this server" in problem
    assert len(server.requests) == 1


def test_the_command_is_whole_where_only_artifacts_want_credentials(journal, make_server):
    server = make_server(upload_status=401)
    run = journal(server.uri, ("a/b.txt", None))
    (run / "a").mkdir()
    (run / "a" / "b.txt").write_text("KEPT")

    report = sync(run.parents[1])

    (problem,) = report.problems
    assert problem.endswith(f"sync {run.parents[1]} --tracking-uri {server.uri}")
    assert report.points == 1


def test_a_servers_message_shows_no_secret_and_moves_no_cursor(journal, make_server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", PASSWORD)
    for status in (400, 401, 404, 500):
        server = make_server(status=status, message=f"no such token: {PASSWORD}\x1b[2J")
        run = journal(server.uri)

        (problem,) = sync(run.parents[1], tracking_uri=server.uri).problems

        assert PASSWORD not in problem
        assert "\x1b" not in problem


@pytest.mark.parametrize(
    "uri",
    ["http://[::1", "http://h:port/", "http://ada:PLANTED/x@h:y", "http://\u2100/", "http://",
     "http://a b\x00/", "sqlite:///a\x00b", "HTTPS://h:99999/", "//h", "nonsense"],
)  # fmt: skip
def test_a_journal_with_an_impossible_address_spoils_itself_alone(journal, make_server, uri):
    server = make_server()
    journal(uri, name="a")
    run = journal(server.uri, name="b")

    report = sync(run.parents[1])

    assert report.points == 1
    (problem,) = report.problems
    assert "PLANTED" not in problem


def test_a_redirect_to_another_host_loses_the_credentials(journal, make_server, monkeypatch):
    other = make_server()
    server = make_server(status=307, location=other.uri)
    run = journal(server.uri)
    monkeypatch.setenv("HOME", str(run))  # no .netrc, which would name the other host, too
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", PASSWORD)

    sync(run.parents[1], tracking_uri=server.uri)

    assert server.credentials == {f"Bearer {PASSWORD}"}
    assert other.requests
    assert other.credentials == set()


def test_a_server_that_only_a_journal_names_redirects_to_nowhere(journal, make_server):
    other = make_server()
    run = journal(make_server(status=307, location=other.uri).uri)

    (problem,) = sync(run.parents[1]).problems

    assert other.requests == []
    assert f"leads to '{other.uri}" in problem
    assert "--tracking-uri" in problem


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:///{}/elsewhere/all.db", "sqlite:////{}/e/../elsewhere/all.db",
        "file://{}/elsewhere", "databricks", "databricks://profile", "uc:profile",
        "postgresql://db.example/mlflow", "sqlite:///file:{}/elsewhere/all.db?uri=true",
    ],
)  # fmt: skip
def test_what_a_journal_names_is_a_server_or_in_the_experiments_folder(journal, tmp_path, uri):
    run = journal(uri.format(tmp_path))

    report = sync(run.parents[1])

    (problem,) = report.problems
    assert f"sync {run.parents[1]} --tracking-uri" in problem
    assert not (tmp_path / "elsewhere").exists()
    assert report.points == 0


def test_an_sqlite_file_that_somebody_names_is_used(journal, tmp_path, monkeypatch, kit):
    kit.require("mlflow", True)
    uri = f"sqlite:///{tmp_path}/elsewhere/all.db"
    run = journal(uri)
    monkeypatch.setenv("EXPKIT_TRACKING_URI", uri)

    assert sync(run.parents[1]).problems == []

    assert kit.runs(run.parents[1], "e", uri=uri)["r"].info.status == "FINISHED"


@pytest.mark.parametrize("spelling", ["sqlite:///all.db", "sqlite:///link/all.db"])
def test_a_relative_path_names_the_same_file_as_the_absolute_one_of_journals(
    tmp_path, empty_store, monkeypatch, kit, spelling
):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "link").symlink_to(tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    shutil.copy(empty_store, "all.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///all.db")
    with MLFlowLogger(tmp_path / "results" / "digits", "r", mode="offline") as tracking:
        tracking.log_metrics({"loss": 1.0}, 0)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", spelling)

    assert sync(tmp_path / "results" / "digits").problems == []

    uri = f"sqlite:///{tmp_path}/work/all.db"
    assert kit.runs(tmp_path, "digits", uri=uri)["r"].data.metrics == {"loss": 1.0}


def test_files_outside_the_run_are_skipped_and_named(journal, make_server, tmp_path):
    server = make_server()
    (tmp_path / "id_rsa").write_text("PRIVATE KEY")
    artifacts = [
        ("linked.txt", None), ("../../../id_rsa", None), ("folder", None), ("pipe", None),
        ("own.txt", "../../up"), ("own.txt", "/etc"), ("good.txt", "some/place"),
    ]  # fmt: skip
    run = journal(server.uri, *artifacts)
    (run / "linked.txt").symlink_to(tmp_path / "id_rsa")
    (run / "folder").mkdir()
    (run / "folder" / "inner.txt").symlink_to(tmp_path / "id_rsa")
    (run / "folder" / "up").symlink_to(tmp_path)
    (run / "folder" / "kept.txt").write_text("KEPT")
    os.mkfifo(run / "pipe")
    (run / "own.txt").write_text("OWN")
    (run / "good.txt").write_text("GOOD")

    report = sync(run.parents[1])

    named = "\n".join(report.problems)
    for name in ("linked.txt", "../../../id_rsa", "folder/inner.txt", "folder/up", "pipe", "/etc"):
        assert repr(name) in named
    assert b"PRIVATE KEY" not in server.bodies
    assert b"OWN" not in server.bodies
    assert b"KEPT" in server.bodies
    places = [path.partition("artifacts/artifacts")[2] for path, _, _ in server.requests]
    assert {place for place in places if place} == {
        "/1/a/artifacts/folder/kept.txt", "/1/a/artifacts/some/place/good.txt"
    }  # fmt: skip


def test_what_links_inside_a_run_reach_is_sent_once(journal, make_server):
    server = make_server()
    run = journal(server.uri, ("plots", None))
    (run / "plots" / "5").mkdir(parents=True)
    (run / "plots" / "5" / "a.txt").write_text("A")
    (run / "states").mkdir()
    (run / "states" / "b.txt").write_text("B")
    (run / "plots" / "1_latest").symlink_to("5")
    (run / "plots" / "above").symlink_to("..")
    (run / "plots" / "best").symlink_to("../states")
    (run / "plots" / "gone").symlink_to("../../../nothing")
    (run / "plots" / "loop").symlink_to("loop")

    assert sync(run.parents[1]).problems == []

    places = [
        path.partition("artifacts/artifacts/1/a/artifacts/")[2] for path, *_ in server.requests
    ]
    assert sorted(filter(None, places)) == ["plots/5/a.txt", "plots/best/b.txt"]


def test_links_are_followed_where_the_user_says_so(journal, make_server, tmp_path):
    server = make_server()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "model.bin").write_text("MODEL")
    (tmp_path / "data" / "again").symlink_to(tmp_path / "data")
    run = journal(server.uri, ("states", None))
    (run / "states").symlink_to(tmp_path / "data")

    assert sync_verb([str(run.parents[1]), "--follow-links"]) == 0

    assert b"MODEL" in server.bodies


@pytest.mark.parametrize("place", ["file://{}/victim", "s3://bucket/x", "mlflow-artifacts://h/x"])
def test_a_server_that_only_a_journal_names_leads_to_no_other_place(
    journal, make_server, tmp_path, place
):
    server = make_server(artifacts=place.format(tmp_path))
    run = journal(server.uri, ("good.txt", None))
    (run / "good.txt").write_text("GOOD")

    (problem,) = sync(run.parents[1]).problems

    assert "is not on that server" in problem
    assert not (tmp_path / "victim").exists()


def test_an_embedded_store_keeps_artifacts_in_its_own_folder(journal, tmp_path, experiment):
    run = journal(None, ("good.txt", None))
    (run / "good.txt").write_text("GOOD")
    (experiment / "mlflow.db").replace(run.parents[1] / "mlflow.db")
    with sqlite3.connect(run.parents[1] / "mlflow.db") as database:
        database.execute(
            "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage) "
            "VALUES (7, 'e', ?, 'active')",
            ((tmp_path / "victim").as_uri(),),
        )

    (problem,) = sync(run.parents[1]).problems

    assert "which is not in" in problem
    assert not (tmp_path / "victim").exists()


def plant(database, artifacts):
    """Writes an experiment `e` into a store that keeps its artifacts there."""
    with sqlite3.connect(database) as connection:
        connection.execute(
            "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage) "
            "VALUES (7, 'e', ?, 'active')",
            (artifacts,),
        )


@pytest.mark.parametrize("name", ["mlflow.db", "all.db"])
@pytest.mark.parametrize(
    "place",
    ["file://{0}/victim", "{0}/victim", "{1}/a#/../../../victim", "file://{1}/../../victim",
     "file://{1}/%2e%2e/%2e%2e/victim", "file://{1}/linked",
     "{1}/linked/..", "FILE://{0}/victim", "s3://bucket/x", "http://127.0.0.1:9/x"],
)  # fmt: skip
def test_a_database_of_the_folder_leads_out_of_it_in_no_spelling(
    journal, tmp_path, empty_store, name, place
):
    folder, victim = tmp_path / "e", tmp_path / "victim"
    run = journal(None if name == "mlflow.db" else f"sqlite:///{folder / name}", ("good.txt", None))
    (run / "good.txt").write_text("GOOD")
    (folder / "artifacts" / "a#").mkdir(parents=True)
    victim.mkdir()
    (folder / "artifacts" / "linked").symlink_to(victim)
    shutil.copy(empty_store, folder / name)
    plant(folder / name, place.format(tmp_path, folder / "artifacts"))

    report = sync(folder)

    (problem,) = report.problems
    assert "which is not in" in problem
    assert "'good.txt'" in problem
    assert list(victim.iterdir()) == []
    assert not list(tmp_path.glob("*/good.txt"))
    assert report.points == 1  # the rest arrives


@pytest.mark.parametrize("linked", ["mlflow.db", "artifacts"])
def test_a_store_that_is_a_link_out_of_the_folder_needs_the_users_word(
    journal, tmp_path, empty_store, linked
):
    run = journal(None, ("good.txt", None))
    (run / "good.txt").write_text("GOOD")
    folder, elsewhere = run.parents[1], tmp_path / "elsewhere"
    elsewhere.mkdir()
    database = elsewhere / "mlflow.db" if linked == "mlflow.db" else folder / "mlflow.db"
    shutil.copy(empty_store, database)
    target = database if linked == "mlflow.db" else elsewhere
    (folder / linked).symlink_to(target)
    before = database.read_bytes()

    (problem,) = sync(folder).problems

    assert "--follow-links" in problem
    assert list(elsewhere.rglob("good.txt")) == []
    assert linked == "artifacts" or database.read_bytes() == before
    assert sync(folder, follow_links=True).problems == []
    assert len(list(tmp_path.rglob("artifacts/good.txt"))) == 1


def test_an_artifact_is_not_written_through_a_link_in_its_place(journal, tmp_path, empty_store):
    run = journal(None, ("good.txt", None))
    (run / "good.txt").write_text("GOOD")
    folder, victim = run.parents[1], tmp_path / "victim"
    victim.write_text("MINE")
    shutil.copy(empty_store, folder / "mlflow.db")
    assert sync(folder).problems == []
    (place,) = folder.glob("artifacts/*/artifacts/good.txt")
    place.unlink()
    place.symlink_to(victim)
    with (run / "tracking.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "artifact", "path": "good.txt"}) + "\n")

    (problem,) = sync(folder, follow_links=True).problems

    assert "'good.txt'" in problem
    assert victim.read_text() == "MINE"


def test_a_training_sends_nothing_to_servers_that_other_journals_name(
    journal, make_server, empty_store
):
    server = make_server()
    run = journal(server.uri, name="planted")
    with MLFlowLogger(run.parents[1], "own") as tracking:
        tracking.log_metrics({"loss": 1.0}, 0)

    assert server.requests == []


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://ada:PLANTED/TOKEN@db/mlflow", "postgresql://ada:PLANTED#TOKEN@db/mlflow",
        "mysql+pymysql://ada:PLANTED?TOKEN@db/mlflow", "postgresql://ada:PLANTED@TOKEN@db/mlflow",
        "http://h/?token=PLANTEDTOKEN", "postgresql://db/mlflow?user=ada&password=PLANTEDTOKEN",
        "https://me:PLANTED TOKEN@h", "https://PLANTEDTOKEN@h",
    ],
)  # fmt: skip
def test_no_spelling_of_a_password_in_a_uri_gets_into_a_file(tmp_path, uri):
    folder = tmp_path / "e"
    with (
        contextlib.suppress(RuntimeError),
        MLFlowLogger(folder, "r", tracking_uri=uri, mode="offline", tags={"uri": uri}) as tracking,
    ):
        tracking.log_params(
            {"data": {"uri": uri}, "api_key": "PLANTED", "note": f"see {uri}", "pad_token": "[PAD]"}
        )
        raise RuntimeError(f"cannot reach {uri}")

    texts = [path.read_text() for path in folder.rglob("*") if path.is_file()]
    assert texts
    assert [text for text in texts if "PLANTED" in text or "TOKEN" in text] == []
    assert "pad_token: '[PAD]'" in (folder / "training/r/config.yaml").read_text()


def test_a_socket_is_no_artifact(journal, make_server, monkeypatch):
    server = make_server()
    run = journal(server.uri, ("gate", None))
    with socket.socket(socket.AF_UNIX) as gate:
        monkeypatch.chdir(run)
        gate.bind("gate")
        assert stat.S_ISSOCK(Path("gate").stat().st_mode)

        (problem,) = sync(run.parents[1]).problems

    assert "'gate' is no file" in problem
