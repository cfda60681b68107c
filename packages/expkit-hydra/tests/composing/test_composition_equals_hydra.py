"""What the kit composes is what Hydra composes, and what Hydra refuses is refused as Hydra does.

`EXPKIT_HYPOTHESIS=long` asks for many more examples.
"""

import copy
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tree_schemas
from config_trees import TREES, Comparison, override_lists, shuffled, trees
from hydra import version
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime, setup_globals
from hydra.errors import CompactHydraException
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

LONG = os.environ.get("EXPKIT_HYPOTHESIS") == "long"


def profile(examples: int) -> settings:
    return settings(
        max_examples=examples * 20 if LONG else examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        # Shrinking takes minutes, and an example is short as it is.
        phases={Phase.explicit, Phase.reuse, Phase.generate},
    )


@pytest.fixture(scope="module", autouse=True)
def _hydra() -> Iterator[None]:
    """Hydra's global state as in an app, for the length of this module."""
    before = copy.deepcopy(Singleton.get_state())
    setup_globals()
    version.setbase("1.3")
    JobRuntime.instance().set("name", "train")
    tree_schemas.store()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("EXPKIT_TREE_HOME", "/tree/home")
        patch.delenv("EXPKIT_NOT_SET", raising=False)
        warnings.simplefilter("ignore")  # trees without _self_, folders that are not there
        yield
    Singleton.set_state(before)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Comparison]:
    """One a tree: Hydra's answers are kept from test to test."""
    comparisons: dict[str, Comparison] = {}

    def make(name: str) -> Comparison:
        if name not in comparisons:
            comparisons[name] = Comparison(TREES[name], tmp_path_factory.mktemp(name))
        comparisons[name].renew()
        return comparisons[name]

    return make


@pytest.mark.parametrize("name", TREES)
def test_overrides_of_each_kind_compose_as_hydra_does(name, comparison):
    asked = comparison(name)

    # The rest of them is among what the next test draws from.
    cases = TREES[name].cases if LONG else TREES[name].cases[:: 12 if name == "rich" else 3]
    for overrides in shuffled(cases, seed=len(name)):
        asked.ask(overrides)
    asked.check_sources()


@pytest.mark.parametrize("name", TREES)
def test_any_overrides_in_any_order_compose_as_hydra_does(name, comparison):
    asked = comparison(name)
    tree = TREES[name]

    @profile(3 if name == "rich" else 1)
    @given(st.lists(override_lists(tree, asked.master), min_size=1, max_size=4))
    def check(lists):
        asked.renew()
        for overrides in [*lists, *lists]:
            asked.ask(overrides)
        asked.check_sources()

    check()


@profile(3)
@given(trees(), st.data())
def test_any_tree_composes_as_hydra_does(tree, data):
    with tempfile.TemporaryDirectory() as folder:
        try:
            asked = Comparison(tree, Path(folder))
        except (CompactHydraException, ValueError):
            assume(False)  # no sweep begins
        lists = data.draw(st.lists(override_lists(tree, asked.master), min_size=3, max_size=6))
        for overrides in [(), *lists, *lists]:
            asked.ask(overrides)
        asked.check_sources()
