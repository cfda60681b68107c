import pytest

from expkit_registry import BaseRegistry, RegistryError


class Model:
    def __init__(self, width: int = 8, depth: int = 2):
        pass


class Models(BaseRegistry[Model]):
    pass


Models.register("resnet", Model)
Models.register("ViT", Model)


class WithName(BaseRegistry[object]):
    pass


@WithName.register("dataset")
def dataset(name: str, root: str = "."): ...


BAD = {
    "an unknown name": (
        lambda: Models["resnot"],
        RegistryError,
        "Models has no entry 'resnot'. Did you mean 'resnet'? Known: ViT, resnet.",
    ),
    "a name in another case": (
        lambda: Models.build("VIT"),
        RegistryError,
        "Did you mean 'ViT'?",
    ),
    "a name that is not a string": (
        lambda: Models.get(3),
        RegistryError,
        "Models has no entry 3. Known: ViT, resnet.",
    ),
    "a key that is not a parameter": (
        lambda: Models.build({"name": "resnet", "widht": 3}),
        RegistryError,
        "has no parameter 'widht'. Did you mean 'width'? Parameters: width, depth.",
    ),
    "a runtime argument that is not a parameter": (
        lambda: Models.build("resnet", dept=3),
        RegistryError,
        "dept (given in the call): ",
    ),
    "a value given twice": (
        lambda: Models.build({"name": "resnet", "width": 3}, width=4),
        RegistryError,
        "Models 'resnet': width is 3 in the configuration and 4 in the call.",
    ),
    "a name at run time": (
        lambda: Models.build({"name": "resnet"}, name="ViT"),
        RegistryError,
        "'name' selects the entry ('resnet') and cannot be a runtime argument, got 'ViT'. Where",
    ),
    "a string in place of a number": (
        lambda: Models.build({"name": "resnet", "width": "16"}),
        RegistryError,
        "expects int. Write it without quotes",
    ),
    "a configuration without name": (
        lambda: Models.build({"nam": "resnet", "width": 3}),
        RegistryError,
        "has no 'name'. Did you mean 'name' instead of 'nam'? Its keys: nam, width.",
    ),
    "an empty configuration": (
        lambda: Models.build({}),
        RegistryError,
        "has no 'name'. Its keys: none.",
    ),
    "a configuration that is a list": (
        lambda: Models.build(["resnet"]),
        RegistryError,
        "expected a name or a mapping with the key 'name', got list.",
    ),
    "a name in the configuration that is not a string": (
        lambda: Models.build({"name": {"resnet": 3}}),
        RegistryError,
        "'name' in the configuration must be a string, got {'resnet': 3}.",
    ),
    "the target of something else": (
        lambda: Models.build({"name": "resnet", "_target_": "torch.nn.Linear"}),
        RegistryError,
        "has '_target_', which belongs to hydra.utils.instantiate.",
    ),
    "Hydra's partial": (
        lambda: Models.build({"name": "resnet", "_partial_": True}),
        RegistryError,
        "has '_partial_', which belongs to hydra.utils.instantiate.",
    ),
    "an entry that cannot be called": (
        lambda: Models.register("five", 5),
        TypeError,
        "Models 'five': an entry is a class, a function or 'package.module:attribute', got 5",
    ),
    "a lazy entry without an attribute": (
        lambda: Models.register("lazy", "package.module"),
        TypeError,
        "'package.module' is not the place of an entry: write 'package.module:attribute'",
    ),
    "a relative lazy entry": (
        lambda: Models.register("lazy", ".module:attribute"),
        TypeError,
        "write 'package.module:attribute'",
    ),
    "None, as a failed look-up of an entry gives it": (
        lambda: Models.register("cnn", None),
        TypeError,
        "Models 'cnn': an entry is a class, a function or 'package.module:attribute', got None",
    ),
    "an empty name": (
        lambda: Models.register("", Model),
        TypeError,
        "Models: a name must be a non-empty string without leading or trailing spaces, got ''",
    ),
    "a name with a trailing space": (
        lambda: Models.register("cnn ", Model),
        TypeError,
        "without leading or trailing spaces, got 'cnn '",
    ),
    "a configuration in place of a name": (
        lambda: Models.get({"name": "resnet"}),
        RegistryError,
        "Models has no entry {'name': 'resnet'}.",
    ),
    "the target of a registry whose name has the same ending": (
        lambda: Models.build({"_target_": "zoo.BigModels.build", "name": "resnet"}),
        RegistryError,
        "has '_target_', which belongs to hydra.utils.instantiate.",
    ),
    "an entry that needs a name": (
        lambda: WithName.check({"name": "dataset"}),
        RegistryError,
        "needs 'name', which here selects the entry. Where the entry has a parameter of its own "
        "called 'name', select it by '_name_' instead.",
    ),
    "a number too long for Python to write": (
        lambda: Models.build({"name": "resnet", "width": 10**5000}, width=1),
        RegistryError,
        "width is a long int in the configuration and 1 in the call.",
    ),
    "a lambda without a name": (
        lambda: Models.register(lambda: Model()),
        TypeError,
        "has no name of its own: register it as register('name', …)",
    ),
    "a class of another kind": (
        lambda: Models.register("dict", dict),
        RegistryError,
        "is not a subclass of Model, which Models holds.",
    ),
    "an instance of a registry": (
        lambda: Models(name="resnet"),
        TypeError,
        "Models is a registry and has no instances: use Models.build(cfg) or Models['name']",
    ),
    "an empty config group": (
        lambda: Models.store("/"),
        RegistryError,
        "Models.store() needs a config group such as 'model', got '/'",
    ),
    "registering in the base class": (
        lambda: BaseRegistry.register("resnet", Model),
        TypeError,
        "BaseRegistry is the base class of registries: define your own",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_raises_an_error_that_says_what_is_wrong_where_and_what_is_allowed(case):
    misuse, kind, text = BAD[case]

    with pytest.raises(kind) as raised:
        misuse()

    assert text in str(raised.value)
    assert Models.names() == ("resnet", "ViT")
