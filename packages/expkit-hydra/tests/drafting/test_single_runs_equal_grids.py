"""A run alone is the same run as in a grid."""

from hydra.types import RunMode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expkit_hydra._composing.config_files import files_read_once
from expkit_hydra._composing.overrides import to_override, to_text
from expkit_hydra._drafting.expansion import expand
from expkit_hydra._grid.identity import identify
from expkit_hydra._grid.names import name_of, swept_values
from expkit_hydra.launching import current_config


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False),
        st.text(st.characters(codec="ascii", exclude_categories=["C"])),
        st.lists(st.integers(), max_size=3),
    )
)
def test_a_run_alone_and_in_a_grid_have_one_name_and_one_hash(app, value):
    app.write(
        "conf/config.yaml",
        """
        defaults: [expkit, _self_]
        experiment_id: digits
        value: null
        hydra: {sweeper: {params: {value: [1]}}}
        """,
    )
    override = to_override("value", value)
    with app.running() as hydra, files_read_once(hydra.config_loader):
        alone = hydra.compose_config("config", [override], RunMode.RUN)
        with current_config(alone):
            name = alone.run_name
        # As `-m` reads the command line.
        in_grid = hydra.compose_config("config", [f"{override},0"], RunMode.MULTIRUN)
        (run, _) = expand(None, [f"value={to_text(value)},0"], hydra.config_loader)
        composed = hydra.config_loader.load_sweep_config(in_grid, list(run))

    assert name == name_of(swept_values(composed, ["value"])).plain
    assert identify(alone).config_hash == identify(composed).config_hash
