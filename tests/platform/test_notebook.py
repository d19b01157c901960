"""The tutorial's notebook is its page, whose commands test_docs.py runs (1 s)."""

import importlib.util
import tomllib

import nbformat
import pytest
from conftest import ROOT

_SPEC = importlib.util.spec_from_file_location("tutorial_notebook", ROOT / "docs" / "notebook.py")
assert _SPEC is not None
assert _SPEC.loader is not None
maker = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(maker)
PAGE = maker.PAGE.read_text()


def test_the_committed_notebook_is_the_page() -> None:
    made = nbformat.writes(maker.notebook(PAGE)) + "\n"
    assert maker.NOTEBOOK.read_text() == made, "run: python docs/notebook.py"
    kept = nbformat.read(maker.NOTEBOOK, as_version=nbformat.NO_CONVERT)
    nbformat.validate(kept)
    assert not any(cell.outputs for cell in kept.cells if cell.cell_type == "code")


def test_nothing_of_the_page_is_lost() -> None:
    """And its files make a package that can be installed."""
    sources = "\n".join(cell.source for cell in maker.notebook(PAGE).cells)
    for line in PAGE.splitlines():
        assert line in sources or line.startswith(("```", "<!--"))
    files = maker.files(PAGE)
    project = tomllib.loads(files["pyproject.toml"])
    assert project["project"]["entry-points"]["tenfold.methods"] == {"coins": "coins:METHOD"}
    for package in project["tool"]["setuptools"]["packages"]:
        assert f"{package}/__init__.py" in files
    for name, text in files.items():
        if name.endswith(".py"):
            compile(text, name, "exec")


def test_a_small_page_cell_by_cell() -> None:
    page = """# Title

Make `a.toml`:

```toml
x = 1
```

More, in `a.toml`:

```toml
y = 2
```

<!-- not run: it installs -->
```
pip install .
tenfold run \\
  a
```

The end.
"""
    cells = [(cell.cell_type, cell.source) for cell in maker.notebook(page).cells]
    assert cells == [
        ("markdown", "# Title\n\nMake `a.toml`:"),
        ("code", "%mkdir -p tutorial\n%cd tutorial"),
        ("code", "%%writefile a.toml\nx = 1"),
        ("markdown", "More, in `a.toml`:"),
        ("code", "%%writefile -a a.toml\ny = 2"),
        ("code", "%pip install .\n!tenfold run    a"),
        ("markdown", "The end."),
    ]
    assert maker.files(page) == {"a.toml": "x = 1\ny = 2\n"}
    with pytest.raises(ValueError, match="No file is named before the block 'x = 1'"):
        list(maker.parts("Text.\n\n```toml\nx = 1\n```\n"))
