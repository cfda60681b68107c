import importlib
import inspect
import subprocess
import sys
import threading
from dataclasses import dataclass
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registered import Model, Models

from expkit_registry import BaseRegistry, RegistryError


@pytest.fixture
def models():
    class Models(BaseRegistry[Model]):
        pass

    return Models


@pytest.fixture
def write_module(tmp_path, monkeypatch):
    """Write modules that can be imported until the test ends."""
    monkeypatch.syspath_prepend(tmp_path)
    written = []

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        importlib.invalidate_caches()
        written.append(name)

    yield write
    for name in written:
        sys.modules.pop(name, None)


class Net(Model):
    def __init__(self, width=1):
        self.width = width


@dataclass
class Plain:
    width: int = 1


def make_net(width=1):
    return Net(width)


def line_of(definition):
    return f"{__file__}:{inspect.getsourcelines(definition)[1]}"


class TestRegistering:
    def test_a_decorator_registers_a_class_and_returns_it(self, models):
        @models.register("cnn")
        class CNN(Model):
            pass

        assert models["cnn"] is CNN
        assert CNN.__name__ == "CNN"

    def test_a_bare_decorator_takes_the_name_of_the_object(self, models):
        @models.register
        class CNN(Model):
            pass

        @models.register()
        def mlp():
            return Model()

        assert models.names() == ("CNN", "mlp")

    def test_a_call_registers_classes_functions_and_partials(self, models):
        models.register("class", Net)
        models.register("function", make_net)
        models.register("wide", partial(Net, width=9))

        assert models.build("wide").width == 9
        assert models.get("class") is Net
        assert models.get("function") is make_net

    def test_registries_do_not_see_one_another(self, models):
        class Others(BaseRegistry[Model]):
            pass

        class Children(models):
            pass

        models.register("net", Net)
        Others.register("net", make_net)

        assert Others["net"] is make_net
        assert "net" not in Children
        assert len(BaseRegistry) == 0

    def test_names_iteration_length_and_membership_agree(self, models):
        assert not list(models)
        assert bool(models)

        models.register("b", Net)
        models.register("a", "nowhere:at_all")

        assert models.names() == tuple(models) == ("b", "a")
        assert len(models) == 2
        assert "a" in models
        assert "c" not in models
        assert 3 not in models
        assert [] not in models

    def test_the_repr_lists_the_entries(self, models):
        models.register("net", Net)
        models.register("vit", "zoo.vit:ViT")

        assert repr(models).endswith("Models, 2 entries: net, vit (zoo.vit:ViT, lazy)>")

    def test_a_subscript_of_the_base_is_still_a_type(self):
        from typing import TypeVar

        T = TypeVar("T", bound=Model)

        class Base(BaseRegistry[T]):
            pass

        class Table(Base[Net]):
            pass

        Table.register("net", Net)

        assert Table["net"] is Net
        with pytest.raises(RegistryError, match="not a subclass of Net"):
            Table.register("model", Model)


class TestDuplicates:
    def test_another_object_under_the_same_name_is_refused_with_both_places(self, models):
        models.register("net", Net)

        with pytest.raises(RegistryError) as refused:
            models.register("net", make_net)

        assert line_of(Net) in str(refused.value)
        assert line_of(make_net) in str(refused.value)
        assert "override=True" in str(refused.value)
        assert models["net"] is Net

    def test_override_replaces_and_keeps_the_place_in_the_order(self, models):
        models.register("net", Net)
        models.register("other", Net)

        models.register("net", make_net, override=True)

        assert models["net"] is make_net
        assert models.names() == ("net", "other")

    def test_a_module_that_is_executed_twice_registers_twice(self, models, write_module):
        # As Hydra does with plugin modules: exec_module on a module that is imported already.
        write_module(
            "zoo",
            "class CNN(MODEL):\n    def f(self): pass\nMODELS.register('cnn', CNN)\n"
            "MODELS.register('sized', PARTIAL(CNN))\n"
            "MODELS.register('small', lambda: CNN())\n",
        )
        spec = importlib.util.find_spec("zoo")

        classes = []
        for _ in range(2):
            module = importlib.util.module_from_spec(spec)
            module.MODELS, module.MODEL, module.PARTIAL = models, Model, partial
            spec.loader.exec_module(module)
            classes.append(module.CNN)

        assert classes[0] is not classes[1]
        assert models["cnn"] is classes[1]

    def test_two_lambdas_of_one_module_are_two_objects(self, models):
        models.register("small", lambda: Net(1))

        with pytest.raises(RegistryError, match="already has an entry 'small'"):
            models.register("small", lambda: Net(2))

    def test_a_script_that_is_also_imported_by_name_registers_once(self, tmp_path):
        script = tmp_path / "zoo.py"
        script.write_text(
            "import sys\n"
            "from expkit_registry import BaseRegistry\n"
            "if __name__ == '__main__':\n"
            "    class Models(BaseRegistry[object]): pass\n"
            "    sys.modules['shared'] = sys.modules['__main__']\n"
            "from shared import Models\n"
            "@Models.register('cnn')\n"
            "class CNN:\n"
            "    def __init__(self): pass\n"
            "@Models.register('empty')\n"
            "class Empty: pass\n"
            "if __name__ == '__main__':\n"
            "    import zoo\n"
            "    print(Models['cnn'].__module__)\n"
        )
        done = subprocess.run(
            [sys.executable, script], capture_output=True, text=True, cwd=tmp_path, check=False
        )

        assert done.stdout.strip() == "zoo", done.stderr

    def test_the_place_of_a_builtin_is_its_dotted_name(self):
        class Functions(BaseRegistry[object]):
            pass

        Functions.register("f", dict)

        with pytest.raises(RegistryError, match=r"builtins\.dict"):
            Functions.register("f", list)

    def test_the_place_of_a_dataclass_is_its_file(self):
        class Configs(BaseRegistry[object]):
            pass

        Configs.register("plain", Plain)

        with pytest.raises(RegistryError) as refused:
            Configs.register("plain", Net)

        assert f"  {line_of(Plain)}\n" in str(refused.value)

    def test_a_place_in_a_module_that_is_still_executing_is_named_too(self, models):
        # A module that Hydra is executing is not in sys.modules, so inspect knows nothing of it.
        source = "\n\nclass CNN(Model):\n    def f(self):\n        pass\n"
        namespace = {"Model": Model, "__name__": "not_imported"}
        exec(compile(source, "plugin.py", "exec"), namespace)
        models.register("cnn", namespace["CNN"])

        with pytest.raises(RegistryError, match=r"plugin\.py:[34]\b"):
            models.register("cnn", Net)


class TestLazyEntries:
    def test_nothing_is_imported_before_the_first_use(self, models, write_module):
        write_module("lazy_zoo", "from registered import Model\nclass ViT(Model): pass\n")
        models.register("vit", "lazy_zoo:ViT")

        assert "vit" in models
        assert list(models) == ["vit"]
        repr(models)
        assert "lazy_zoo" not in sys.modules

        assert models["vit"].__name__ == "ViT"
        assert models["vit"] is sys.modules["lazy_zoo"].ViT

    def test_an_attribute_of_a_class_can_be_an_entry(self):
        class Functions(BaseRegistry[object]):
            pass

        Functions.register("parse", "pathlib:Path.cwd")

        assert Functions.build("parse").is_dir()

    def test_a_module_that_registers_itself_agrees_with_its_lazy_entry(self, write_module):
        write_module(
            "self_zoo",
            "from registered import Models\n@Models.register('self')\nclass Self: pass\n",
        )
        Models.register("self", "self_zoo:Self")

        assert type(Models.build("self")).__module__ == "self_zoo"

    def test_an_entry_may_be_registered_again_after_its_first_use(self):
        class Decoders(BaseRegistry[object]):
            pass

        Decoders.register("json", "json:JSONDecoder")  # defined in json.decoder
        decoder = Decoders["json"]

        Decoders.register("json", "json:JSONDecoder")
        Decoders.register("json", decoder)

        assert Decoders["json"] is decoder
        with pytest.raises(RegistryError, match="already has an entry 'json'"):
            Decoders.register("json", "json:JSONEncoder")

    def test_a_module_that_fails_is_shown_with_its_traceback(self, models, write_module):
        write_module("broken_zoo", "def load():\n    raise OSError('no weights')\n\nload()\n")
        models.register("vit", "broken_zoo:ViT")

        with pytest.raises(RegistryError) as failed:
            models.get("vit")

        text = str(failed.value)
        assert "Models 'vit' could not be loaded from broken_zoo:ViT" in text
        assert 'broken_zoo.py", line 4' in text
        assert "OSError: no weights" in text
        assert "importlib" not in text
        assert isinstance(failed.value.__cause__, OSError)

    def test_a_repaired_module_is_imported_at_the_next_use(self, models, write_module):
        write_module("mended_zoo", "raise OSError('no weights')\n")
        models.register("f", "mended_zoo:f")
        with pytest.raises(RegistryError, match="no weights"):
            models.get("f")

        write_module("mended_zoo", "def f():  # another size, so that no cache is used\n  pass\n")

        assert models.get("f").__name__ == "f"

    def test_a_missing_attribute_is_named(self, models):
        models.register("vit", "json:ViT")

        with pytest.raises(RegistryError, match="module 'json' has no attribute 'ViT'"):
            models.get("vit")

    def test_a_name_never_imports_what_is_not_an_entry(self, models):
        sys.modules.pop("this", None)

        assert "this" not in models
        with pytest.raises(RegistryError, match="no entry 'this'"):
            models.get("this")
        with pytest.raises(RegistryError, match="no entry 'this:s'"):
            models.build("this:s")
        assert "this" not in sys.modules

    def test_the_object_of_a_lazy_entry_must_fit_the_registry(self, models):
        models.register("wrong", "pathlib:Path")
        models.register("nothing", "pathlib:__doc__")

        with pytest.raises(RegistryError, match=r"Path .* is not a subclass of Model"):
            models.get("wrong")
        with pytest.raises(RegistryError, match="neither a class nor a function"):
            models.get("nothing")


class TestThreads:
    def test_many_threads_register_and_look_up(self, models, write_module):
        write_module("slow_zoo", "import time\ntime.sleep(0.05)\ndef f(): return 3\n")
        models.register("lazy", "slow_zoo:f")
        start = threading.Barrier(8)
        entries, errors = [], []

        def work(number):
            try:
                start.wait()
                for i in range(200):
                    models.register(f"{number}-{i}", Net)
                    tuple(models)
                entries.append(models["lazy"])
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert not errors
        assert len(models) == 8 * 200 + 1
        assert len(set(entries)) == 1

    def test_one_of_several_threads_wins_the_same_name(self, models):
        start = threading.Barrier(8)
        refused_widths = []

        def work(width):
            start.wait()
            try:
                models.register("net", partial(Net, width=width))
            except RegistryError:
                refused_widths.append(width)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(refused_widths) == 7
        assert models.build("net").width not in refused_widths


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([Net, make_net, Model]))))
def test_a_registry_holds_the_first_object_of_each_name_and_refuses_others(steps):
    class Models(BaseRegistry[Model]):
        pass

    expected = {}
    for name, entry in steps:
        if expected.setdefault(name, entry) is entry:
            Models.register(name, entry)
        else:
            with pytest.raises(RegistryError):
                Models.register(name, entry)

    assert {name: Models[name] for name in Models} == expected
    assert list(Models) == list(expected)
