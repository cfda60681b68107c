import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit_seed import derive_seed, sample_seed

seeds = st.integers(0, 2**32 - 1)
# Characters that the encoding of parts uses itself, and some that UTF-8 does not write as one byte
# or at all. A choice among few is likelier to collide than one among all, and hypothesis need not
# build its table of Unicode for it, which can take as long as all other tests of this package.
texts = st.lists(st.sampled_from("01iasx:|é中\ud800"), max_size=5).map("".join)
names = st.lists(texts | st.integers(), max_size=4).map(tuple)


@given(seeds, names)
def test_a_derived_seed_is_a_valid_seed_and_always_the_same(base, parts):
    derived = derive_seed(base, *parts)

    assert 0 <= derived <= 2**32 - 1
    assert derived == derive_seed(base, *parts)


def test_derived_seeds_are_the_same_in_every_version():
    assert derive_seed(0) == 2766235559
    assert derive_seed(1, "worker", 1) == 1903082121
    assert sample_seed(1, epoch=2, index=3) == 1548910081


def test_small_seeds_and_workers_do_not_share_streams():
    derived = {derive_seed(seed, "worker", worker) for seed in range(100) for worker in range(100)}

    assert len(derived) > 9_980  # 32 bits: about 0.01 pairs are equal by chance


@given(st.lists(st.tuples(seeds, names), min_size=2, max_size=2, unique=True))
def test_different_parts_give_different_seeds(parts):
    (base, rest), (other_base, other_rest) = parts

    # Equal by chance once in 4 billion pairs, which hypothesis would not hit.
    assert derive_seed(base, *rest) != derive_seed(other_base, *other_rest)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("a", "b"), ("ab",)),
        (("a", "b"), ("b", "a")),
        ((1,), ("1",)),
        (("a|s1:b",), ("a", "b")),
        ((12, 3), (1, 23)),
        ((10**5000,), (10**5000 + 1,)),
        ((), ("",)),
    ],
)
def test_similar_parts_give_different_seeds(first, second):
    assert derive_seed(7, *first) != derive_seed(7, *second)


def test_numpys_integers_count_as_integers():
    numpy = pytest.importorskip("numpy")

    assert derive_seed(numpy.int64(7), numpy.uint8(3)) == derive_seed(7, 3)


def test_sample_seed_depends_on_seed_rank_epoch_and_sample():
    base = sample_seed(1, epoch=0, index=0)

    others = {
        sample_seed(2, epoch=0, index=0),
        sample_seed(1, epoch=1, index=0),
        sample_seed(1, epoch=0, index=1),
        sample_seed(1, epoch=0, index=0, rank=1),
    }

    assert len(others | {base}) == 5
