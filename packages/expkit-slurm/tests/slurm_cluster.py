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
import json
import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NODES = ("node1", "node2", "node3", "node4")
COMMAND_LIMIT_S = 30  # with the controller gone some commands of Slurm wait for minutes
START_LIMIT_S = 60

# Below the ephemeral ports (32768-60999 on Linux), which any connection may hold for a moment.
FIRST_PORT, PORTS_A_CLUSTER, BLOCKS_OF_PORTS = 20000, 7, 1800
CONTROLLER_PORT, FIRST_NODE_PORT, DATABASE_PORT = 1, 2, 6  # in a block; its port 0 is the guard


class SlurmClusterError(RuntimeError):
    """The cluster, or a command on it, did not do what it should; the text ends with a log."""


class _PortTakenError(SlurmClusterError):
    pass


@dataclass(frozen=True)
class Options:
    """What may differ between clusters.

    Attributes:
        accounting: Run slurmdbd on a MariaDB, so that `sacct` answers; takes some seconds to start.
        limits: With accounting, hold users to the limits that `sacctmgr` sets for them.
        max_array_size: The largest task number plus one; Slurm's own default is 1001.
        cpus_per_node: How many tasks of one CPU a node runs at once, whatever the machine has.
        grace_s: How long a preempted task goes on between its first signal and SIGTERM; at least
            5 s (KillWait) and message_timeout_s, as Slurm looks after it no earlier.
        message_timeout_s: After twice this time, and some more, a dead node is noticed. Less than
            10 s, which is Slurm's default, may be too little on a busy machine.
    """

    accounting: bool = False
    limits: bool = False
    max_array_size: int = 51
    cpus_per_node: int = 2
    grace_s: int = 15
    message_timeout_s: int = 10


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
        needed += ["slurmdbd", "sacct", "mariadbd", "mariadb-install-db"]
    return [name for name in needed if _program(name) is None]


class SlurmCluster:
    """Four nodes in the partitions `low` (default) and `high`, which preempts it by requeue.

    Every command, and every wait, has a time limit. All that was started, jobs included, ends with
    the `with` block, and also when this process is killed: a keeper process, the parent of the
    daemons, watches it.
    """

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self._stack = contextlib.ExitStack()
        # pidfds: no process that comes later can be meant. None: ended before there was one.
        self._daemons: dict[str, int | None] = {}

    def __enter__(self) -> "SlurmCluster":
        if missing := missing_programs(self.options):
            raise SlurmClusterError(f"not installed, or not on PATH: {', '.join(missing)}")
        for attempt in range(3):
            try:
                self._start()
            except _PortTakenError:  # by a stranger, between our look and the daemon's
                if attempt == 2:
                    raise
            else:
                break
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def environment(self) -> dict[str, str]:
        """What makes a command use this cluster; comes on top of its usual environment."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": _search_path()}

    def run(
        self,
        *argv: str,
        check: bool = True,
        timeout_s: float = COMMAND_LIMIT_S,
        cwd: Path | None = None,
    ) -> str:
        """Run a command on this cluster; returns what it printed.

        Raises:
            SlurmClusterError: It failed (unless `check` is false) or took too long.
        """
        try:
            done = subprocess.run(
                argv,
                env=_without_slurm(os.environ) | self.environment,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired as error:
            text = f"{' '.join(argv)} took over {timeout_s} s"
            raise SlurmClusterError(f"{text}\n{self._tail('slurmctld')}") from error
        if not done.returncode:
            return done.stdout
        printed = done.stdout + done.stderr
        if check:
            text = f"{' '.join(argv)} ended with {done.returncode}: {printed.strip()}"
            raise SlurmClusterError(text)
        return printed

    def jobs(self, *, finished: bool = False) -> list[Job]:
        """What is queued or runs, array tasks one by one; `finished` adds the last 5 minutes."""
        states = ["--states=all"] if finished else []
        text = self.run("squeue", "--noheader", "--array", *states, f"--format={_FORMAT}")
        return [_parse_job(line) for line in text.splitlines()]

    def cancel_all(self) -> None:
        """Cancel every job, without the grace that Slurm gives to running ones."""
        user = f"--user={_user()}"
        self.run("scancel", user, "--state=PENDING")  # first: none may take a place that gets free
        self.run("scancel", user, "--state=RUNNING", "--full", "--signal=KILL", check=False)
        self.run("scancel", user)

    def wait_idle(self, timeout_s: float = START_LIMIT_S) -> None:
        """Wait until no job is left, not even one that is completing."""
        self.wait_for(lambda: not self.jobs(), "empty queue", timeout_s)

    def wait_for(
        self, condition: Callable[[], object], what: str, timeout_s: float = START_LIMIT_S
    ) -> None:
        """Ask until the condition holds; the error says what the cluster looks like."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                queue = self.run("squeue", "--array", check=False)
                nodes = self.run("sinfo", "-N", "-o", "%N %P %T %E", check=False)
                text = f"no {what} after {timeout_s} s\n{nodes}\n{queue}"
                raise SlurmClusterError(f"{text}\n{self._tail('slurmctld')}")
            time.sleep(0.02)

    def reset(self) -> None:
        """Everything as after the start: daemons up, nodes idle, no jobs."""
        if not self._runs("slurmctld"):
            self.start_controller()
        for name in NODES:
            if not self._runs(name):
                self._launch_node(name)
        if self.jobs():
            self.cancel_all()
            self.wait_idle()
        for name, state in self._node_states().items():
            if state.startswith(("down", "drain")):
                self.run("scontrol", "update", f"NodeName={name}", "State=RESUME", check=False)
        self._wait_nodes()

    def kill_node(self, name: str, *, jobs: bool = False) -> None:
        """SIGKILL the slurmd of a node.

        The controller notices after half a minute, or when told by `mark_down`. The jobs there go
        on, as behind a broken network, until the node is started again; with `jobs` they are
        killed too, as by a power failure.
        """
        self._end(name, signal.SIGKILL)
        if not jobs:
            return
        # slurmstepd first: it would report that its job has failed, which no dead node does.
        for look in (self._steps, self._processes_of_jobs):
            while pids := look(name):
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def mark_down(self, name: str) -> None:
        """Tell the controller that a node is down: it requeues what ran there, at once."""
        self.run("scontrol", "update", f"NodeName={name}", "State=DOWN", "Reason=killed")

    def start_node(self, name: str) -> None:
        """Start a killed node again and wait until the controller uses it."""
        self._launch_node(name)
        usable = ("idle", "mixed", "allocated")
        self.wait_for(lambda: self._node_states()[name] in usable, f"{name} in use")

    def stop_controller(self) -> None:
        """Stop slurmctld, which saves its state; running jobs go on."""
        self._end("slurmctld", signal.SIGTERM)

    def start_controller(self) -> None:
        """Start slurmctld with the state it has saved, and wait until it answers.

        It starts jobs again when the nodes have registered, some 4 s later.
        """
        self._launch("slurmctld", "-D", "-f", str(self.folder / "slurm.conf"))
        self._wait_daemon("slurmctld", lambda: "is UP" in self.run("scontrol", "ping", check=False))

    # What follows starts, watches and ends processes.

    def _start(self) -> None:
        # Not pytest's folder: the path of a Unix socket may have 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="expkit-slurm-", dir="/tmp"))
        self.folder.chmod(0o755)
        for name in ("run", "log", "state", "spool", "key"):
            (self.folder / name).mkdir(mode=0o700 if name == "key" else 0o755)
        guard, self._first_port = _take_ports()
        with guard, contextlib.ExitStack() as stack:
            arguments = [str(os.getpid()), str(guard.fileno()), str(self.folder)]
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, "--keep", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,  # Ctrl-C is for the tests
                pass_fds=[guard.fileno()],
            )
            stack.callback(self._stop)
            try:
                self._write_configuration()
                self._start_munge()
                if self.options.accounting:
                    self._start_database()
                self.start_controller()
                for name in NODES:
                    self._launch_node(name)
                self._wait_nodes()
            except SlurmClusterError as error:
                if any("Address already in use" in self._tail(name) for name in self._daemons):
                    raise _PortTakenError(str(error)) from error
                raise
            self._stack = stack.pop_all()

    def _stop(self) -> None:
        # Not just the end of stdin: processes that were forked from this one hold it open.
        with contextlib.suppress(OSError), self._keeper.stdin as orders:
            orders.write("stop\n")
        self._keeper.stdout.close()
        for descriptor in filter(None, self._daemons.values()):
            os.close(descriptor)
        self._daemons.clear()
        self._keeper.wait(START_LIMIT_S)

    def _start_munge(self) -> None:
        key, log = self.folder / "key" / "munge.key", self.folder / "log" / "munged.log"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        self._launch(
            "munged", "--foreground", "--force", f"--socket={self._munge}", f"--key-file={key}",
            f"--pid-file={self.folder}/run/munged.pid", f"--log-file={log}",
            f"--seed-file={self.folder}/key/seed",
        )  # fmt: skip
        self._wait_daemon("munged", self._munge.exists)

    def _start_database(self) -> None:
        where = self.folder / "run" / "mariadb.sock"
        arguments = (
            "--no-defaults", f"--user={_user()}", f"--datadir={self.folder}/data",
            "--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=0",
        )  # fmt: skip
        self.run(
            "mariadb-install-db", *arguments, "--auth-root-authentication-method=normal",
            "--skip-test-db", timeout_s=START_LIMIT_S,
        )  # fmt: skip
        self._launch(
            "mariadbd", *arguments, f"--socket={where}", "--skip-networking", "--skip-grant-tables",
            f"--pid-file={self.folder}/run/mariadb.pid", "--innodb-buffer-pool-size=64M",
        )  # fmt: skip
        self._wait_daemon("mariadbd", where.exists)
        # libmariadb reads this where the host is localhost, which spares a port and a password.
        self._launch("slurmdbd", "-D", MYSQL_UNIX_PORT=str(where))
        self._wait_daemon("slurmdbd", lambda: _listens(self._first_port + DATABASE_PORT))

    def _launch_node(self, name: str) -> None:
        # -D: not detached, so that it stays a child of the keeper.
        self._launch(name, "-D", "-f", str(self.folder / "slurm.conf"), "-N", name)

    def _launch(self, name: str, *arguments: str, **variables: str) -> None:
        program = _program("slurmd" if name in NODES else name)
        order = {
            "argv": [program, *arguments],
            "environment": _without_slurm(os.environ) | self.environment | variables,
            "output": str(self.folder / "log" / f"{name}.out"),
        }
        if (old := self._daemons.pop(name, None)) is not None:
            os.close(old)
        try:
            self._keeper.stdin.write(json.dumps(order) + "\n")
            self._keeper.stdin.flush()
            pid = int(self._keeper.stdout.readline())
            self._daemons[name] = None
            with contextlib.suppress(ProcessLookupError):
                self._daemons[name] = os.pidfd_open(pid)
        except (OSError, ValueError) as error:
            text = f"{name} could not be started: {error}"
            raise SlurmClusterError(f"{text}\n{self._tail(name)}") from error

    def _end(self, name: str, number: signal.Signals) -> None:
        if not self._runs(name):
            running = ", ".join(filter(self._runs, self._daemons))
            raise SlurmClusterError(f"{name} does not run; these do: {running}")
        descriptor = self._daemons.pop(name)
        try:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
            if not _ended(descriptor, COMMAND_LIMIT_S):
                raise SlurmClusterError(f"{name} did not end\n{self._tail(name)}")
        finally:
            os.close(descriptor)

    def _runs(self, name: str) -> bool:
        descriptor = self._daemons.get(name)
        return descriptor is not None and not _ended(descriptor, 0)

    def _wait_daemon(self, name: str, up: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while not up():
            self._check(name)
            if time.monotonic() > deadline:
                text = f"{name} did not come up within {START_LIMIT_S} s"
                raise SlurmClusterError(f"{text}\n{self._tail(name)}")
            time.sleep(0.005)

    def _wait_nodes(self) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while set(self._node_states().values()) != {"idle"}:
            for name in ("slurmctld", *NODES):
                self._check(name)
            if time.monotonic() > deadline:
                nodes = self.run("sinfo", "-N", "-o", "%N %T %E", check=False)
                logs = "\n".join(self._tail(name) for name in ("slurmctld", *NODES))
                text = f"the nodes are not idle after {START_LIMIT_S} s"
                raise SlurmClusterError(f"{text}\n{nodes}\n{logs}")
            time.sleep(0.02)

    def _check(self, name: str) -> None:
        if not self._runs(name):
            raise SlurmClusterError(f"{name} has ended by itself\n{self._tail(name)}")

    def _node_states(self) -> dict[str, str]:
        text = self.run("sinfo", "-h", "-N", "-p", "low", "-o", "%N %T")
        return dict(line.split() for line in text.splitlines())

    def _steps(self, node: str) -> list[int]:
        """Every slurmstepd of a node: they hold its log open, as slurmd does."""
        log = str(self.folder / "log" / f"{node}.log")
        return [
            pid
            for pid in _processes()
            if any(_link(path) == log for path in _listed(Path(f"/proc/{pid}/fd")))
        ]

    def _processes_of_jobs(self, node: str) -> list[int]:
        variables = {f"SLURM_CONF={self.folder}/slurm.conf".encode()}
        variables |= {f"SLURMD_NODENAME={node}".encode()}
        return [
            pid
            for pid in _processes()
            if variables <= set(_read(Path(f"/proc/{pid}/environ")).split(b"\0"))
        ]

    def _tail(self, name: str, lines: int = 20) -> str:
        """The end of a daemon's log, or of what it printed where it got no further."""
        text: list[str] = []
        for ending in ("log", "out"):
            written = _read(self.folder / "log" / f"{name}.{ending}").decode(errors="replace")
            text = text or written.splitlines()[-lines:]
        return "\n".join([f"--- {name}:", *text])

    @property
    def _munge(self) -> Path:
        return self.folder / "run" / "munge.sock"

    def _write_configuration(self) -> None:
        facts = {
            "folder": self.folder,
            "host": socket.gethostname().partition(".")[0],
            "user": _user(),
            "munge": self._munge,
            "epilog": _program("true"),
            "controller_port": self._first_port + CONTROLLER_PORT,
            "first_node_port": self._first_port + FIRST_NODE_PORT,
            "last_node_port": self._first_port + FIRST_NODE_PORT + len(NODES) - 1,
            "database_port": self._first_port + DATABASE_PORT,
            "max_array_size": self.options.max_array_size,
            "cpus": self.options.cpus_per_node,
            "memory": 2000 * self.options.cpus_per_node,
            "grace": self.options.grace_s,
            "message_timeout": self.options.message_timeout_s,
        }
        text = _SLURM_CONF + (_ACCOUNTING_CONF if self.options.accounting else "")
        text += "AccountingStorageEnforce=limits\n" if self.options.limits else ""
        (self.folder / "slurm.conf").write_text(text.format(**facts))
        (self.folder / "gres.conf").write_text("NodeName=node[1-4] Name=gpu File=/dev/null\n")
        database = self.folder / "slurmdbd.conf"
        database.touch(mode=0o600)  # slurmdbd insists
        database.write_text(_SLURMDBD_CONF.format(**facts))


# What is not Slurm's default, and why:
# - AuthInfo: a requeued task waits until its credential has expired. Below 5 s Slurm takes 120 s.
# - Epilog: without one, slurmd tells the end of most batch jobs in a way that lets the freed place
#   wait for the scheduler's next second; 120 short tasks take 10 s instead of 3 s.
# - SchedulerParameters: once a second is as often as the controller looks for new batch jobs.
# - SlurmdParameters: nodes may have more CPUs and memory than this machine.
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
MessageTimeout={message_timeout}
MinJobAge=300
SlurmctldTimeout=10
SlurmdTimeout=6
SlurmdParameters=config_overrides
Epilog={epilog}
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
NodeName=node[1-4] NodeHostname={host} NodeAddr=127.0.0.1 \
Port=[{first_node_port}-{last_node_port}] CPUs={cpus} RealMemory={memory} Gres=gpu:1 State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 GraceTime={grace} MaxTime=INFINITE State=UP
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE State=UP
"""

# AccountingStoragePass is munge's socket: without it the controller asks the system's munge.
_ACCOUNTING_CONF = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={database_port}
AccountingStoragePass={munge}
JobAcctGatherType=jobacct_gather/linux
"""

_SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={munge}
DbdHost=localhost
DbdPort={database_port}
SlurmUser={user}
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser={user}
StorageLoc=slurm
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/run/slurmdbd.pid
"""

_FORMAT = "%A|%F|%K|%T|%N|%r|%P|%j"


def _parse_job(line: str) -> Job:
    own, array, task, state, node, reason, partition, name = line.split("|", 7)
    number = int(task) if task.isdigit() else None
    return Job(int(own), int(array), number, state, node, reason, name, partition)


def _user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name  # USER and LOGNAME may be another's


def _search_path() -> str:
    """PATH, with the folders of system programs that a user's may lack."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    extra = ("/usr/local/sbin", "/usr/sbin", "/sbin")
    return os.pathsep.join([*folders, *(path for path in extra if path not in folders)])


def _program(name: str) -> str | None:
    return shutil.which(name, path=_search_path())


def _without_slurm(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what the job that this runs in, or a user's shell, says to Slurm."""
    foreign = ("SLURM", "SBATCH", "SQUEUE", "SINFO", "SCANCEL", "SACCT", "SALLOC", "SRUN")
    return {name: value for name, value in environment.items() if not name.startswith(foreign)}


def _take_ports() -> tuple[socket.socket, int]:
    """A block of free ports, and the socket that keeps other clusters off it until it is closed."""
    for attempt in range(BLOCKS_OF_PORTS):
        block = (os.getpid() * 7 + attempt) % BLOCKS_OF_PORTS
        first = FIRST_PORT + PORTS_A_CLUSTER * block
        guard = socket.socket()
        try:
            guard.bind(("", first))
            for port in range(first + 1, first + PORTS_A_CLUSTER):
                with socket.socket() as probe:
                    probe.bind(("", port))
        except OSError:
            guard.close()
        else:
            return guard, first
    raise SlurmClusterError(f"no {PORTS_A_CLUSTER} free ports in a row from {FIRST_PORT} on")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _ended(descriptor: int, timeout_s: float) -> bool:
    """Whether the process of a pidfd has ended."""
    return bool(select.select([descriptor], [], [], timeout_s)[0])


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


# The keeper: a process of its own, parent of the daemons and of every orphan they leave behind, as
# each slurmstepd is. So nothing outlives it, whatever happens to the process that has asked for it.


def _keep(owner: int, guard: int, folder: Path) -> None:
    """Start what stdin orders; kill all of it when told to, or when the owner has ended."""
    pr_set_child_subreaper = 36
    if ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0):
        sys.exit("prctl failed")
    os.set_inheritable(guard, False)  # the ports are taken as long as this process lives
    with contextlib.suppress(ProcessLookupError):
        watched = os.pidfd_open(owner)
        # Read end, and write end for the signal handler: select wakes up when a child ends.
        ended, notice = os.pipe()
        os.set_blocking(notice, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(notice)
        if os.getppid() == owner:  # else the number may be another's by now
            _obey(watched, ended)
    while children := list(_children()):
        for (
            pid
        ) in children:  # theirs become ours as they die, and have their turn in the next round
            os.kill(pid, signal.SIGKILL)
        os.waitpid(-1, 0)
        _reap()
    shutil.rmtree(folder, ignore_errors=True)


def _obey(watched: int, ended: int) -> None:
    pending = b""
    while True:
        readable, _, _ = select.select([0, watched, ended], [], [])
        if watched in readable:
            return
        if ended in readable:
            os.read(ended, 512)
            _reap()
        if 0 in readable:
            read = os.read(0, 65536)
            *lines, pending = (pending + read).split(b"\n")
            for line in lines:
                if line == b"stop":
                    return
                print(_spawn(json.loads(line)), flush=True)
            if not read:
                return


def _spawn(order: dict) -> int:
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, order["output"], append, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    argv = order["argv"]
    return os.posix_spawn(argv[0], argv, order["environment"], file_actions=actions)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _children() -> Iterator[int]:
    """The children of this process: until it reaps them, their numbers are nobody else's."""
    for pid in _processes():
        fields = _read(Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split()
        if fields and int(fields[1]) == os.getpid():
            yield pid


def main(arguments: Sequence[str]) -> int:
    """Run a command with a cluster of its own; returns the command's exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--accounting", action="store_true", help="with slurmdbd: sacct works")
    parser.add_argument("--max-array-size", type=int, default=Options.max_array_size)
    parser.add_argument("--cpus-per-node", type=int, default=Options.cpus_per_node)
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="after --")
    parsed = parser.parse_args(arguments)
    options = Options(
        accounting=parsed.accounting,
        max_array_size=parsed.max_array_size,
        cpus_per_node=parsed.cpus_per_node,
    )
    try:
        with SlurmCluster(options) as cluster:
            environment = _without_slurm(os.environ) | cluster.environment
            with subprocess.Popen(parsed.command, env=environment) as process:
                while process.poll() is None:
                    with contextlib.suppress(KeyboardInterrupt):  # the command's to decide about
                        process.wait()
    except (SlurmClusterError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    code = process.returncode
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    if sys.argv[1:2] == ["--keep"]:
        _keep(int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
    else:
        sys.exit(main(sys.argv[1:]))
