from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from optimizer.errors import ConfigError
from optimizer.yaml_file import dotted, read_yaml

if TYPE_CHECKING:
    from pathlib import Path

    from optimizer.yaml_file import Document


def document(folder: Path, text: str) -> Document:
    path = folder / "file.yaml"
    path.write_bytes(text.encode())
    return read_yaml(path)


def test_values_are_read_by_yaml_1_2(tmp_path: Path) -> None:
    data = document(
        tmp_path,
        "on: yes\nat: 22:30\nday: 2026-01-10\nint: 12\noctal: 0o14\nfloat: 1e3\nno: ~\nyes: true\n1: [x, 'y', \"z\"]\n",
    ).data
    assert data == {
        "on": "yes",
        "at": "22:30",
        "day": "2026-01-10",
        "int": 12,
        "octal": 12,
        "float": 1000.0,
        "no": None,
        "yes": True,
        "1": ["x", "y", "z"],
    }


def test_a_problem_stands_where_the_value_the_key_or_what_lacks_it_stands(tmp_path: Path) -> None:
    read = document(tmp_path, "# a comment\na:\n  b:\n    - {c: 1, d: [2, 3]}\n")
    assert str(read.problem(("a", "b", 0, "d", 1), "wrong")) == f"{tmp_path}/file.yaml:4:21: a.b[0].d[1]: wrong"
    assert str(read.problem(("a", "b", 0, "d"), "wrong", at_key=True)).startswith(f"{tmp_path}/file.yaml:4:14: ")
    assert str(read.problem(("a", "b", 0, "absent"), "wrong")) == f"{tmp_path}/file.yaml:4:7: a.b[0].absent: wrong"
    assert str(read.problem((), "wrong")) == f"{tmp_path}/file.yaml:2:1: wrong"


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ((), {"a": [{"b": 1}]}),
        (("a", 0, "b"), 1),
        (("a", 1, "b"), None),
        (("a", "b"), None),
        (("a", 0, "b", "c"), None),
        (("x",), None),
    ],
)
def test_what_stands_at_a_path_is_found_and_nothing_where_there_is_nothing(
    tmp_path: Path, keys: tuple[str | int, ...], found: object
) -> None:
    assert document(tmp_path, "a: [{b: 1}]\n").at(keys) == found


def test_an_alias_repeats_what_it_names(tmp_path: Path) -> None:
    assert document(tmp_path, "a: &x {b: 1}\nc: [*x, *x]\n").data == {"a": {"b": 1}, "c": [{"b": 1}, {"b": 1}]}


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("a: [1\n", ["2:1: not YAML: expected ',' or ']', but got '<stream end>'"]),
        ("a: 1\nb: 2\na: 3\nb: 4\n", ["3:1: a: given twice; it already stands in line 1", "4:1: b: given twice; it"]),
        ("a: !secret x\nb: [*c]\n", ["2:5: not YAML: found undefined alias 'c'"]),
        ("a: !secret x\nb: &c [*c]\n", ["1:4: a: the tag !secret is not", "2:4: b[0]: an alias must not stand inside"]),
        ("? [a]\n: 1\n", ["1:3: a key must be a text"]),
        ("a: 1\n---\na: 2\n", ["2:1: not YAML: but found another document"]),
        ("", ["1:1: the file is empty"]),
        ("# nothing\n", ["1:1: the file is empty"]),
        ("a: \x00\n", ["1:1: not YAML: "]),
    ],
)
def test_what_is_not_one_clear_document_is_refused_with_its_place(
    tmp_path: Path, text: str, problems: list[str]
) -> None:
    with pytest.raises(ConfigError) as raised:
        document(tmp_path, text)
    found = [str(problem).removeprefix(f"{tmp_path}/file.yaml:") for problem in raised.value.problems]
    assert [line[: len(start)] for line, start in zip(found, problems, strict=True)] == problems


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.mkdir",
        "!!python/object/new:os.mkdir",
        "!!python/name:os.mkdir",
        "!!python/module:os",
        "tag:yaml.org,2002:python/object/apply:os.mkdir",
    ],
)
def test_a_file_makes_no_object_and_calls_nothing(tmp_path: Path, tag: str) -> None:
    made = tmp_path / "made"
    tag = tag if tag.startswith("!") else f"!<{tag}>"
    with pytest.raises(ConfigError) as raised:
        document(tmp_path, f'a: {tag} "{made}"\nb: {tag} ["{made}"]\nc: {tag} {{path: "{made}"}}\n')
    assert [problem.path for problem in raised.value.problems] == ["a", "b", "c"]
    assert not made.exists()


def test_a_file_that_cannot_be_read_is_a_problem_of_its_first_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml:1:1: cannot be read: "):
        read_yaml(tmp_path / "absent.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9\n")
    with pytest.raises(ConfigError, match=r"latin\.yaml:1:1: cannot be read: "):
        read_yaml(tmp_path / "latin.yaml")


def test_a_path_is_written_as_people_write_it() -> None:
    assert dotted(("catalog", "messages", 1, "offer", "cost")) == "catalog.messages[1].offer.cost"
    assert dotted(()) == ""
