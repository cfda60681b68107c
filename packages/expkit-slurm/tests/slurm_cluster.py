"""A real Slurm of four nodes on this machine: private, for tests, benchmarks and developers.

    python packages/expkit-slurm/tests/slurm_cluster.py [--accounting] -- COMMAND ...

runs COMMAND (`bash` for a look around) with a cluster of its own, in a temporary folder and on
private ports. The system's Slurm, where there is one, is neither read nor touched. Needs Linux and
the programs of slurm-wlm and munge; with accounting those of slurmdbd and mariadb-server too.
Standard library only, so that tests/ and benchmarks/ can load this file by its path.
"""

import argparse
import contextlib
import ctypes
import getpass
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

NODES = ("node1", "node2", "node3", "node4")
COMMAND_LIMIT_S = 30  # with the controller gone some commands of Slurm wait for minutes
START_LIMIT_S = 60

# Below the ephemeral ports (32768-60999 on Linux), which any connection may hold for a moment.
FIRST_PORT, PORTS_A_CLUSTER, BLOCKS = 20000, 8, 1400
GUARD, CONTROLLER_PORT, FIRST_NODE_PORT, DATABASE_PORT = 0, 1, 2, 6


class SlurmClusterError(RuntimeError):
    """The cluster, or a command on it, did not do what it should; the text ends with a log."""


@dataclass(frozen=True)
class Options:
    """What may differ between clusters.

    Attributes:
        accounting: Run slurmdbd on a MariaDB, so that `sacct` answers; takes some seconds to start.
        max_array_size: The largest task number plus one; Slurm's own default is 1001.
        cpus_per_node: How many tasks of one CPU a node runs at once, whatever the machine has.
    """

    accounting: bool = False
    max_array_size: int = 51
    cpus_per_node: int = 2


@dataclass(frozen=True)
class Job:
    """A job or one task of an array, as `squeue` shows it."""

    id: int  # of its own: an array's tasks differ in it
    array_id: int  # what sbatch printed
    task: int | None  # None where it is no array
    state: str  # PENDING, RUNNING, COMPLETING, COMPLETED, ...
    node: str
    reason: str
    name: str
    partition: str

    @property
    def label(self) -> str:
        """What scontrol and scancel call it: `12_3`, or `12` for no array."""
        return str(self.array_id) if self.task is None else f"{self.array_id}_{self.task}"


def missing_programs(options: Options) -> list[str]:
    """The programs such a cluster needs and this machine lacks."""
    needed = ["munged", "slurmctld", "slurmd", "sbatch", "scancel", "scontrol", "sinfo", "squeue"]
    if options.accounting:
        needed += ["slurmdbd", "sacct", "mariadbd", "mariadb-install-db", "mariadb"]
    return [name for name in needed if _program(name) is None]


class SlurmCluster:
    """Four nodes in the partitions `low` (default) and `high`, which preempts it by requeue.

    Start-up, and every command, has a time limit. What was started ends with the `with` block, and
    also when this process is killed: a keeper process, parent of all daemons, watches it.
    """

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self._stack = contextlib.ExitStack()
        self._daemons: dict[str, int] = {}  # name -> pidfd, which no other process can inherit

    def __enter__(self) -> "SlurmCluster":
        if missing := missing_programs(self.options):
            raise SlurmClusterError(f"not installed, or not on PATH: {', '.join(missing)}")
        for attempt in range(3):
            try:
                self._start()
            except BaseException as error:
                self._stack.close()
                # A stranger took the port between our look and the daemon's.
                if attempt == 2 or "Address already in use" not in str(error):
                    raise
            else:
                return self
        raise AssertionError("unreachable")

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs beside, or instead of, its usual environment."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": _search_path()}

    def run(self, *argv: str, check: bool = True, timeout_s: float = COMMAND_LIMIT_S) -> str:
        """Run a command with the cluster's environment; returns its output.

        Raises:
            SlurmClusterError: It failed (unless `check` is false) or took too long.
        """
        try:
            done = subprocess.run(
                argv,
                env=_without_slurm(os.environ) | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired as error:
            text = f"{' '.join(argv)} took over {timeout_s} s"
            raise SlurmClusterError(f"{text}\n{self._tail('slurmctld')}") from error
        if check and done.returncode:
            text = f"{' '.join(argv)} ended with {done.returncode}: {done.stdout.strip()}"
            raise SlurmClusterError(text)
        return done.stdout

    def jobs(self, *, finished: bool = False) -> list[Job]:
        """What is queued or runs, array tasks one by one; `finished` adds the last 5 minutes."""
        states = ["--states=all"] if finished else []
        text = self.run("squeue", "--noheader", "--array", *states, f"--format={_FORMAT}")
        return [_parse_job(line) for line in text.splitlines()]

    def cancel_all(self) -> None:
        """Cancel every job, without the grace that Slurm gives to running ones."""
        user = f"--user={getpass.getuser()}"
        self.run("scancel", user, "--state=PENDING")  # first: no task may take a freed place
        self.run("scancel", user, "--state=RUNNING", "--full", "--signal=KILL", check=False)
        self.run("scancel", user)

    def wait_idle(self, timeout_s: float = START_LIMIT_S) -> None:
        """Wait until no job is left, not even one that is completing."""
        self.wait_for(lambda: not self.jobs(), "an empty queue", timeout_s)

    def wait_for(
        self, condition: Callable[[], object], what: str, timeout_s: float = START_LIMIT_S
    ) -> None:
        """Ask until the condition holds."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                queue = self.run("squeue", "--array", check=False)
                text = f"no {what} after {timeout_s} s\n{self._state()}\n{queue}"
                raise SlurmClusterError(f"{text}\n{self._tail('slurmctld')}")
            time.sleep(0.02)

    def reset(self) -> None:
        """Everything as after the start: daemons up, nodes idle, no jobs."""
        if "slurmctld" not in self._daemons:
            self.start_controller()
        for name in NODES:
            if name not in self._daemons:
                self._launch_node(name)
        if self.jobs():
            self.cancel_all()
        self._wait_nodes()
        self.wait_idle()

    def kill_node(self, name: str) -> None:
        """SIGKILL the slurmd of a node; its jobs go on, as behind a broken network."""
        self._end(name, signal.SIGKILL)

    def start_node(self, name: str) -> None:
        """Start a killed node again and wait until the controller uses it."""
        self._launch_node(name)
        self.wait_for(lambda: self._node_state(name) in ("idle", "mixed", "allocated"), name)

    def stop_controller(self) -> None:
        """Stop slurmctld, which saves its state; running jobs go on."""
        self._end("slurmctld", signal.SIGTERM)

    def start_controller(self) -> None:
        """Start slurmctld with the state it has saved, and wait until it answers."""
        conf = str(self.folder / "slurm.conf")
        self._launch("slurmctld", "-D", "-f", conf)
        self._wait_daemon("slurmctld", lambda: _listens(self._port(CONTROLLER_PORT)))

    # What follows starts and stops.

    def _start(self) -> None:
        with contextlib.ExitStack() as stack:
            self.folder = Path(tempfile.mkdtemp(prefix="expkit-slurm-", dir="/tmp"))
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            for name in ("run", "log", "state", "spool", "key"):
                (self.folder / name).mkdir(mode=0o700 if name == "key" else 0o755)
            self.folder.chmod(0o755)
            self._daemons.clear()
            guard, self._first_port = _take_ports()
            with guard:
                self._keeper = subprocess.Popen(
                    [sys.executable, "-I", "-S", __file__, "--keep", str(os.getpid())],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    start_new_session=True,  # Ctrl-C is for the tests
                    pass_fds=[guard.fileno()],
                )
            stack.callback(self._stop)
            self._write_configuration()
            self._launch_munge()
            if self.options.accounting:
                self._launch_database()
            conf = str(self.folder / "slurm.conf")
            self._launch("slurmctld", "-D", "-f", conf)
            for name in NODES:
                self._launch_node(name)
            self._wait_daemon("slurmctld", lambda: _listens(self._port(CONTROLLER_PORT)))
            self._wait_nodes()
            self._stack = stack.pop_all()

    def _stop(self) -> None:
        with contextlib.suppress(OSError):
            self._keeper.stdin.close()
        try:
            self._keeper.wait(START_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()
        self._keeper.stdout.close()
        for descriptor in self._daemons.values():
            os.close(descriptor)
        self._daemons.clear()

    def _launch_munge(self) -> None:
        key = self.folder / "key" / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        self._launch(
            "munged",
            "--foreground",
            "--force",
            f"--socket={self._munge}",
            f"--key-file={key}",
            f"--pid-file={self.folder}/run/munged.pid",
            f"--log-file={self.folder}/log/munged.log",
            f"--seed-file={self.folder}/key/munge.seed",
        )
        self._wait_daemon("munged", self._munge.exists)

    def _launch_database(self) -> None:
        data, where = self.folder / "data", self.folder / "run" / "mariadb.sock"
        self.run(
            _needed("mariadb-install-db"),
            "--no-defaults",
            f"--user={getpass.getuser()}",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            timeout_s=START_LIMIT_S,
        )
        self._launch(
            "mariadbd",
            "--no-defaults",
            f"--user={getpass.getuser()}",
            f"--datadir={data}",
            f"--socket={where}",
            f"--pid-file={self.folder}/run/mariadb.pid",
            "--skip-networking",
            "--innodb-buffer-pool-size=64M",
            "--innodb-flush-log-at-trx-commit=0",
            "--skip-log-bin",
        )
        self._wait_daemon("mariadbd", where.exists)
        # libmariadb reads the variable where the host is localhost: no port, no password.
        self._launch("slurmdbd", "-D", MYSQL_UNIX_PORT=str(where))
        self._wait_daemon("slurmdbd", lambda: _listens(self._port(DATABASE_PORT)))

    def _launch_node(self, name: str) -> None:
        # -D: in the foreground, as a child of the keeper.
        self._launch(name, "-D", "-f", str(self.folder / "slurm.conf"), "-N", name)

    def _launch(self, name: str, *arguments: str, **variables: str) -> None:
        program = _needed("slurmd" if name in NODES else name)
        order = {
            "argv": [program, *arguments],
            "environment": _without_slurm(os.environ) | self.environment | variables,
            "output": str(self.folder / "log" / f"{name}.out"),
        }
        try:
            self._keeper.stdin.write(json.dumps(order) + "\n")
            self._keeper.stdin.flush()
            pid = int(self._keeper.stdout.readline())
            self._daemons[name] = os.pidfd_open(pid)
        except (OSError, ValueError) as error:
            raise SlurmClusterError(f"{name} could not be started: {error}") from error

    def _end(self, name: str, number: signal.Signals) -> None:
        descriptor = self._daemons.pop(name, None)
        if descriptor is None:
            raise SlurmClusterError(f"{name} does not run; these do: {', '.join(self._daemons)}")
        try:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
            if not _ended(descriptor, COMMAND_LIMIT_S):
                raise SlurmClusterError(f"{name} did not end\n{self._tail(name)}")
        finally:
            os.close(descriptor)

    def _wait_daemon(self, name: str, up: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while not up():
            if _ended(self._daemons[name], 0):
                raise SlurmClusterError(f"{name} ended at once\n{self._tail(name)}")
            if time.monotonic() > deadline:
                text = f"{name} did not come up within {START_LIMIT_S} s"
                raise SlurmClusterError(f"{text}\n{self._tail(name)}")
            time.sleep(0.005)

    def _wait_nodes(self) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while self.run("sinfo", "-h", "-p", "low", "-t", "idle", "-o", "%D").strip() != "4":
            for name in ("slurmctld", *NODES):
                if _ended(self._daemons[name], 0):
                    raise SlurmClusterError(f"{name} ended\n{self._tail(name)}")
            if time.monotonic() > deadline:
                logs = "\n".join(self._tail(name) for name in ("slurmctld", *NODES))
                raise SlurmClusterError(f"the nodes are not idle\n{self._state()}\n{logs}")
            time.sleep(0.02)

    def _node_state(self, name: str) -> str:
        return self.run("sinfo", "-h", "-N", "-p", "low", "-n", name, "-o", "%T").strip()

    def _state(self) -> str:
        return self.run("sinfo", "-N", "-o", "%N %P %T %E", check=False)

    def _tail(self, name: str, lines: int = 20) -> str:
        """The end of a daemon's log, or of what it printed where it got no further."""
        text = []
        for path in (self.folder / "log" / f"{name}.log", self.folder / "log" / f"{name}.out"):
            with contextlib.suppress(OSError):
                text += path.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join([f"--- {name}:", *text])

    def _port(self, offset: int) -> int:
        return self._first_port + offset

    @property
    def _munge(self) -> Path:
        return self.folder / "run" / "munge.sock"

    def _write_configuration(self) -> None:
        host, user = socket.gethostname().partition(".")[0], getpass.getuser()
        first = self._port(FIRST_NODE_PORT)
        text = _SLURM_CONF.format(
            folder=self.folder,
            host=host,
            user=user,
            munge=self._munge,
            controller_port=self._port(CONTROLLER_PORT),
            node_ports=f"[{first}-{first + len(NODES) - 1}]",
            max_array_size=self.options.max_array_size,
            cpus=self.options.cpus_per_node,
            memory=1000 * self.options.cpus_per_node,
        )
        if self.options.accounting:
            ports = {"munge": self._munge, "port": self._port(DATABASE_PORT)}
            text += _ACCOUNTING_CONF.format(**ports)
            database = self.folder / "slurmdbd.conf"
            database.touch(mode=0o600)
            database.write_text(_SLURMDBD_CONF.format(folder=self.folder, user=user, **ports))
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "gres.conf").write_text("NodeName=node[1-4] Name=gpu File=/dev/null\n")


_FORMAT = "%A|%F|%K|%T|%N|%r|%P|%j"

_SLURM_CONF = """\
ClusterName=private
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={munge},cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
ReturnToService=2
KillWait=5
MinJobAge=300
SlurmctldTimeout=10
SlurmdTimeout=15
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/%n.log
MaxArraySize={max_array_size}
GresTypes=gpu
SlurmctldParameters=preempt_send_user_signal
SchedulerParameters=sched_min_interval=0,sched_interval=1,batch_sched_delay=0,bf_interval=1
NodeName=node[1-4] NodeHostname={host} NodeAddr=127.0.0.1 Port={node_ports} CPUs={cpus} \
RealMemory={memory} Gres=gpu:1 State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 GraceTime=15 MaxTime=INFINITE State=UP
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE State=UP
"""

# AccountingStoragePass is munge's socket: without it the controller asks the system's munge.
_ACCOUNTING_CONF = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={port}
AccountingStoragePass={munge}
JobAcctGatherType=jobacct_gather/linux
"""

_SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={munge}
DbdHost=localhost
DbdPort={port}
SlurmUser={user}
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser={user}
StorageLoc=slurm
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/run/slurmdbd.pid
"""


def _parse_job(line: str) -> Job:
    own, array, task, state, node, reason, partition, name = line.split("|", 7)
    number = int(task) if task.isdigit() else None
    return Job(int(own), int(array), number, state, node, reason, name, partition)


def _search_path() -> str:
    """PATH, with the folders of system programs that a user's may lack."""
    known = os.environ.get("PATH", os.defpath).split(os.pathsep)
    extra = ("/usr/local/sbin", "/usr/sbin", "/sbin")
    return os.pathsep.join([*known, *(path for path in extra if path not in known)])


def _program(name: str) -> str | None:
    return shutil.which(name, path=_search_path())


def _needed(name: str) -> str:
    found = _program(name)
    if found is None:
        raise SlurmClusterError(f"{name} is not installed, or not on PATH")
    return found


def _without_slurm(environment: "os._Environ[str]") -> dict[str, str]:
    """Without what the job that this runs in, or a user's shell, says to Slurm."""
    foreign = ("SLURM", "SBATCH", "SQUEUE", "SINFO", "SCANCEL", "SACCT", "SALLOC", "SRUN")
    return {name: value for name, value in environment.items() if not name.startswith(foreign)}


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _ended(descriptor: int, timeout_s: float) -> bool:
    """Whether the process of a pidfd has ended."""
    return bool(select.select([descriptor], [], [], timeout_s)[0])


def _take_ports() -> tuple[socket.socket, int]:
    """A block of free ports, and a socket that keeps other clusters off it while it is bound."""
    for attempt in range(BLOCKS):
        first = FIRST_PORT + PORTS_A_CLUSTER * ((os.getpid() * 7 + attempt) % BLOCKS)
        guard = socket.socket()
        try:
            guard.bind(("", first + GUARD))
            for port in range(first + 1, first + PORTS_A_CLUSTER):
                with socket.socket() as probe:
                    probe.bind(("", port))
        except OSError:
            guard.close()
        else:
            return guard, first
    raise SlurmClusterError(f"no {PORTS_A_CLUSTER} free ports in a row from {FIRST_PORT} on")


# The keeper: another process, the parent of all daemons and of every orphan among their children.


def _keep(owner: int) -> None:
    """Start what stdin asks for; kill all of it when stdin ends or the owner has died."""
    PR_SET_CHILD_SUBREAPER = 36
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # Processes that the owner forks hold its end of stdin open, hence the second watch.
    watched = os.pidfd_open(owner)
    wakes, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    pending = b""
    while os.getppid() == owner:
        readable, _, _ = select.select([0, watched, wakes], [], [])
        if wakes in readable:
            os.read(wakes, 512)
            _reap()
        if 0 in readable:
            read = os.read(0, 65536)
            if not read:
                break
            *lines, pending = (pending + read).split(b"\n")
            for line in lines:
                print(_spawn(json.loads(line)), flush=True)
        if watched in readable:
            break
    while children := list(_children()):
        for pid in children:  # theirs become ours when they die, and have their turn then
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(children[0], 0)
        _reap()


def _spawn(order: dict) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, order["output"], flags, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    argv = order["argv"]
    return os.posix_spawn(argv[0], argv, order["environment"], file_actions=actions)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _children() -> Iterator[int]:
    """The children of this process; none is reaped meanwhile, so the numbers stay theirs."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                if int(parent) == os.getpid():
                    yield int(entry.name)


def main(arguments: Sequence[str]) -> int:
    """Run a command with a cluster of its own; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--accounting", action="store_true", help="with slurmdbd: sacct works")
    parser.add_argument("--max-array-size", type=int, default=Options.max_array_size)
    parser.add_argument("--cpus-per-node", type=int, default=Options.cpus_per_node)
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="after --")
    given = parser.parse_args(arguments)
    options = Options(given.accounting, given.max_array_size, given.cpus_per_node)
    with SlurmCluster(options) as cluster:
        environment = _without_slurm(os.environ) | cluster.environment
        with subprocess.Popen(given.command, env=environment) as process:
            while True:
                try:
                    return process.wait()
                except KeyboardInterrupt:  # the command got it too and decides
                    continue


if __name__ == "__main__":
    if sys.argv[1:2] == ["--keep"]:
        _keep(int(sys.argv[2]))
    else:
        sys.exit(main(sys.argv[1:]))
