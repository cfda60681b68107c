"""The runs of a grid, composed one after another, before anything is decided about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from .._composing.composer import Composer, Composition
from .expansion import Expansion
from .pruning import ProductRun, SkippingRule, product_runs
from .shape import Naming, ResolvedRun, Shape, shape_of_run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from expkit_filter import Rule

ShowProgress = Callable[[Iterable[ProductRun], int], Iterable[ProductRun]]


@dataclass(frozen=True, slots=True)
class ComposedRun:
    """A run of the product, composed; one that a rule skips early is only named.

    Its configuration is resolved only on demand.
    """

    position: int  # in the product
    overrides: tuple[str, ...]
    skipping_rule: SkippingRule | None  # the rule that skips it, if that was decided early
    composition: Composition
    shape: Shape

    def resolve(self, run_name: str | None = None) -> ResolvedRun:
        """All that is to be known of the run before it starts; `run_name` if not its plain one."""
        return self.shape.resolve(self.composition, run_name)


def composed_runs(
    expansion: Expansion,
    composer: Composer,
    naming: Naming,
    rules: Sequence[Rule] = (),
    *,
    show_progress: ShowProgress | None = None,
) -> Iterator[ComposedRun]:
    """Compose the runs of the product, one after another.

    Args:
        expansion: Their overrides.
        composer: Composes a run.
        naming: How they are named.
        rules: Rules, each asked as early as it can be.
        show_progress: Shows how far it is while it passes the runs on.
    """
    runs: Iterable[ProductRun] = product_runs(expansion, composer, naming, rules)
    for run in runs if show_progress is None else show_progress(runs, len(expansion)):
        composition = composer.work_out(run.position, run.overrides)
        shape = shape_of_run(composition, naming)
        yield ComposedRun(run.position, run.overrides, run.skipping_rule, composition, shape)
