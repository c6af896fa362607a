"""The notebooks as they lie in the repository; what they show is made by `make notebooks`."""

import ast
import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LOGIC = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Lambda,
    ast.For,
    ast.While,
    ast.If,
)
PACKAGES = {"features", "training", "serving"}

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list[dict]:
    """Give the cells of a kind."""
    return [
        cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == kind
    ]


def tree(path: Path) -> ast.Module:
    """Parse the code of a notebook as one program."""
    return ast.parse("\n".join("".join(cell["source"]) for cell in cells(path, "code")))


def test_there_are_the_four():
    assert [path.stem for path in NOTEBOOKS] == [
        "1_read_your_history",
        "2_train_and_read_the_report",
        "3_compare_promote_roll_back",
        "4_was_it_right",
    ]


@each_notebook
def test_outputs_are_stripped(path):
    kept = [c for c in cells(path, "code") if c["outputs"] or c["execution_count"] is not None]
    assert not kept, f"{path.name}: clear all outputs and save; `make notebooks` runs a copy"


@each_notebook
def test_metadata_say_nothing_of_who_ran_it_where(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["metadata"] == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert [cell["metadata"] for cell in notebook["cells"] if cell["metadata"]] == []


@each_notebook
def test_no_path_of_a_machine(path):
    assert re.findall(r"[\"'(](?:/|~|[A-Z]:\\)\w[^\"')]*", path.read_text(encoding="utf-8")) == []


@each_notebook
def test_no_logic_is_defined(path):
    assert [ast.unparse(node) for node in ast.walk(tree(path)) if isinstance(node, LOGIC)] == []


@each_notebook
def test_only_public_names_are_used(path):
    imports = [node for node in ast.walk(tree(path)) if isinstance(node, ast.ImportFrom)]
    names = [
        part for n in imports for part in (*(n.module or "").split("."), *(a.name for a in n.names))
    ]
    names += [node.attr for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute)]
    assert [name for name in names if name.startswith("_")] == []
    assert {(node.module or "").split(".")[0] for node in imports} & PACKAGES


@each_notebook
def test_links_lead_somewhere(path):
    text = "".join("".join(cell["source"]) for cell in cells(path, "markdown"))
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert [link for link in links if not (FOLDER / link).exists()] == []
