"""The codes of the audit log cover everything, and nothing can be spelt in two ways."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from local_store.chain import START, Link, Walk, code, joined

links = st.builds(
    Link,
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.binary(max_size=20),
    st.binary(max_size=20),
    st.binary(max_size=20),
)
codes = st.binary(max_size=40)


@given(st.lists(st.binary(max_size=6), max_size=5), st.lists(st.binary(max_size=6), max_size=5))
def test_only_the_same_parts_are_spelt_the_same(some: list[bytes], others: list[bytes]) -> None:
    assert (joined(*some) == joined(*others)) == (some == others)


@given(st.integers(-(2**63), 2**63 - 1), st.binary(min_size=8, max_size=8))
def test_a_number_is_spelt_like_its_eight_bytes_and_like_no_others(number: int, text: bytes) -> None:
    assert (joined(number) == joined(text)) == (number == int.from_bytes(text, "big", signed=True))


@given(links, links, codes, codes)
def test_another_entry_or_another_one_before_it_has_another_code(
    link: Link, other: Link, before: bytes, other_before: bytes
) -> None:
    same = (link, before) == (other, other_before)
    assert (code(b"k" * 32, link, before) == code(b"k" * 32, other, other_before)) == same


@given(st.lists(links, max_size=6), st.integers(0, 5))
def test_a_walk_goes_as_far_as_the_chain_fits(some: list[Link], broken: int) -> None:
    previous, chain = START, []
    for number, link in enumerate(some, 1):
        bare = replace(link, seq=number, epoch=1)
        previous = code(b"k" * 32, bare, previous)
        chain.append(replace(bare, mac=previous))
    if broken < len(chain):
        chain[broken] = replace(chain[broken], subject=chain[broken].subject + b"!")
    walk = Walk(lambda epoch: b"k" * 32 if epoch == 1 else None)
    assert [walk.fits(link) for link in chain[: broken + 1]] == [n != broken for n in range(len(chain[: broken + 1]))]
    assert walk.count == min(broken, len(chain))
