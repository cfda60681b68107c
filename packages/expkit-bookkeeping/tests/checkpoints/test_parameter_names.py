"""An optimizer's state follows the names of its parameters, whatever their order."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from expkit_bookkeeping import Bookkeeping  # noqa: E402

PER_PARAMETER = {
    name: kind
    for name, kind in vars(torch.optim).items()
    if isinstance(kind, type)
    and issubclass(kind, torch.optim.Optimizer)
    and name not in ("Optimizer", "LBFGS", "SparseAdam")
}


def model():
    torch.manual_seed(0)
    return nn.ModuleDict({name: nn.Linear(3, 3, bias=False) for name in "abc"})


def in_order(model, order):
    return [model[name].weight for name in order]


def step(model, optimizer):
    """One step with other gradients for each layer, so that each state is another."""
    for factor, layer in enumerate(model.values(), start=1):
        layer.weight.grad = torch.full_like(layer.weight, float(factor))
    optimizer.step()


def saved(folder, **objects):
    with Bookkeeping(folder, console=False) as run:
        run.save_checkpoint(0, **objects)


def resumed(folder, **objects):
    with Bookkeeping(folder, console=False) as run:
        return run.resume(**objects)


def state_by_name(model, optimizer):
    return {name: optimizer.state[model[name].weight] for name in "abc"}


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        torch.testing.assert_close(dict(left[name]), dict(right[name]), rtol=0, atol=0)


@pytest.mark.parametrize("name", PER_PARAMETER)
@pytest.mark.parametrize("named", [False, True])
def test_moments_follow_the_names_in_every_optimizer_of_torch(tmp_path, name, named):
    def make(model, order):
        parameters = in_order(model, order)
        if named:
            parameters = list(zip(order, parameters, strict=True))
        options = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}
        return PER_PARAMETER[name](parameters, lr=0.1, **options)

    try:
        old, new = model(), model()
        optimizer, other = make(old, "abc"), make(new, "cab")
    except TypeError:
        pytest.skip("this torch takes no named parameters")
    step(old, optimizer)
    saved(tmp_path, model=old, optimizer=optimizer)
    resumed(tmp_path, model=new, optimizer=other)
    assert_same(state_by_name(new, other), state_by_name(old, optimizer))
    if named:
        assert other.param_groups[0]["param_names"] == list("cab")
    step(old, optimizer)
    step(new, other)
    torch.testing.assert_close(new.state_dict(), old.state_dict(), rtol=0, atol=0)


def test_groups_follow_the_names_with_their_settings(tmp_path):
    old, new = model(), model()
    optimizer = torch.optim.Adam([
        {"params": in_order(old, "ab"), "lr": 0.1}, {"params": in_order(old, "c"), "lr": 0.2},
    ])  # fmt: skip
    other = torch.optim.Adam([{"params": in_order(new, "c")}, {"params": in_order(new, "ba")}])
    step(old, optimizer)
    saved(tmp_path, model=old, optimizer=optimizer)
    resumed(tmp_path, model=new, optimizer=other)
    assert [group["lr"] for group in other.param_groups] == [0.2, 0.1]
    assert_same(state_by_name(new, other), state_by_name(old, optimizer))


def test_a_scheduler_that_counts_the_groups_refuses_another_order_of_them(tmp_path):
    def make(order):
        layers = model()
        optimizer = torch.optim.Adam([{"params": in_order(layers, names)} for names in order])
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, [lambda _: 1.0] * 2)
        return {"model": layers, "optimizer": optimizer, "scheduler": scheduler}

    saved(tmp_path, **make(["ab", "c"]))
    resumed(tmp_path, **make(["ba", "c"]))
    objects = make(["c", "ab"])
    before = str(objects["model"].state_dict())
    with pytest.raises(ValueError, match="groups of parameters of optimizer"):
        resumed(tmp_path, **objects)
    assert str(objects["model"].state_dict()) == before  # refused before anything is changed


def test_another_partition_into_groups_is_refused(tmp_path):
    old, new = model(), model()
    saved(
        tmp_path,
        model=old,
        optimizer=torch.optim.Adam([{"params": in_order(old, n)} for n in ("ab", "c")]),
    )
    other = torch.optim.Adam([{"params": in_order(new, n)} for n in ("a", "bc")])
    with pytest.raises(ValueError, match="in other groups"):
        resumed(tmp_path, model=new, optimizer=other)


def test_what_is_missing_or_renamed_is_named_with_the_near_match(tmp_path):
    old = model()
    saved(tmp_path, model=old, optimizer=torch.optim.Adam(old.parameters()))
    for lacking, names in (("c", "ab"), ("b", "ca")):
        new = model()
        other = torch.optim.Adam(in_order(new, names))
        with pytest.raises(ValueError, match=rf"model\.{lacking}\.weight is no longer"):
            resumed(tmp_path, model=new, optimizer=other)
    renamed = nn.ModuleDict({"encoder": old["a"], "b": old["b"], "c": old["c"]})
    with pytest.raises(ValueError, match=r"no saved state of model\.encoder\.weight"):
        resumed(tmp_path, model=renamed, optimizer=torch.optim.Adam(renamed.parameters()))


def test_parameters_of_several_models_and_of_none_keep_their_state(tmp_path):
    def make(reverse):
        torch.manual_seed(0)
        net, head = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        temperature = nn.Parameter(torch.zeros(2, 2))
        parameters = [net.weight, head.weight, temperature]
        optimizer = torch.optim.Adam(parameters[::-1] if reverse else parameters)
        return parameters, {"model": net, "head": head, "optimizer": optimizer}

    parameters, objects = make(reverse=False)
    for factor, parameter in enumerate(parameters, start=1):
        parameter.grad = torch.full_like(parameter, float(factor))
    objects["optimizer"].step()
    saved(tmp_path, **objects)
    others, new = make(reverse=True)
    resumed(tmp_path, **new)
    for left, right in zip(parameters, others, strict=True):
        torch.testing.assert_close(
            dict(objects["optimizer"].state[left]), dict(new["optimizer"].state[right])
        )


def test_tied_parameters_are_known_by_any_of_their_names(tmp_path):
    def make(order, *, tied=True):
        layers = model()
        if tied:
            layers["b"].weight = layers["a"].weight
        parameters = {id(p): p for p in in_order(layers, order)}
        return layers, torch.optim.Adam(parameters.values())

    old, optimizer = make("abc")
    step(old, optimizer)
    saved(tmp_path, model=old, optimizer=optimizer)
    new, other = make("cba")
    resumed(tmp_path, model=new, optimizer=other)
    assert_same(state_by_name(new, other), state_by_name(old, optimizer))
    new, other = make("cba", tied=False)
    with pytest.raises(ValueError, match="several parameters now"):
        resumed(tmp_path, model=new, optimizer=other)


def test_a_compiled_model_has_the_names_of_the_plain_one(tmp_path):
    old = model()
    optimizer = torch.optim.Adam(in_order(old, "abc"))
    step(old, optimizer)
    saved(tmp_path, model=torch.compile(old), optimizer=optimizer)
    new = model()
    other = torch.optim.Adam(in_order(new, "bca"))
    new["a"] = torch.compile(new["a"])
    resumed(tmp_path, model=new, optimizer=other)
    for name in "abc":
        torch.testing.assert_close(
            dict(other.state[in_order(new, "abc")["abc".index(name)]]),
            dict(optimizer.state[old[name].weight]),
        )


def test_one_state_for_all_parameters_is_refused_in_another_order(tmp_path):
    old, new = model(), model()
    saved(tmp_path, model=old, optimizer=torch.optim.LBFGS(in_order(old, "abc")))
    resumed(tmp_path, model=new, optimizer=torch.optim.LBFGS(in_order(new, "abc")))
    with pytest.raises(ValueError, match="LBFGS"):
        resumed(tmp_path, model=new, optimizer=torch.optim.LBFGS(in_order(new, "bac")))


def test_without_names_the_order_decides_as_in_older_files(tmp_path):
    old, new = model(), model()
    optimizer = torch.optim.Adam(in_order(old, "abc"))
    step(old, optimizer)
    saved(tmp_path, optimizer=optimizer)
    other = torch.optim.Adam(in_order(new, "abc"))
    resumed(tmp_path, model=None, optimizer=other)
    assert_same(state_by_name(new, other), state_by_name(old, optimizer))
