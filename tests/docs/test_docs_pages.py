"""What the documents say is there: links, rooms, methods, names in the code, generated tables, licence."""

import ast
import os
import re
import runpy
from functools import cache
from pathlib import Path

import pytest

import analysis
from clients.policies import POLICIES, parse
from core import schema
from strategies.registry import METHODS
from strategies.wave import Status
from tests.support.snippets import PAGES, ROOT, pyproject, text_of

DOCUMENTS = [*PAGES, "CHANGELOG.md", "benchmarks/README.md", "results/README.md"]
PROSE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
"""What is not prose: fenced blocks and code in a line."""


def prose(document: str) -> str:
    return PROSE.sub("", text_of(document))


@cache
def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@cache
def defined(module: str) -> set[str]:
    """The names that a module defines: classes, functions, variables and the fields and methods of its classes."""
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if link.startswith("https://"):
            continue
        target, _, anchor = link.partition("#")
        path = (ROOT / document).parent / target if target else ROOT / document
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(link)
    assert not broken, f"{document}: {broken}"


def test_a_broken_link_is_seen() -> None:
    assert "candidates-and-measures" in anchors(ROOT / "docs/protocol.md")
    assert "candidates" not in anchors(ROOT / "docs/protocol.md")


def test_the_readme_has_one_page() -> None:
    assert 120 <= len(text_of("README.md").splitlines()) <= 150


def test_the_readme_names_every_package() -> None:
    packages = {name.rstrip("*") for name in pyproject()["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages == set(re.findall(r"^    (\w+)/ ", text_of("README.md"), re.MULTILINE))


def test_every_method_and_policy_is_described() -> None:
    methods = set(re.findall(r"^\| `([\w-]+)` \|", text_of("docs/protocol.md"), re.MULTILINE))
    assert methods == {name for name, method in METHODS.items() if method.__module__.startswith("strategies.")}
    rows = re.findall(r"^\| (`.*?) \| .*? \| (.*?) ?\|$", text_of("docs/drift-and-policies.md"), re.MULTILINE)
    told = {}
    for names, parameters in rows:
        policies = re.findall(r"`([\w-]+)", names)
        told |= dict(zip(policies, [float(one) for one in parameters.split(", ") if one] or [None], strict=True))
    assert told == {name: parse(name)[0].default for name in POLICIES}


def test_every_status_is_described() -> None:
    described = set(re.findall(r"^\| `(\w+)` \|", text_of("docs/backends.md"), re.MULTILINE)) - {"inprocess", "ray"}
    assert set(Status.__args__) <= described  # type: ignore[attr-defined]


def test_words_of_the_glossary_live_where_it_says() -> None:
    rows = re.findall(r"\| `(\w+)` in \[([\w/.]+)\]", text_of("docs/glossary.md"))
    assert len(rows) > 50
    missing = [f"{name} in {module}" for name, module in rows if name not in defined(module)]
    assert not missing, f"docs/glossary.md: {missing}"


def test_the_paper_is_where_the_documents_say() -> None:
    rows = re.findall(r"`(\w+)(?:\.(\w+))?(?:\([^`]*\))?` in \[([\w/.]+)\]", text_of("docs/paper.md"))
    assert len(rows) == 8
    missing = [row for row in rows if not {name for name in row[:2] if name} <= defined(row[2])]
    assert not missing, f"docs/paper.md: {missing}"


def test_generated_tables_are_up_to_date() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    for document in script["GENERATED"]:
        assert text_of(document) == script["written"](document), f"{document} is old: run python docs/generate.py"


def test_the_table_of_columns_is_that_of_the_analysis() -> None:
    found = []
    for part in text_of("docs/run-folder.md").split("\n### `")[1:]:
        file = part.partition("`")[0]
        found += [(file, *row) for row in re.findall(r"^\| `(\S+)` \| \w+ \| (.*?) \| (.*?) \|", part, re.MULTILINE)]
    frame = analysis.columns()[["file", "column", "unit", "meaning"]]
    frame = frame[~frame["column"].isin(schema.LATENT)]  # all of them have one line
    assert found == [tuple(row) for row in frame.itertuples(index=False)]


def test_licence_and_citation_agree_with_the_package() -> None:
    project = pyproject()["project"]
    citation = text_of("CITATION.cff")
    assert f"license: {project['license']}\n" in citation
    assert f"version: {project['version']}\n" in citation
    licence = text_of("LICENSE")
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence


def test_ci_finds_the_test_command() -> None:
    """The line after the marker is what ``.ci/run`` evaluates."""
    after = text_of("README.md").partition("<!-- test command -->\n")[2].splitlines()
    assert after[0] == "```bash"
    assert after[1].startswith("python3 -m venv ")
    assert after[1].endswith(" -m pytest -n 2")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
