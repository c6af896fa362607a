from pathlib import Path

import pytest

from docs.generate import FOLDER, pages
from features.catalogue import standard
from features.contract import TABLES


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_generated_page_is_what_the_code_says(name):
    assert (FOLDER / name).read_text(encoding="utf-8") == pages()[name], "run `make docs`"


def test_every_column_of_the_contract_stands_on_its_page():
    page = pages()["data-contract.md"]
    assert [c.name for t in TABLES for c in t.columns if f"| `{c.name}` |" not in page] == []


def test_every_standard_feature_stands_on_its_page():
    page = pages()["features.md"]
    assert [each.name for each in standard() if f"| `{each.name}` |" not in page] == []


def test_links_of_the_readme_lead_somewhere():
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    links = [part.split(")")[0] for part in readme.split("](")[1:]]
    assert [link for link in links if not (FOLDER.parent / Path(link)).exists()] == []
