"""Several classes made one, where they call for the same action or have too few images alone."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from decision.errors import listed
from training.errors import DataError


def merge_classes(
    classes: Sequence[str], merges: Mapping[str, Sequence[str]]
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The classes that remain, and which of them each of `classes` is in, `(len(classes),)`.

    `{"birds": ["penguin", "parrot"]}` gives a class birds at the place of its first member in class order. Raises
    DataError where a member is unknown or in two merges, a name is that of another class, or fewer than two classes
    remain.
    """
    home = {member: new for new, members in merges.items() for member in members}
    times = Counter(member for members in merges.values() for member in members)
    if strangers := [member for member in home if member not in classes]:
        raise DataError(f"expected to merge some of the classes {listed(classes)}, got {listed(strangers)}")
    if twice := [member for member, n in times.items() if n > 1]:
        raise DataError(f"expected to merge each class once, got {listed(twice)} more often")
    if empty := [new for new, members in merges.items() if not members]:
        raise DataError(f"expected classes to merge into {listed(empty)}, got none")
    if taken := [new for new in merges if new in classes and new not in home]:
        raise DataError(f"expected new names, or those of merged classes, got {listed(taken)} of {listed(classes)}")
    names = [home.get(name, name) for name in classes]
    remain = tuple(dict.fromkeys(names))
    if len(remain) < 2 or len(set(classes)) < len(classes):
        raise DataError(f"expected at least two distinct classes, got {listed(classes if len(remain) > 1 else remain)}")
    code = {name: k for k, name in enumerate(remain)}
    return remain, np.array([code[name] for name in names], dtype=np.int64)


def parse_merge(text: str) -> tuple[str, tuple[str, ...]]:
    """`birds=penguin,parrot`: the new class and those it is made of."""
    new, equals, members = text.partition("=")
    names = tuple(members.split(","))
    if not equals or not new or not all(names):
        raise DataError(f"expected a new class and its members like birds=penguin,parrot, got {text!r}")
    return new, names
