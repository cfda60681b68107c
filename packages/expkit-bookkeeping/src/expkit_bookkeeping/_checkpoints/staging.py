"""Copies of states in host memory, so that the training continues while they are written.

New memory costs more than the copy, as the system must first find and clear each page: the same
memory is used again for every checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from itertools import compress
from operator import attrgetter
from typing import NamedTuple, TypeVar, cast

from .host_memory import BlockSpec, allocate
from .memory_copier import DividedCopies, MemoryCopier, divide

TYPE_CHECKING = False
if TYPE_CHECKING:
    from torch import Size, SymInt, Tensor, dtype

T = TypeVar("T")


class StorageView(NamedTuple):
    """A tensor's view of its storage, the memory that it may share with others."""

    address: int  # of the storage
    size: int  # of the storage, in bytes
    device: str
    dtype: dtype
    shape: Size
    stride: tuple[int, ...]
    offset: int | SymInt

    def has_same_form(self, other: StorageView) -> bool:
        """Whether only the addresses may differ."""
        return self[1:] == other[1:]


class CopyPlan(NamedTuple):
    """How the last state was copied, for the next one. Replaced as a whole: a signal may come.

    Sequences over tensors have one item for each, in the order of the state; an index is a
    tensor's position in it.
    """

    views: Sequence[StorageView | None] = ()
    simple: Sequence[bool] = ()  # see `_is_simple`
    forms: Sequence[Sequence[object]] = ((), (), ())  # of the simple ones
    block_numbers: Sequence[int | None] = ()  # None for a tensor that is cloned
    hosts: Sequence[Tensor] = ()  # the copies, views of the blocks
    specs: Sequence[BlockSpec] = ()  # of the blocks
    blocks: Sequence[Tensor] = ()  # host memory, one block for each storage
    memory_copies: DividedCopies = DividedCopies()  # of storages in host memory
    torch_copied: Sequence[int] = ()  # indices: for each storage on a device its first tensor
    cloned: Sequence[int] = ()  # indices of tensors that get other memory each time


class Staging:
    """Copies states, each into the memory of the previous copy.

    As in a file of `torch.save`, tensors that share a storage share its copy, whatever part of it
    they show; so tied weights are copied once. The memory is as large as the state, and pinned if
    it is copied from a GPU. It belongs to this object until that is dropped.

    A state nearly always has the tensors of last time, at the same addresses. So this is assumed
    while it is collected; then all of its tensors are compared at once, and differences are
    corrected.
    """

    def __init__(self) -> None:
        self._copier = MemoryCopier()
        self._plan = CopyPlan()

    def copy_of(self, collect: Callable[[Callable[[Tensor], Tensor]], T]) -> T:
        """The result of `collect` with copies of the tensors, so that the originals may change.

        Args:
            collect: Called with a function that returns the copy of a tensor, which is filled
                later. Where its result holds such copies in dicts and lists, these are changed in
                place.

        Raises:
            MemoryError: If there is no memory for it.
        """
        tensors: list[Tensor] = []
        former_hosts = self._plan.hosts
        expected_hosts = iter(former_hosts)

        def keep(tensor: Tensor) -> Tensor:
            tensors.append(tensor)
            return next(expected_hosts, tensor)

        content = collect(keep)
        self._copier.wait()  # for what an interrupted call may have left
        if not _are_as_planned(tensors, self._plan):
            from .._optional import torch

            with torch.inference_mode(False):  # tensors made inside could not be used outside
                self._plan = self._new_plan(tensors)
        plan = self._plan
        self._copier.copy(plan.memory_copies, (tensors, plan.blocks))
        if plan.torch_copied:
            _copy_with_torch(tensors, plan)
        if plan.cloned or plan.hosts is not former_hosts:
            copies = list(plan.hosts)
            for index in plan.cloned:
                copies[index] = _cloned(tensors[index])
            stand_ins = (*former_hosts[: len(tensors)], *tensors[len(former_hosts) :])
            copies_by_id = dict(zip(map(id, stand_ins), copies, strict=True))
            content = cast(T, _replace_tensors(content, copies_by_id))
        return content

    def _new_plan(self, tensors: Sequence[Tensor]) -> CopyPlan:
        """How to copy these tensors now, and the same ones the next time."""
        from .._optional import torch

        views = [_storage_view(tensor) for tensor in tensors]
        block_numbers, first_views = _number_storages(views)
        specs = [BlockSpec(view.size, view.device == "cuda") for view in first_views]
        former = self._plan
        if specs == former.specs:
            blocks = former.blocks
        else:
            # The old memory is freed first, so that both never exist at once.
            self._plan = CopyPlan()
            for host in former.hosts:
                host.set_(torch.empty(0, dtype=torch.uint8, device="cpu").untyped_storage())
            former = CopyPlan()
            blocks = allocate(specs)
        hosts = []
        for index, (view, number) in enumerate(zip(views, block_numbers, strict=True)):
            if view is None or number is None:
                hosts.append(torch.empty(0, device="cpu"))
                continue
            former_view = former.views[index] if index < len(former.views) else None
            if (
                former_view is not None
                and former.block_numbers[index] == number
                and former_view.has_same_form(view)
            ):
                hosts.append(former.hosts[index])
                continue
            host = torch.empty(0, dtype=view.dtype, device="cpu")
            storage = blocks[number].untyped_storage()
            hosts.append(host.set_(storage, view.offset, view.shape, view.stride))
        simple = [_is_simple(*pair) for pair in zip(tensors, views, strict=True)]
        return CopyPlan(
            views=views,
            simple=simple,
            forms=_intern(_forms(list(compress(tensors, simple)))),
            block_numbers=block_numbers,
            hosts=hosts,
            specs=specs,
            blocks=blocks,
            memory_copies=divide(
                (block.data_ptr(), view.address, view.size)
                for view, block in zip(first_views, blocks, strict=True)
                if view.device == "cpu"
            ),
            torch_copied=[
                block_numbers.index(number)
                for number, view in enumerate(first_views)
                if view.device != "cpu"
            ],
            cloned=[index for index, number in enumerate(block_numbers) if number is None],
        )


def _storage_view(tensor: Tensor) -> StorageView | None:
    """A tensor's view of its storage; None if the bytes there do not say all of the tensor."""
    from .._optional import torch

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
    return StorageView(
        storage.data_ptr(),
        storage.nbytes(),
        tensor.device.type,
        tensor.dtype,
        tensor.shape,
        tensor.stride(),
        tensor.storage_offset(),
    )


def _is_simple(tensor: Tensor, view: StorageView | None) -> bool:
    """Whether address and form describe the tensor fully, as it is its whole storage in order.

    A tensor with the address and form of an earlier simple one can be copied as that was.
    """
    return bool(
        view is not None
        and view.address
        and tensor.is_contiguous()
        and tensor.nbytes == view.size
        and not view.dtype.is_complex  # a conjugate has the same address and form
    )


def _number_storages(
    views: Sequence[StorageView | None],
) -> tuple[list[int | None], list[StorageView]]:
    """Number the storages of tensors; return each tensor's number and the first view of each."""
    numbers: list[int | None] = []
    first_views: list[StorageView] = []
    number_by_address: dict[int, int] = {}
    for index, view in enumerate(views):
        if view is None:
            numbers.append(None)
            continue
        number = number_by_address.setdefault(view.address or ~index, len(first_views))
        if number == len(first_views):
            first_views.append(view)
        # torch.save refuses one storage of two types.
        first = first_views[number]
        fits = (view.size, view.dtype) == (first.size, first.dtype)
        numbers.append(number if fits else None)
    return numbers, first_views


def _are_as_planned(tensors: Sequence[Tensor], plan: CopyPlan) -> bool:
    """Whether these are the tensors of the last copy, at the same addresses.

    Storages that are shared now were shared then, as all addresses are the same.
    """
    from .._optional import torch

    if len(tensors) != len(plan.views):
        return False
    are_simple = all(plan.simple)
    simple = tensors if are_simple else list(compress(tensors, plan.simple))
    # Neither the state nor this code is in the processor's caches by now. Checking one property of
    # all tensors after another takes a third of the time of checking one tensor after another.
    try:
        if not (
            {torch.Tensor, torch.nn.Parameter}.issuperset(map(type, simple))
            and _forms(simple) == plan.forms
            and all(map(torch.Tensor.is_contiguous, simple))
            and not any(map(torch.Tensor.is_neg, simple))
        ):
            return False
    except RuntimeError:  # a sparse tensor has no address
        return False
    return are_simple or all(
        is_simple or _storage_view(tensor) == view
        for tensor, is_simple, view in zip(tensors, plan.simple, plan.views, strict=True)
    )


def _forms(tensors: Sequence[Tensor]) -> Sequence[Sequence[object]]:
    """Address, type and shape of tensors, each as a list."""
    from .._optional import torch

    return (
        list(map(torch.Tensor.data_ptr, tensors)),
        list(map(attrgetter("dtype"), tensors)),
        list(map(torch.Tensor.size, tensors)),
    )


def _intern(forms: Sequence[Sequence[object]]) -> Sequence[Sequence[object]]:
    """Use one object for equal values, so that comparing reads less memory."""
    interned: dict[object, object] = {}
    return tuple([interned.setdefault(value, value) for value in values] for values in forms)


def _copy_with_torch(tensors: Sequence[Tensor], plan: CopyPlan) -> None:
    """Copy the storages on GPUs and other devices, and wait for that."""
    from .._optional import torch

    devices = set()
    with torch.no_grad():
        for index in plan.torch_copied:
            source, host = tensors[index], plan.hosts[index]
            number = plan.block_numbers[index]
            assert number is not None
            if not plan.simple[index]:
                source, host = _whole_storage(source), plan.blocks[number]
            host.copy_(source, non_blocking=plan.specs[number].pinned)
            if plan.specs[number].pinned:
                devices.add(source.device)
    for device in devices:
        # The copies wait in the stream after the training's own work.
        torch.cuda.current_stream(device).synchronize()


def _replace_tensors(content: object, copies_by_id: Mapping[int, Tensor]) -> object:
    """Replace tensors by others, looked up by `id`. Dicts and lists are changed in place."""
    if isinstance(content, dict):
        for name, part in content.items():
            content[name] = _replace_tensors(part, copies_by_id)
        if hasattr(content, "_metadata"):  # a module may keep tensors there too
            content._metadata = _replace_tensors(content._metadata, copies_by_id)
        return content
    if isinstance(content, list):
        content[:] = [_replace_tensors(part, copies_by_id) for part in content]
        return content
    if type(content) is tuple:
        return tuple(_replace_tensors(part, copies_by_id) for part in content)
    return copies_by_id.get(id(content), content)


def _cloned(tensor: Tensor) -> Tensor:
    """A copy that shares nothing: sparse, quantized and other tensors without plain memory."""
    copy = tensor.detach().resolve_conj().resolve_neg()
    # Not all quantized ones can be cloned.
    copy = deepcopy(copy) if copy.is_quantized else copy.clone()
    return copy if copy.device.type == "meta" else copy.cpu()


def _whole_storage(tensor: Tensor) -> Tensor:
    """The bytes of the whole storage of which a tensor shows a part."""
    from .._optional import torch

    storage = tensor.untyped_storage()
    return torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage)
