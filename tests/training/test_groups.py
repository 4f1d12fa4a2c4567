import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.encoded import NO_FILES, Paths
from training.errors import DataError
from training.groups import numbered, read_groups

FILES = Paths.of("root", ["a/1.png", "a/2.png", "b/3.png", "b/4.png"])


def groups(folder: Path, text: str, others: Paths = NO_FILES) -> list[int]:
    (folder / "groups.csv").write_text(text, encoding="utf-8")
    return read_groups(folder / "groups.csv", FILES, others).tolist()


@pytest.mark.parametrize(
    "text",
    [
        "path,group\nb/4.png,y\na/1.png,x\nb/3.png,x\na/2.png,y\n",
        "\ufeffgroup,path\nz,b/4.png\nx,a/1.png\n\nx,b/3.png\nz,a/2.png\nz,b/4.png\n",
        "path,group\n./b/4.png,y\na\\1.png,x\n.\\b\\3.png, x\na//2.png,y \n",
    ],
    ids=["any order", "byte-order mark, blank line, a row twice", "Windows paths, spaces about groups"],
)
def test_groups_are_matched_by_path(tmp_path: Path, text: str) -> None:
    assert groups(tmp_path, text) == [0, 1, 0, 1]


def test_each_is_its_own_without_a_file(tmp_path: Path) -> None:
    assert read_groups(tmp_path / "groups.csv", FILES, NO_FILES).tolist() == [0, 1, 2, 3]


ALL = "path,group\na/1.png,x\na/2.png,x\nb/3.png,x\nb/4.png,y\n"


def test_what_is_no_image_may_be_named(tmp_path: Path) -> None:
    text = ALL + "a/notes.txt,y\n"
    assert groups(tmp_path, text, Paths.of("root", ["a/notes.txt"])) == [0, 0, 0, 1]
    with pytest.raises(DataError, match="line 6: .*got 'a/notes.txt'"):
        groups(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("path,group\n", "groups.csv: no group for 4 images, the first is 'a/1.png'"),
        ("path,group\na/1.png,x\nb/3.png,y\n", "groups.csv: no group for 2 images, the first is 'a/2.png'"),
        ("", "groups.csv: expected the columns path and group, got None"),
        ("path;group\na/1.png;x\n", "groups.csv: expected the columns path and group, got ['path;group']"),
        ("path,group\na/1.png,x\nb/3.png\n", "groups.csv, line 3: expected a path and a group, got ['b/3.png']"),
        ("path,group\na/1.png, \n", "groups.csv, line 2: expected a path and a group, got ['a/1.png', ' ']"),
        ("path,group\n,x\n", "groups.csv, line 2: expected a path and a group, got ['', 'x']"),
        ("path,group\na/1,2.png,x\n", "groups.csv, line 2: expected a path and a group, got ['a/1', '2.png', ['x']]"),
        (ALL + "data/a/1.png,x\n",
         "groups.csv, line 6: expected the path of a file, such as 'a/1.png', got 'data/a/1.png'"),
        (ALL + "\n\nb/5.png,x\nb/6.png,x\n",
         "groups.csv, line 8: expected the path of a file, such as 'a/1.png', got 'b/5.png' (2 such lines)"),
        (ALL + "b/4.png,z\n./a/2.png,z\na/2.png,w\n",
         "groups.csv, line 6: expected one group for 'b/4.png', got 'z' after 'y' in line 5"),
        ("path,group\n" + "x" * 200_000, "groups.csv, line 1: expected a path and a group, got field larger than"),
    ],
)  # fmt: skip
def test_groups_that_cannot_be_are_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(DataError) as refused:
        groups(tmp_path, text)
    assert str(refused.value).startswith(says)


def test_a_long_file_is_not_held_as_text(tmp_path: Path) -> None:
    n = 20_000
    files = Paths.of("root", (f"a-class-with-a-long-name/another-folder/image-{i:08}.png" for i in range(n)))
    with (tmp_path / "groups.csv").open("w") as lines:
        lines.write("path,group\n")
        lines.writelines(f"{path.decode()},patient-{i // 2}\n" for i, path in enumerate(files))
    tracemalloc.start()
    found = read_groups(tmp_path / "groups.csv", files, NO_FILES)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(found, np.arange(n) // 2)
    assert peak < 125 * n, "paths and groups as texts would need twice as much"


@given(st.lists(st.sampled_from("abcd")))
def test_numbers_are_in_the_order_of_first_coming(letters: list[str]) -> None:
    known: dict[str, int] = {}
    assert numbered(np.array(letters, dtype=str)).tolist() == [known.setdefault(c, len(known)) for c in letters]
