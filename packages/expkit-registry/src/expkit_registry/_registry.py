"""The registry: a class whose subclasses are tables."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from threading import RLock
from typing import Generic, TypeVar, cast, is_typeddict, overload

from ._arguments import (
    converted_config,
    find_problems,
    read_request,
    refuse_repeated,
    to_plain,
)
from ._entries import LazyEntry, is_same, location
from ._errors import RegistryError, listing, near_match

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from ._arguments import Request
    from ._entries import Entry

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])
_OMITTED = object()  # not None, which a failed look-up of an entry gives and which is refused


def _product_type(cls: type) -> type | None:
    """The class in a registry's type argument, if instances can be checked against it."""
    for base in cls.__dict__.get("__orig_bases__", ()):
        arguments: tuple[object, ...] = getattr(base, "__args__", ())
        if isinstance(getattr(base, "__origin__", None), RegistryType) and len(arguments) == 1:
            product = arguments[0]
            # An int is a float to type checkers but not to isinstance, which most protocols and
            # all typed dictionaries refuse.
            is_unchecked = (
                product in (object, float, complex)
                or getattr(product, "_is_protocol", False)
                or is_typeddict(product)
            )
            return product if isinstance(product, type) and not is_unchecked else None
    parents = (base._product for base in cls.__bases__ if isinstance(base, RegistryType))
    return next(parents, None)


class RegistryType(type):
    """What makes a class a table: its entries, and `len`, `in`, `[]` and iteration over them."""

    _entries: dict[str, Entry]
    _lock: RLock
    _product: type | None

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, object]) -> None:
        super().__init__(name, bases, namespace)
        cls._entries = {}
        cls._lock = RLock()
        cls._product = _product_type(cls)

    # Both type checkers ask for `type[RegistryType]` here, but both understand this too.
    def __getitem__(  # type: ignore[misc]
        cls: type[BaseRegistry[T]],  # pyright: ignore[reportGeneralTypeIssues]
        name: str,
        /,
    ) -> Callable[..., T]:
        if cls.__parameters__:  # type: ignore[attr-defined]
            # BaseRegistry[int]: a metaclass's __getitem__ takes precedence over __class_getitem__.
            return cls.__class_getitem__(name)  # type: ignore[attr-defined,no-any-return]
        return cls.get(name)

    def __contains__(cls, name: object) -> bool:
        return isinstance(name, str) and name in cls._entries

    def __iter__(cls) -> Iterator[str]:
        with cls._lock:
            return iter(tuple(cls._entries))

    def __len__(cls) -> int:
        return len(cls._entries)

    def __bool__(cls) -> bool:
        return True  # a class is true, even while its table is empty

    def __repr__(cls) -> str:
        with cls._lock:
            entries = [
                f"{name} ({entry}, lazy)" if isinstance(entry, LazyEntry) else name
                for name, entry in cls._entries.items()
            ]
        noun = "entry" if len(entries) == 1 else "entries"
        return f"<registry {cls.__name__}, {len(entries)} {noun}: {', '.join(entries)}>"


class BaseRegistry(Generic[T], metaclass=RegistryType):
    """A table of classes and functions by name; each subclass is a table of its own.

    The type argument is what calling an entry returns: `class Models(BaseRegistry[nn.Module])`.
    If it is a class, entries that are classes must be its subclasses, and `build` checks what it
    returns. A second object under the same name is refused, unless it is the same definition
    (module and qualified name) from a module that was executed again. A subclass of a registry
    starts empty. All methods may be called from several threads.

    Raises:
        TypeError: If it is called: a registry has no instances.

    Examples:
        >>> class Models(BaseRegistry[object]):
        ...     pass
        >>> @Models.register("cnn")
        ... class CNN:
        ...     def __init__(self, width: int = 8) -> None:
        ...         self.width = width
        >>> Models.build({"name": "cnn", "width": 16}).width
        16
        >>> "cnn" in Models, len(Models), list(Models)
        (True, 1, ['cnn'])
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        name = type(self).__name__
        raise TypeError(
            f"{name} is a registry and has no instances: use {name}.build(cfg) or {name}['name']"
        )

    @overload
    @classmethod
    def register(
        cls, name: str | None = None, /, *, override: bool = False
    ) -> Callable[[F], F]: ...
    @overload
    @classmethod
    def register(cls, entry: F, /) -> F: ...
    @overload
    @classmethod
    def register(
        cls, name: str, entry: Callable[..., T] | str, /, *, override: bool = False
    ) -> None: ...
    @classmethod
    def register(
        cls,
        name: object = None,
        entry: object = _OMITTED,
        /,
        *,
        override: bool = False,
    ) -> object:
        """Add a class or function, as a decorator or by call.

        `@Models.register("cnn")`, `@Models.register` (under its `__name__`),
        `Models.register("cnn", CNN)`, and lazily `Models.register("vit", "pkg.module:ViT")`:
        the module is imported when the entry is first used.

        Args:
            name: The name; in decorator form it defaults to the object's `__name__`.
            entry: A class, a function or `"pkg.module:attribute"`; omitted in decorator form.
            override: Replace an entry that already has this name.

        Raises:
            RegistryError: If another object has this name (the message shows both places), or a
                class is not a subclass of what the registry holds.
            TypeError: If the entry is not callable or the name is not a string.
        """
        if entry is not _OMITTED:
            cls._add(name, entry, override)
            return None
        if name is None or isinstance(name, str):

            def decorate(decorated: F) -> F:
                cls._add(_name_of(decorated) if name is None else name, decorated, override)
                return decorated

            return decorate
        cls._add(_name_of(name), name, override)
        return name

    @classmethod
    def get(cls, name: str, /) -> Callable[..., T]:
        """The class or function of that name, the same as `Models[name]`.

        Raises:
            RegistryError: If there is none, or the module of a lazy entry fails.
        """
        with cls._lock:
            entry = cls._entries.get(name) if isinstance(name, str) else None
            names = tuple(cls._entries)
        if entry is None:
            raise RegistryError(
                f"{cls.__name__} has no entry {name!r}."
                f"{near_match(str(name), names)} Known: {listing(names)}."
            )
        # Imported outside the lock: the module may register entries itself, from any thread.
        loaded = cls._load(name, entry) if isinstance(entry, LazyEntry) else entry
        return cast("Callable[..., T]", loaded)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """All names, in the order of registration; nothing is imported."""
        return tuple(cls)

    @classmethod
    def build(
        cls,
        cfg: str | Mapping[str, object] | None = None,
        /,
        **runtime: object,
    ) -> T:
        """Call an entry with its configured and its runtime arguments.

        Works as a `_target_` for `hydra.utils.instantiate`, too: with
        `_target_: my.module.Models.build` Hydra passes `name` and the rest of the node as
        keywords.

        Args:
            cfg: A name; or a mapping or DictConfig whose `name` selects the entry and whose other
                keys are its arguments. Where it has a key `_name_`, that selects the entry, and
                `name` is an argument like any other. References are resolved, OmegaConf's
                containers become plain, and the name or the value of an enumeration's member
                becomes that member where the parameter is annotated with it.
            runtime: Arguments that only the program has, such as `params=model.parameters()`.

        Raises:
            RegistryError: If the name is unknown; if an argument is unknown, missing, `???` (must
                be given), given twice, a string in place of a number, or none of the values that
                its `Literal` or enumeration allows; if the result is not what the registry holds.

        Examples:
            >>> class Optimizers(BaseRegistry[dict]):
            ...     pass
            >>> Optimizers.register("sgd", dict)
            >>> Optimizers.build({"name": "sgd", "lr": 0.1}, params=[1])
            {'lr': 0.1, 'params': [1]}
        """
        if cfg is None:
            request = read_request(
                cls.__name__, {key: _from_hydra(item) for key, item in runtime.items()}
            )
            runtime = {}
        else:
            request = read_request(cls.__name__, cfg)
        refuse_repeated(cls.__name__, request, runtime)
        entry = cls.get(request.name)
        cls._raise_problems(request, find_problems(entry, request, runtime))
        built = entry(**converted_config(entry, request), **runtime)
        if cls._product is not None and not isinstance(built, cls._product):
            raise RegistryError(
                f"{cls.__name__} {request.name!r} ({location(entry)}) returned "
                f"{type(built).__qualname__}; {cls.__name__} holds {cls._product.__qualname__}."
            )
        return built

    @classmethod
    def check(
        cls,
        cfg: str | Mapping[str, object],
        /,
        *,
        runtime: Collection[str] | None = None,
    ) -> None:
        """Compare a configuration with the entry's signature; nothing is called.

        A lazy entry is imported. Checked are the names of arguments (those that `**kwargs` takes
        where the entry's code only passes it on to `super().__init__`, or to classes and functions
        that it names), that none is `???`, a string where the signature expects a number, or none
        of the values that a `Literal` or an enumeration allows.

        Args:
            cfg: As for `build`.
            runtime: Names of the arguments that `build` will get in the call, e.g. `["params"]`;
                these may be `???`. With it, missing required arguments are reported too.

        Raises:
            RegistryError: If anything is wrong; the message lists all of it.
        """
        request = read_request(cls.__name__, cfg)
        if isinstance(runtime, str):  # a loop would go through its letters
            runtime = (runtime,)
        if runtime is not None:
            refuse_repeated(cls.__name__, request, runtime)
        cls._raise_problems(request, find_problems(cls.get(request.name), request, runtime))

    @classmethod
    def store(cls, group: str, *, package: str | None = None) -> None:
        """Publish the entries as the Hydra config group `group`: `model=cnn` then needs no YAML.

        A node holds `name`, the signature's defaults that are plain data, and `???` for required
        parameters annotated as plain data; Hydra then refuses other keys. What only the program
        has (`params`, a module) is omitted. Call it after the registrations and before
        `hydra.main`. Lazy entries are imported; one that cannot be imported is published by its
        name alone, with a warning. A YAML file of the same group and name takes precedence.

        Args:
            group: The config group, e.g. `"model"`. An entry `timm/vit` becomes `vit` in the
                group `model/timm`.
            package: Hydra's package of the nodes; None for that of the group.

        Raises:
            RegistryError: If another provider has stored a node of that group and name, or the
                group is empty.
            ImportError: If hydra-core is not installed.
        """
        from warnings import warn

        from ._store import publish

        if not group.strip("/"):
            raise RegistryError(
                f"{cls.__name__}.store() needs a config group such as 'model', got {group!r}"
            )
        entries: dict[str, Callable[..., object] | None] = {}
        for name in cls:
            try:
                entries[name] = cls.get(name)
            except RegistryError as error:
                warn(f"{group}={name} is published without defaults: {error}", stacklevel=2)
                entries[name] = None
        publish(cls, group, entries, package)

    @classmethod
    def _add(cls, name: object, entry: object, override: bool) -> None:
        if cls.__parameters__:  # type: ignore[attr-defined]
            raise TypeError(
                f"{cls.__name__} is the base class of registries: define your own, "
                f"class Models({cls.__name__}[...]), and register there"
            )
        if not isinstance(name, str) or not name or name != name.strip():
            raise TypeError(
                f"{cls.__name__}: a name must be a non-empty string without leading or trailing "
                f"spaces, got {name!r}"
            )
        if isinstance(entry, str):
            try:
                entry = LazyEntry.parse(entry)
            except ValueError as error:
                raise TypeError(f"{cls.__name__} {name!r}: {error}") from None
        elif not callable(entry):
            raise TypeError(
                f"{cls.__name__} {name!r}: an entry is a class, a function or "
                f"'package.module:attribute', got {entry!r}"
            )
        cls._check_type(name, entry)
        with cls._lock:
            old = cls._entries.get(name)
            if old is not None and not override and not is_same(old, entry):
                raise RegistryError(
                    f"{cls.__name__} already has an entry {name!r}:\n"
                    f"  {location(old)}\n"
                    f"  {location(entry)}  (refused)\n"
                    "Choose another name, or pass override=True to replace it."
                )
            cls._entries[name] = entry

    @classmethod
    def _check_type(cls, name: str, entry: object) -> None:
        if cls._product is None or not isinstance(entry, type):
            return
        if not issubclass(entry, cls._product):
            raise RegistryError(
                f"{cls.__name__} {name!r}: {entry.__qualname__} ({location(entry)}) is not a "
                f"subclass of {cls._product.__qualname__}, which {cls.__name__} holds."
            )

    @classmethod
    def _load(cls, name: str, lazy: LazyEntry) -> Callable[..., object]:
        try:
            entry = lazy.load()
        except Exception as error:
            raise RegistryError(
                f"{cls.__name__} {name!r} could not be loaded from {lazy}.\n{_describe(error)}"
            ) from error
        if not callable(entry):
            raise RegistryError(
                f"{cls.__name__} {name!r}: {lazy} is {entry!r}, neither a class nor a function."
            )
        cls._check_type(name, entry)
        with cls._lock:
            if cls._entries.get(name) == lazy:  # otherwise it has been replaced in the meantime
                cls._entries[name] = entry
        return entry

    @classmethod
    def _raise_problems(cls, request: Request, problems: list[str]) -> None:
        if problems:
            raise RegistryError(
                f"{cls.__name__} {request.name!r} cannot be built:\n"
                + "\n".join(f"  {problem}" for problem in problems)
            )


def _from_hydra(value: object) -> object:
    """Plain containers for OmegaConf's; anything else, such as a built object, is unchanged."""
    return to_plain(value) if type(value).__module__.partition(".")[0] == "omegaconf" else value


def _name_of(entry: object) -> object:
    name = getattr(entry, "__name__", None)
    if name is None or name == "<lambda>":
        raise TypeError(f"{entry!r} has no name of its own: register it as register('name', …)")
    return name


def _describe(error: BaseException) -> str:
    """The error's traceback, without the frames of the import system and of this package."""
    from pathlib import Path
    from traceback import extract_tb, format_exception_only, format_list

    own_folder = str(Path(__file__).parent)
    machinery = ("<frozen importlib", import_module.__code__.co_filename, own_folder)
    frames = [
        frame
        for frame in extract_tb(error.__traceback__)
        if not frame.filename.startswith(machinery)
    ]
    return "".join([*format_list(frames), *format_exception_only(error)]).rstrip()
