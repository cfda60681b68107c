"""Every check, the same on a laptop, in CI and on a GPU cluster; `nox -l` lists them."""

import os
import shutil
import signal
import sys
import time
from itertools import chain
from pathlib import Path

import nox
from packaging.requirements import Requirement
from packaging.version import Version

# Started in the background of a script, a process ignores SIGINT, and so do its children: the
# tests of Ctrl-C would wait in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests start thousands of processes: each would compile the packages, which are installed in place.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = False  # newer ones are tested where they exist
nox.options.sessions = [
    "lint",
    "types",
    "types_of_users",
    "build",
    "tests",
    "tests_runs",
    "tests_torch",
    "tests_newer",
    "integration",
]

LEAVES = sorted(Path("packages").glob("expkit-*"))
PACKAGES = [*LEAVES, Path("packages/expkit")]
CONSTRAINTS = ("-c", "constraints.txt")  # plain `torch` would pull several GB of CUDA packages
CHAIN = ("expkit-bookkeeping", "expkit-filter", "expkit-hydra", "expkit-slurm")
READ_RUN_FOLDERS = ("expkit-mlflow", "expkit-plotting")  # with their extra `runs`
USE_TORCH_IF_THERE = ("expkit-seed", "expkit-timer", "expkit-bookkeeping")
TEST_TOOLS = ("hypothesis", "mypy", "pytest")
ON_NEWER_PYTHONS = (
    "expkit-registry",
    "expkit-mlflow",
    "expkit-plotting",
    "expkit-filter",
    "expkit-hydra",
)
NEWER_PYTHONS = ["3.12", "3.13", "3.14"]
ONCE_IN_CI = ("expkit-hydra", "expkit-mlflow", "expkit-plotting")  # minutes each
# Release candidates, of versions that hydra's and slurm's bounds allow already.
PRERELEASES = ("hydra-core==1.4.0rc3", "omegaconf==2.4.1rc1")
ON_PRERELEASES = (
    "packages/expkit-filter",
    "packages/expkit-hydra",
    "packages/expkit-slurm",
    "tests/test_growing_grid.py",
    "tests/test_identity_keys.py",
    "tests/test_one_line.py",
    "tests/test_secrets.py",
    "tests/test_yaml.py",
)
FAULTS_IN_15_MIN = "3"  # the number of rounds that two cores can do
PEERS = (  # what benchmarks/ measures expkit beside
    "codetiming",
    "hydra-filter-sweeper",
    "hydra-submitit-launcher",
    "lightning",
    "mlflow",
    "playwright",
    "plotly",
    "seaborn",
)
# Over half a minute each; by file, as each has a server or a probe that the file shares.
SPREAD_OVER_CORES = (
    "expkit-bookkeeping",
    "expkit-mlflow",
    "expkit-plotting",
    "expkit-hydra",
    "expkit-slurm",
)


def siblings_below(package: Path, *, extras: bool = False) -> tuple[str, ...]:
    """The packages below one in the chain; with extras, what it reads run folders with as well."""
    if package.name in CHAIN:
        return CHAIN[: CHAIN.index(package.name)]
    # expkit-hydra tells about grids, and needs what lies below it.
    return (
        CHAIN[: CHAIN.index("expkit-slurm")] if extras and package.name in READ_RUN_FOLDERS else ()
    )


def requirements_of_tests(package: Path, *, extras: bool = False) -> list[str]:
    """What the tests of one package need: itself, its siblings below, its test group."""
    below = siblings_below(package, extras=extras)
    project = nox.project.load_toml(package / "pyproject.toml")
    names = project["project"].get("optional-dependencies", {}) if extras else {}
    return [
        *(f"-e./packages/{name}" for name in below),
        f"-e./{package}[{','.join(names)}]" if names else f"-e./{package}",
        *nox.project.dependency_groups(project, "test"),
        *(["pytest-xdist"] if package.name in SPREAD_OVER_CORES else []),
    ]


def lowest_versions(packages: list[Path]) -> list[str]:
    """Constraints that hold everything these packages may use at its lower bound."""
    # numpy 2 came after the lower bounds of pandas and pyarrow, which do not exclude it and
    # cannot be imported beside it. A bound of ours, where there is one, says more.
    # pyparsing 3.3 deprecates what the lowest matplotlib calls, and tests refuse warnings.
    lowest = {"numpy": "numpy<2", "pyparsing": "pyparsing<3.3"}
    bounds: dict[str, list[Version]] = {}
    for package in packages:
        project = nox.project.load_toml(package / "pyproject.toml")
        extras = project["project"].get("optional-dependencies", {})
        for text in (
            *project["project"]["dependencies"],
            *chain.from_iterable(extras.values()),
            *nox.project.dependency_groups(project, "test"),
        ):
            requirement = Requirement(text)
            if requirement.name.startswith("expkit") or requirement.name in TEST_TOOLS:
                continue
            found = [Version(x.version) for x in requirement.specifier if x.operator == ">="]
            bounds.setdefault(requirement.name, []).extend(found)
    lowest |= {name: f"{name}=={max(found)}" for name, found in bounds.items()}
    tested = Path("constraints.txt").read_text("utf-8").splitlines()
    return [*lowest.values(), *(x for x in tested if x.partition("==")[0] in TEST_TOOLS)]


def spread(package: Path) -> tuple[str, ...]:
    """Arguments of pytest that put tests of long suites side by side."""
    if package.name == "expkit-slurm":  # most of it waits, each worker for a cluster of its own
        return ("-n", "3", "--dist", "worksteal")
    return ("-n", "2", "--dist", "loadfile") if package.name in SPREAD_OVER_CORES else ()


def parts_required_in_ci(*names: str) -> dict[str, str]:
    """On a user's machine a missing LaTeX or browser skips its tests; in CI it fails them."""
    return {"EXPKIT_REQUIRE": ",".join(names)} if os.environ.get("CI") else {}


def build_wheels(session: nox.Session, target: Path) -> list[str]:
    """Build sdist and wheel of all ten into `target`; returns the wheels."""
    session.install("build", "hatchling", *CONSTRAINTS)
    shutil.rmtree(target, ignore_errors=True)
    for package in PACKAGES:
        session.run(
            "python", "-m", "build", "--no-isolation", "--outdir", str(target), str(package),
            silent=True,
        )  # fmt: skip
    return sorted(str(wheel) for wheel in target.glob("*.whl"))


@nox.session(default=False)
def demo(session: nox.Session) -> None:
    """Train the example's grid on real data, here; ends by saying where to look."""
    session.install(
        *(f"-e./{package}" for package in PACKAGES), "torch", "scikit-learn", *CONSTRAINTS
    )
    session.run("python", "examples/digits.py", "-m", *session.posargs)
    session.log(f"these commands live in the demo's environment: source {session.bin}/activate")


@nox.session
@nox.parametrize("package", [nox.param(path, id=path.name) for path in LEAVES])
def tests(session: nox.Session, package: Path) -> None:
    """Test one package with none of its siblings but those below it in the chain.

    What mlflow and plotting make of run folders is skipped here: `tests_runs` shows it.
    """
    session.install(*requirements_of_tests(package), *CONSTRAINTS)
    session.run(
        "pytest", "-q", str(package), *spread(package), *session.posargs,
        env=parts_required_in_ci("latex", "mlflow", "chromium", "slurm"),
    )  # fmt: skip


@nox.session
def tests_runs(session: nox.Session) -> None:
    """The tests of mlflow and plotting that read run folders, with the packages that wrote them."""
    packages = [Path("packages", name) for name in READ_RUN_FOLDERS]
    requirements = (requirements_of_tests(package, extras=True) for package in packages)
    plotting = nox.project.load_toml("packages/expkit-plotting/pyproject.toml")
    browser = nox.project.dependency_groups(plotting, "browser")
    session.install(*chain.from_iterable(requirements), *browser, *CONSTRAINTS)
    session.run(
        "pytest", "-q", "-m", "runs", *map(str, packages), "-n", "2", "--dist", "loadfile",
        *session.posargs,
        env={"EXPKIT_REQUIRE": "runs,chromium" if os.environ.get("CI") else "runs"},
    )  # fmt: skip


@nox.session
def tests_torch(session: nox.Session) -> None:
    """The tests of seed, timer and bookkeeping once more, with torch."""
    for name in USE_TORCH_IF_THERE:
        session.install(*requirements_of_tests(Path("packages", name)), *CONSTRAINTS)
    session.install("torch", "torchdata", "torchinfo", "scikit-learn", "omegaconf", *CONSTRAINTS)
    packages = (str(Path("packages", name)) for name in USE_TORCH_IF_THERE)
    session.run(
        "pytest", "-q", *packages, "-n", "2", "--dist", "loadfile", *session.posargs,
        env={"EXPKIT_REQUIRE": "torch"},
    )  # fmt: skip


@nox.session(python=NEWER_PYTHONS)
def tests_newer(session: nox.Session) -> None:
    """The packages that build on others' libraries, on newer Pythons where they are installed."""
    packages = [Path("packages", name) for name in ON_NEWER_PYTHONS]
    installed = [version for version in NEWER_PYTHONS if shutil.which(f"python{version}")]
    if os.environ.get("CI") and session.python != installed[-1]:
        packages = [package for package in packages if package.name not in ONCE_IN_CI]
    # One environment for all: that each works alone is shown by `tests`.
    requirements = chain.from_iterable(map(requirements_of_tests, packages))
    session.install(*requirements, "pytest-xdist", *CONSTRAINTS)
    session.run(
        "pytest", "-q", *map(str, packages), "-n", "2", "--dist", "loadfile", *session.posargs
    )


@nox.session(default=False, python="3.11")
@nox.parametrize("package", [nox.param(path, id=path.name) for path in LEAVES])
def minimum(session: nox.Session, package: Path) -> None:
    """Test one package with the lowest versions that it and those below it allow."""
    below = siblings_below(package, extras=True)
    # Not in nox's own temporary folder: tests would have theirs there, in this repository.
    constraints = Path(session.virtualenv.location, "lowest.txt").resolve()
    lowest = lowest_versions([*(Path("packages", name) for name in below), package])
    constraints.write_text("\n".join(lowest) + "\n", "utf-8")
    session.install(*requirements_of_tests(package, extras=True), "-c", str(constraints))
    session.run("pytest", "-q", str(package), *session.posargs)


@nox.session(default=False)
def prerelease(session: nox.Session) -> None:
    """What uses private parts of Hydra and OmegaConf, with their release candidates."""
    tested = Path("constraints.txt").read_text("utf-8").splitlines()
    names = [Requirement(text).name for text in PRERELEASES]
    constraints = Path(session.virtualenv.location, "prerelease.txt").resolve()
    constraints.write_text(
        "\n".join([*PRERELEASES, *(x for x in tested if x.partition("==")[0] not in names)]) + "\n",
        "utf-8",
    )
    requirements = (requirements_of_tests(package) for package in LEAVES)
    session.install(
        *chain.from_iterable(requirements), "-e./packages/expkit", *PRERELEASES, "pytest-xdist",
        "-c", str(constraints),
    )  # fmt: skip
    session.run(
        "pytest", "-q", *ON_PRERELEASES, "-n", "2", "--dist", "loadfile", *session.posargs,
        # Hydra 1.4 warns of the argument that 1.3 asks for; the tests' apps give it.
        env={"PYTHONWARNINGS": "ignore:The version_base parameter"},
    )  # fmt: skip


@nox.session
def integration(session: nox.Session) -> None:
    """Test what no package can test alone, with all ten installed from built wheels."""
    wheels = build_wheels(session, Path("build", "integration"))
    session.install("--force-reinstall", "--no-deps", *wheels)
    tools = (
        "torch", "lightning", "scikit-learn", "hydra-optuna-sweeper", "hydra-zen", "griffe",
        "hypothesis", "psutil", "pytest", "pytest-xdist",
    )  # fmt: skip
    session.install(*wheels, *tools, *CONSTRAINTS)
    session.run(
        "pytest", "-q", "tests", "packages/expkit/tests", "-n", "2", "--dist", "loadfile",
        *session.posargs,
        env={
            "EXPKIT_FAULTS": "1",  # two minutes of the campaign, and its table
            **parts_required_in_ci(
                "latex", "mlflow", "chromium", "slurm", "torch", "optuna", "zsh", "tcsh"
            ),
        },
    )  # fmt: skip


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure expkit beside its peers; names choose areas, `--quick` measures less."""
    session.install(
        *(f"-e./{package}" for package in PACKAGES), "torch", "scikit-learn", *PEERS, *CONSTRAINTS
    )
    scripts = {path.stem for path in Path("benchmarks").glob("[!_]*.py")}
    areas = sorted(scripts - {"measuring", "summary", "tables"})
    flags = [argument for argument in session.posargs if argument.startswith("-")]
    chosen = [argument for argument in session.posargs if argument not in flags]
    target = Path("build", "benchmarks")
    shutil.rmtree(target, ignore_errors=True)
    failed = []
    for area in chosen or areas:
        begin = time.monotonic()
        try:
            session.run("python", f"benchmarks/{area}.py", "--json", str(target), *flags)
        except nox.command.CommandFailed:  # the others are worth knowing
            failed.append(area)
        session.log(f"{area}: {time.monotonic() - begin:.0f} s")
    if any(target.glob("*.json")):  # none where nothing but Slurm was asked for, and is missing
        session.run("python", "benchmarks/summary.py", str(target), "--failed", *failed)
    if failed:
        session.error(f"no figures of {', '.join(failed)}; their errors stand above")


@nox.session(default=False)
def faults(session: nox.Session) -> None:
    """Break what can break, again and again; a number multiplies it (`-- 20`), a seed repeats it.

    Ends with a table of promises. EXPKIT_FAULTS_SEED=7 chooses the same faults again; other
    arguments go to pytest.
    """
    has_number = session.posargs[:1] and session.posargs[0].isdigit()
    number = session.posargs[0] if has_number else FAULTS_IN_15_MIN
    arguments = session.posargs[1:] if has_number else session.posargs
    requirements = (requirements_of_tests(package, extras=True) for package in LEAVES)
    session.install(
        *chain.from_iterable(requirements), "-e./packages/expkit", "torch", "scikit-learn",
        "pytest-xdist", *CONSTRAINTS,
    )  # fmt: skip
    session.run(
        "pytest", "-q", "-m", "faults", "packages", "tests", "-n", "2", "--dist", "loadfile",
        *arguments, env={"EXPKIT_FAULTS": number},
    )  # fmt: skip


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting with ruff."""
    session.install("ruff", *CONSTRAINTS)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy --strict, against the types of what the packages use."""
    session.install(
        "mypy", "hydra-core", "matplotlib", "mlflow-skinny", "numpy", "omegaconf", "pandas-stubs",
        "rich", "shtab", "torch", "types-PyYAML", *CONSTRAINTS,
    )  # fmt: skip
    session.run("mypy", *(str(path) for path in sorted(Path("packages").glob("*/src/expkit*"))))


@nox.session
def types_of_users(session: nox.Session) -> None:
    """Check with pyright and mypy --strict what users write, against the built wheels.

    That is all Python of the READMEs and docs, the example, and tests/users_types.py; no public
    name may be without a type. pyright's Node.js comes from PyPI, and pyright itself, at its first
    start, from the npm registry.
    """
    wheels = build_wheels(session, Path("build", "types_of_users"))
    session.install("--force-reinstall", "--no-deps", *wheels)
    session.install(
        *wheels, "torch", "scikit-learn", "mypy", "pandas-stubs", "pyright[nodejs]", *CONSTRAINTS
    )
    modules = Path("build", "users_code").resolve()
    session.run("python", "tests/users_code.py", str(modules), silent=True)
    environment = {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}  # of newer versions than the pinned one
    session.run("pyright", "--warnings", str(modules), env=environment)
    for package in PACKAGES:
        name = package.name.replace("-", "_")
        session.run("pyright", "--verifytypes", name, "--ignoreexternal", env=environment)
    # torch's `backward` has no annotations.
    session.run("mypy", "--untyped-calls-exclude", "torch", str(modules))


@nox.session
def build(session: nox.Session) -> None:
    """Build sdist and wheel of all ten; check their metadata, pins and contents."""
    target = Path("dist")
    build_wheels(session, target)
    session.install("twine")
    session.run("twine", "check", "--strict", *(str(path) for path in target.iterdir()))
    session.run("python", "tests/check_wheels.py", str(target))


@nox.session(default=False, venv_params=["--system-site-packages"])
def gpu(session: nox.Session) -> None:
    """Test on a GPU with the cluster's own PyTorch; see gpu_scripts/nox_gpu.sh."""
    environment = {"EXPKIT_DEVICE": "cuda"}
    if session.virtualenv.venv_backend == "none":  # nox --no-venv: nothing can be installed
        sources = [str(path.resolve()) for path in Path("packages").glob("*/src")]
        known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        environment["PYTHONPATH"] = os.pathsep.join([*sources, *filter(None, known)])
        python = sys.executable
    else:
        session.install("pytest", "hypothesis", "scikit-learn", *(f"-e./{p}" for p in PACKAGES))
        python = "python"
    report = Path("build", "gpu.xml")
    session.run(
        python, "-m", "pytest", "packages", "tests", "-m", "gpu or integration", "-q", "-rs",
        f"--junitxml={report}", *session.posargs,
        env=environment, success_codes=[0, 1, 5], external=True,
    )  # fmt: skip
    session.run(python, "gpu_scripts/summary.py", str(report), env=environment, external=True)
