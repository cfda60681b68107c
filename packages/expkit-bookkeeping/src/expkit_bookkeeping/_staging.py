"""Copies of states in host memory, so that the training may go on while they are written.

Fresh memory costs more than the copy, as the system must first find and clear each page: the same
memory is used again for every checkpoint.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from itertools import compress
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

from ._host_memory import HostMemory, host_memories
from ._moves import Mover, Moves, divided

if TYPE_CHECKING:
    from torch import Size, SymInt, Tensor, dtype

T = TypeVar("T")


class _Lie(NamedTuple):
    """How a tensor lies in memory."""

    address: int  # of the memory
    size: int  # of the memory, in bytes
    device: str
    dtype: "dtype"
    shape: "Size"
    stride: tuple[int, ...]
    offset: "int | SymInt"

    def is_like(self, other: "_Lie") -> bool:
        """Whether it is the same but for the address."""
        return self[1:] == other[1:]


class _Plan(NamedTuple):
    """A copy that was made, as it is repeated. All of it at once, as a signal may come between.

    The sequences that speak of tensors have one item for each, in the order of the state.
    """

    lies: "Sequence[_Lie | None]" = ()
    simple: Sequence[bool] = ()  # see `_is_simple`
    forms: Sequence[Sequence[object]] = ((), (), ())  # of the simple ones
    numbers: Sequence[int | None] = ()  # of the memories; None for a tensor that is on its own
    hosts: "Sequence[Tensor]" = ()  # the copies
    memories: Sequence[HostMemory] = ()
    blocks: "Sequence[Tensor]" = ()  # the bytes of the memories
    moves: Moves = Moves()
    copies: Sequence[int] = ()  # the tensors that torch copies
    on_their_own: Sequence[int] = ()  # the tensors that are copied into other memory each time


class Staging:
    """Copies states, each into the memory of the copy before.

    As in a file of `torch.save`, tensors that share memory share their copy, whatever part of it
    they show; so tied weights are copied once. The memory is as large as the state and pinned
    where it is copied from a GPU. It belongs to this object until that is dropped.

    A state nearly always has the tensors of the last time, where they were. So it is taken for the
    same while it is collected, then all of its tensors are compared at once, and what turns out to
    be different is put right.
    """

    def __init__(self) -> None:
        self._mover = Mover()
        self._last = _Plan()

    def copy_of(self, collect: "Callable[[Callable[[Tensor], Tensor]], T]") -> T:
        """What `collect` gives, with copies of the tensors: the originals may change then.

        Args:
            collect: Called with a function that gives the copy of a tensor, in which there is
                nothing yet. What it gives is changed in place where these are in dicts and lists.

        Raises:
            MemoryError: If there is no memory for it.
        """
        tensors: list[Tensor] = []
        given = self._last.hosts
        ahead = iter(given)

        def keep(tensor: "Tensor") -> "Tensor":
            tensors.append(tensor)
            return next(ahead, tensor)

        content = collect(keep)
        self._mover.wait()  # for what an interrupted call may have left
        if not _are_as_before(tensors, self._last):
            import torch

            with torch.inference_mode(False):  # what is made in it could not be used again outside
                self._last = self._planned(tensors)
        plan = self._last
        self._mover.move(plan.moves, (tensors, plan.blocks))
        if plan.copies:
            _copy_by_torch(tensors, plan)
        if plan.on_their_own or plan.hosts is not given:
            right = list(plan.hosts)
            for place in plan.on_their_own:
                right[place] = _independent(tensors[place])
            stood_in = (*given[: len(tensors)], *tensors[len(given) :])
            others = dict(zip(map(id, stood_in), right, strict=True))
            content = cast(T, _with_others(content, others))
        return content

    def _planned(self, tensors: "Sequence[Tensor]") -> _Plan:
        """How these tensors are copied, and the same ones the next time."""
        import torch

        lies = [_lie(tensor) for tensor in tensors]
        numbers, owners = _numbers(lies)
        memories = [HostMemory(owner.size, owner.device == "cuda") for owner in owners]
        last = self._last
        if memories == last.memories:
            blocks = last.blocks
        else:
            # The old memory goes first, so that there are never two of them.
            self._last = _Plan()
            for host in last.hosts:
                host.set_(torch.empty(0, dtype=torch.uint8, device="cpu").untyped_storage())
            last = _Plan()
            blocks = host_memories(memories)
        hosts = []
        for place, (lie, number) in enumerate(zip(lies, numbers, strict=True)):
            if lie is None or number is None:
                hosts.append(torch.empty(0, device="cpu"))
                continue
            before = last.lies[place] if place < len(last.lies) else None
            if before and last.numbers[place] == number and before.is_like(lie):
                hosts.append(last.hosts[place])
                continue
            host = torch.empty(0, dtype=lie.dtype, device="cpu")
            storage = blocks[number].untyped_storage()
            hosts.append(host.set_(storage, lie.offset, lie.shape, lie.stride))
        simple = [_is_simple(*pair) for pair in zip(tensors, lies, strict=True)]
        return _Plan(
            lies=lies,
            simple=simple,
            forms=_shared(_forms(list(compress(tensors, simple)))),
            numbers=numbers,
            hosts=hosts,
            memories=memories,
            blocks=blocks,
            moves=divided(
                (block.data_ptr(), owner.address, owner.size)
                for owner, block in zip(owners, blocks, strict=True)
                if owner.device == "cpu"
            ),
            copies=[numbers.index(at) for at, owner in enumerate(owners) if owner.device != "cpu"],
            on_their_own=[place for place, number in enumerate(numbers) if number is None],
        )


def _lie(tensor: "Tensor") -> _Lie | None:
    """How a tensor lies in memory; None where its bytes are not all of it."""
    import torch

    if (
        type(tensor) not in (torch.Tensor, torch.nn.Parameter)
        or tensor.layout is not torch.strided
        or tensor.device.type == "meta"
        or tensor.is_quantized
        or tensor.is_nested
        or tensor.is_neg()
        or tensor.is_conj()
    ):
        return None
    storage = tensor.untyped_storage()
    return _Lie(
        storage.data_ptr(),
        storage.nbytes(),
        tensor.device.type,
        tensor.dtype,
        tensor.shape,
        tensor.stride(),
        tensor.storage_offset(),
    )


def _is_simple(tensor: "Tensor", lie: _Lie | None) -> bool:
    """Whether the tensor's address and form tell all of it, as it is all of its memory in order.

    Of two such tensors with one address and form, the second can be copied as the first was.
    """
    return bool(
        lie is not None
        and lie.address
        and tensor.is_contiguous()
        and tensor.nbytes == lie.size
        and not lie.dtype.is_complex  # a conjugate has the same address and form
    )


def _numbers(lies: Sequence[_Lie | None]) -> tuple[list[int | None], list[_Lie]]:
    """Which memory each tensor is in; and the tensors that came first in one, in its order."""
    numbers: list[int | None] = []
    owners: list[_Lie] = []
    found: dict[int, int] = {}
    for place, lie in enumerate(lies):
        if lie is None:
            numbers.append(None)
            continue
        number = found.setdefault(lie.address or ~place, len(owners))
        if number == len(owners):
            owners.append(lie)
        # torch.save refuses one memory of two types.
        fits = (lie.size, lie.dtype) == (owners[number].size, owners[number].dtype)
        numbers.append(number if fits else None)
    return numbers, owners


def _are_as_before(tensors: "Sequence[Tensor]", last: _Plan) -> bool:
    """Whether these are the tensors of the last copy, where they were.

    Memory that is shared now was shared then, as all addresses are the same.
    """
    import torch

    if len(tensors) != len(last.lies):
        return False
    are_simple = all(last.simple)
    simple = tensors if are_simple else list(compress(tensors, last.simple))
    # A state that is saved is as far from the caches as can be, and so is this code. Each property
    # of all tensors in a loop of its own takes a third of the time that all of each take.
    try:
        if not (
            {torch.Tensor, torch.nn.Parameter}.issuperset(map(type, simple))
            and _forms(simple) == last.forms
            and all(map(torch.Tensor.is_contiguous, simple))
            and not any(map(torch.Tensor.is_neg, simple))
        ):
            return False
    except RuntimeError:  # a sparse tensor has no address
        return False
    return are_simple or all(
        is_simple or _lie(tensor) == lie
        for tensor, is_simple, lie in zip(tensors, last.simple, last.lies, strict=True)
    )


def _forms(tensors: "Sequence[Tensor]") -> Sequence[Sequence[object]]:
    """Address, type and shape of tensors, each as a list."""
    import torch

    return (
        list(map(torch.Tensor.data_ptr, tensors)),
        list(map(attrgetter("dtype"), tensors)),
        list(map(torch.Tensor.size, tensors)),
    )


def _shared(forms: Sequence[Sequence[object]]) -> Sequence[Sequence[object]]:
    """The same with one object for those that are equal, so that comparing reads less memory."""
    one: dict[object, object] = {}
    return tuple([one.setdefault(value, value) for value in values] for values in forms)


def _copy_by_torch(tensors: "Sequence[Tensor]", plan: _Plan) -> None:
    """Copy the memories of GPUs and other devices, and wait for that."""
    import torch

    devices = set()
    with torch.no_grad():
        for place in plan.copies:
            source, host = tensors[place], plan.hosts[place]
            number = plan.numbers[place]
            assert number is not None
            if not plan.simple[place]:
                source, host = _all_bytes(source), plan.blocks[number]
            host.copy_(source, non_blocking=plan.memories[number].pinned)
            if plan.memories[number].pinned:
                devices.add(source.device)
    for device in devices:
        # The copies wait in the stream behind the training's own work.
        torch.cuda.current_stream(device).synchronize()


def _with_others(content: object, right: "Mapping[int, Tensor]") -> object:
    """Content with other tensors in the place of some, by `id`. Dicts and lists are changed."""
    if isinstance(content, dict):
        for name, part in content.items():
            content[name] = _with_others(part, right)
        if hasattr(content, "_metadata"):  # a module may keep tensors there too
            content._metadata = _with_others(content._metadata, right)
        return content
    if isinstance(content, list):
        content[:] = [_with_others(part, right) for part in content]
        return content
    if type(content) is tuple:
        return tuple(_with_others(part, right) for part in content)
    return right.get(id(content), content)


def _independent(tensor: "Tensor") -> "Tensor":
    """A copy that shares nothing: sparse, quantized and other tensors without plain memory."""
    copy = tensor.detach().resolve_conj().resolve_neg()
    # Not all quantized ones can be cloned.
    copy = deepcopy(copy) if copy.is_quantized else copy.clone()
    return copy if copy.device.type == "meta" else copy.cpu()


def _all_bytes(tensor: "Tensor") -> "Tensor":
    """The whole memory of which a tensor shows a part."""
    import torch

    storage = tensor.untyped_storage()
    return torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage)
