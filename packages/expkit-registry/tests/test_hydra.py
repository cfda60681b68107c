import subprocess
import sys
import warnings
from enum import Enum
from typing import Literal

import pytest

pytest.importorskip("hydra")
from hydra import compose, initialize
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf
from registered import Layer, Models, Net

from expkit_registry import BaseRegistry, RegistryError


class Reduction(Enum):
    SUM = "sum"
    MEAN = "mean"


@pytest.fixture
def store():
    """A ConfigStore that forgets what the test stores."""
    instance = ConfigStore.instance()
    before = dict(instance.repo)
    yield instance
    instance.repo.clear()
    instance.repo.update(before)


def composed(*overrides):
    GlobalHydra.instance().clear()
    with initialize(version_base="1.3", config_path=None):
        return compose(overrides=list(overrides))


class TestDictConfig:
    def test_references_are_resolved_from_the_whole_configuration(self):
        cfg = OmegaConf.create(
            {"size": 7, "model": {"name": "net", "width": "${size}", "blocks": [1, {"a": 2}]}}
        )

        net = Models.build(cfg.model)

        assert net.width == 7
        assert type(net.blocks) is list
        assert type(net.blocks[1]) is dict

    @pytest.mark.parametrize("make", [OmegaConf.create, dict])
    def test_a_missing_value_must_be_given(self, make):
        cfg = make({"name": "net", "width": "???"})

        assert Models.build(cfg, width=4).width == 4
        Models.check(cfg, runtime=["width"])
        for refuse in (lambda: Models.build(cfg), lambda: Models.check(cfg, runtime=[])):
            with pytest.raises(
                RegistryError,
                match=r"width is \?\?\?, so it must be given: configure it, or pass width=… to bui",
            ):
                refuse()
        with pytest.raises(RegistryError, match=r"and runtime=\['width'\] to check\(\)"):
            Models.check(cfg)

    @pytest.mark.parametrize("make", [OmegaConf.create, dict])
    def test_a_missing_value_inside_a_value_must_be_given(self, make):
        cfg = make({"net": {"name": "net", "blocks": [1, {"size": "???"}, "???"]}})

        with pytest.raises(RegistryError) as refused:
            Models.build(cfg["net"])

        assert "blocks[1].size is ???, so it must be given: configure it." in str(refused.value)
        assert "blocks[2] is ???, so it must be given: configure it." in str(refused.value)
        with pytest.raises(RegistryError, match="in the configuration and"):
            Models.build(cfg["net"], blocks=[1])

    def test_a_missing_value_of_an_unknown_key_is_an_unknown_key(self):
        with pytest.raises(RegistryError, match=r"no parameter 'widht'\. Did you mean 'width'"):
            Models.build({"name": "net", "widht": "???"})

    def test_an_error_names_the_place_in_the_whole_configuration(self):
        cfg = OmegaConf.create({"encoder": {"model": {"name": "net", "widht": 3}}})

        with pytest.raises(RegistryError, match=r"encoder\.model\.widht: Net .* mean 'width'"):
            Models.check(cfg.encoder.model)

    def test_nested_containers_in_a_plain_dict_become_plain(self):
        net = Models.build({"name": "net", "blocks": OmegaConf.create([1, 2])})

        assert type(net.blocks) is list

    def test_the_configuration_may_name_the_same_build_as_its_target(self):
        cfg = {"_target_": "registered.Models.build", "name": "net", "width": 2}

        assert Models.build(cfg).width == 2


class TestTarget:
    def test_build_is_a_target(self):
        net = instantiate({"_target_": "registered.Models.build", "name": "net", "blocks": [1, 2]})

        assert isinstance(net, Net)
        assert type(net.blocks) is list

    def test_a_parameter_called_name_is_an_argument_beside_the_other_selector(self):
        cfg = {"_target_": "registered.Layers.build", "_name_": "named", "name": "first"}

        assert instantiate(cfg) == "first"
        assert instantiate(OmegaConf.create(cfg)) == "first"

    def test_nodes_inside_nodes_are_built_first(self):
        cfg = OmegaConf.create(
            {
                "_target_": "registered.Models.build",
                "name": "net",
                "blocks": [{"_target_": "registered.Layers.build", "name": "layer", "size": 3}],
            }
        )

        (layer,) = instantiate(cfg).blocks

        assert isinstance(layer, Layer)
        assert layer.size == 3

    def test_runtime_arguments_and_partial_work(self):
        cfg = OmegaConf.create({"_target_": "registered.Models.build", "name": "net"})
        thing = object()

        assert instantiate(cfg, blocks=[thing]).blocks == [thing]
        assert instantiate(cfg, _partial_=True)(width=3).width == 3

    def test_an_unknown_key_is_refused(self):
        with pytest.raises(HydraException, match=r"no parameter 'widht'\. Did you mean 'width'"):
            instantiate({"_target_": "registered.Models.build", "name": "net", "widht": 1})


class TestStore:
    def test_an_entry_is_chosen_without_a_yaml_file(self, store):
        Models.store("model")

        cfg = composed("+model=net", "model.width=16")

        assert cfg.model == {"name": "net", "width": 16, "blocks": [], "act": "relu"}
        assert Models.build(cfg.model).width == 16

    def test_an_unknown_key_is_refused_by_hydra(self, store):
        Models.store("model")

        with pytest.raises(HydraException, match=r"model\.widht"):
            composed("+model=net", "model.widht=3")

    def test_required_plain_parameters_wait_for_a_value_and_runtime_ones_are_omitted(self, store):
        class Entries(BaseRegistry[object]):
            pass

        @Entries.register("sgd")
        def sgd(
            params,
            model: Net,
            lr: float,
            sizes: list[int],
            mode: Literal["a", "b"],
            betas=(1, 2),
            hook=print,
        ): ...

        Entries.store("optimizer")
        cfg = composed("+optimizer=sgd")

        assert OmegaConf.to_container(cfg.optimizer) == {
            "name": "sgd",
            "lr": "???",
            "sizes": "???",
            "mode": "???",
            "betas": [1, 2],
        }
        with pytest.raises(RegistryError, match=r"optimizer\.lr is \?\?\?, so it must be given: c"):
            Entries.build(cfg.optimizer, params=[], model=None)

    def test_an_entry_with_a_name_of_its_own_is_selected_by_another_key(self, store):
        class Entries(BaseRegistry[object]):
            pass

        @Entries.register("torchvision")
        def torchvision(name: str, root: str = "."):
            return name, root

        Entries.store("data")
        cfg = composed("+data=torchvision", "data.name=mnist").data

        assert cfg == {"_name_": "torchvision", "name": "mnist", "root": "."}
        assert Entries.build(cfg) == ("mnist", ".")
        with pytest.raises(RegistryError, match=r"data\.name is \?\?\?, so it must be given"):
            Entries.build(composed("+data=torchvision").data)

    def test_a_default_that_is_a_member_of_an_enumeration_is_published_by_its_name(self, store):
        class Entries(BaseRegistry[object]):
            pass

        @Entries.register("loss")
        def loss(reduction: Reduction = Reduction.MEAN, other: Reduction | None = None):
            return reduction, other

        Entries.store("loss")

        assert composed("+loss=loss").loss.reduction == "MEAN"
        assert Entries.build(composed("+loss=loss").loss) == (Reduction.MEAN, None)
        cfg = composed("+loss=loss", "loss.reduction=SUM", "loss.other=mean").loss
        assert Entries.build(cfg) == (Reduction.SUM, Reduction.MEAN)

    def test_a_default_that_omegaconf_would_misread_is_left_to_the_entry(self, store):
        class Entries(BaseRegistry[object]):
            pass

        @Entries.register("f")
        def f(pattern="${x}", missing="???", size=1):
            return pattern, missing, size

        Entries.store("entry")

        assert Entries.build(composed("+entry=f").entry) == ("${x}", "???", 1)

    def test_a_slash_in_a_name_is_a_subgroup(self, store):
        class Entries(BaseRegistry[object]):
            pass

        Entries.register("timm/vit", dict)
        Entries.store("model")

        assert composed("+model/timm=vit").model.timm.name == "timm/vit"

    def test_the_package_decides_where_the_node_goes(self, store):
        Models.store("model", package="encoder")

        assert composed("+model=net").encoder.name == "net"

    def test_storing_again_is_accepted_and_storing_over_another_registry_is_refused(self, store):
        class Others(BaseRegistry[object]):
            pass

        Others.register("net", dict)
        Models.store("model")
        Models.store("model")

        with pytest.raises(RegistryError, match=r"cannot publish model=net: registered\.Models"):
            Others.store("model")

    def test_a_lazy_entry_that_cannot_be_imported_keeps_the_others_usable(self, store):
        class Entries(BaseRegistry[object]):
            pass

        Entries.register("gone", "not_installed_anywhere:ViT")
        Entries.register("here", "collections:OrderedDict")

        with pytest.warns(UserWarning, match="model=gone is published without defaults"):
            Entries.store("model")

        assert composed("+model=here").model.name == "here"
        with pytest.raises(RegistryError, match="No module named 'not_installed_anywhere'"):
            Entries.build(composed("+model=gone").model)

    def test_a_script_that_is_also_imported_stores_once(self, tmp_path):
        # Hydra imports the target's module: the script is executed a second time, as `train`.
        script = tmp_path / "train.py"
        script.write_text(
            APPLICATION.replace("model = Models.build(cfg.model)", "model = instantiate(cfg.model)")
            .replace("import hydra", "import hydra\nfrom hydra.utils import instantiate")
            .replace("\nmain()", "\nif __name__ == '__main__':\n    main()")
        )

        done = subprocess.run(
            [
                sys.executable,
                script,
                "model=wide",
                "+model._target_=train.Models.build",
                "hydra.run.dir=.",
            ],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )

        assert done.stdout.split() == ["Wide", "3"], done.stderr

    def test_an_application_uses_it(self, tmp_path):
        script = tmp_path / "train.py"
        script.write_text(APPLICATION)

        done = subprocess.run(
            [sys.executable, script, "model=wide", "model.width=5", "hydra.run.dir=."],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )

        assert done.stdout.split() == ["Wide", "5"], done.stderr


APPLICATION = """
import hydra
from expkit_registry import BaseRegistry
from hydra.core.config_store import ConfigStore

class Models(BaseRegistry[object]):
    pass

@Models.register("wide")
class Wide:
    def __init__(self, width: int = 3):
        self.width = width

@Models.register("narrow")
class Narrow: ...

Models.store("model")
ConfigStore.instance().store("config", {"defaults": [{"model": "narrow"}, "_self_"]})

@hydra.main(version_base="1.3", config_path=None, config_name="config")
def main(cfg):
    model = Models.build(cfg.model)
    print(type(model).__name__, model.width)

main()
"""


def test_without_hydra_store_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "hydra.core.config_store", None)

    with pytest.raises(ImportError, match=r'pip install "expkit-registry\[hydra\]"'):
        Models.store("model")


def test_optimizers_of_torch_are_registered_by_call(store, torch):
    class Optimizers(BaseRegistry[torch.optim.Optimizer]):
        pass

    Optimizers.register("adam", torch.optim.Adam)
    Optimizers.register("sgd", "torch.optim:SGD")
    Optimizers.store("optimizer")
    model = torch.nn.Linear(2, 1)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cfg = composed("+optimizer=adam", "optimizer.lr=1e-2").optimizer
        adam = Optimizers.build(cfg, params=model.parameters())
        sgd = Optimizers.build({"name": "sgd", "lr": 0.1}, params=model.parameters())

    assert isinstance(cfg, DictConfig)
    assert isinstance(cfg.betas, ListConfig)
    assert adam.defaults["lr"] == 0.01
    assert adam.defaults["betas"] == (0.9, 0.999)
    assert isinstance(sgd, torch.optim.SGD)
    with pytest.raises(RegistryError, match="lr is the string '1e-3', but Adam"):
        Optimizers.build({"name": "adam", "lr": "1e-3"}, params=model.parameters())
