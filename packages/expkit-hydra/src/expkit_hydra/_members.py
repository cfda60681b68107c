"""The runs of a grid before it is decided what becomes of them, one after another."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ._composition import Composer, Plan
from ._errors import GridError
from ._expansion import Expansion
from ._identity import NO_PART_OF_IDENTITY
from ._progress import progress
from ._pruning import Held, Point, points, shape_of_run
from ._shapes import Facts, Naming, Shape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_filter import Rule


@dataclass(frozen=True, slots=True)
class Member:
    """A run of the product, composed; one that a rule skips early is only named.

    Its configuration is made when it is asked for, and belongs to who asks.
    """

    position: int  # in the product
    overrides: tuple[str, ...]
    held: Held | None  # the rule that skips it, where that was decided early
    plan: Plan
    shape: Shape

    def facts(self) -> Facts:
        """All about the run."""
        return self.shape.facts(self.plan)


def refuse_keys(keys: Sequence[str]) -> None:
    """Refuse to sweep what is no part of a run.

    Raises:
        GridError: Naming the key.
    """
    for key in keys:
        if key.partition(".")[0] in NO_PART_OF_IDENTITY - {"plotting"}:
            raise GridError(
                f"{key} cannot be swept: it is no part of what a run is, so its values would make "
                "no different runs. Start one grid for each value instead."
            )


def members(
    expansion: Expansion,
    composer: Composer,
    naming: Naming,
    rules: "Sequence[Rule]" = (),
    *,
    show: bool = True,
) -> Iterator[Member]:
    """Compose the runs of the product, one after another.

    Args:
        expansion: Their overrides.
        composer: Composes a run.
        naming: How they are named.
        rules: Rules that are decided as early as they can be.
        show: Whether to show how far it is.
    """
    walk: Iterable[Point] = points(expansion, composer, naming, rules)
    for point in progress(walk, len(expansion)) if show else walk:
        plan = composer.plan(point.position, point.overrides)
        shape = shape_of_run(plan, naming)
        yield Member(point.position, point.overrides, point.held, plan, shape)


class Experiment:
    """The one experiment to which all runs of a grid belong."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._place: tuple[str, str] | None = None
        self._sweep_dir: str | None = None  # as it stands in the configurations

    def enter(self, facts: Facts) -> Path:
        """The run's folder.

        Raises:
            GridError: If the run belongs to another experiment than those before it, or if Hydra
                would run it elsewhere.
        """
        if self._place is None or self.folder is None:
            self._place = facts.experiment
            results_dir, experiment_id = facts.experiment
            check_experiment_id(experiment_id)
            self.folder = Path(results_dir).absolute() / experiment_id
            self._training = self.folder / "training"
        elif facts.experiment != self._place:
            shown = ", ".join("/".join(each) for each in sorted([self._place, facts.experiment]))
            raise GridError(
                f"The runs of one grid have several experiment folders ({shown}): results_dir and "
                "experiment_id must not depend on a swept key. Put what differs into run_name."
            )
        folder = self._training / facts.run_name
        sweep_dir, subdir = facts.output_dir
        if sweep_dir == self._sweep_dir and subdir == facts.run_name:
            return folder
        output_dir = Path(sweep_dir, subdir)
        if output_dir.absolute() != folder:
            raise GridError(
                f"hydra.sweep.dir and hydra.sweep.subdir lead to {output_dir}, but the run "
                f"{facts.run_name} belongs into {folder}. Leave both out and set results_dir and "
                "experiment_id instead."
            )
        if subdir == facts.run_name:
            self._sweep_dir = sweep_dir
        return folder


def check_experiment_id(experiment_id: str) -> None:
    """Refuse what is not the name of one folder: Hydra would write elsewhere.

    Raises:
        GridError: If it is none.
    """
    # None: `experiment_id: null`, as text by then.
    if experiment_id.startswith(".") or experiment_id in ("", "None") or "/" in experiment_id:
        raise GridError(
            f"experiment_id is the name of one folder in results_dir, got {experiment_id!r}. "
            "Use letters, digits and ._-, and no dot at the start."
        )
