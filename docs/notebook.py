"""The tutorial as a notebook, made from its page: `python docs/notebook.py` writes tutorial.ipynb.

Text is a Markdown cell. A block without a language is commands, each a line with `!` (`%` for pip,
so that it installs into the notebook's own environment). Any other block is a file, named by the
last code span before it: `%%writefile` writes it, and a second block of the same name is appended.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import v4

PAGE = Path(__file__).parent / "tutorial.md"
NOTEBOOK = PAGE.with_suffix(".ipynb")
_BLOCK = re.compile(
    r"^(?:<!--[^\n]*-->\n)?```(?P<language>\w*)\n(?P<text>.*?)\n```$", re.DOTALL | re.MULTILINE
)
_CODE_SPAN = re.compile(r"`([^`\n]+)`")


def parts(page: str) -> Iterator[tuple[str, str]]:
    """A page's parts in order: ``("text", ...)``, ``("commands", ...)`` or (a file's name, ...).

    Args:
        page: Markdown.

    Raises:
        ValueError: A block that has a language and no name before it.
    """
    end, before = 0, ""
    for block in _BLOCK.finditer(page):
        between = page[end : block.start()].strip()
        if between:
            yield "text", between
        before, end = between, block.end()
        if not block["language"]:
            yield "commands", block["text"]
            continue
        spans = _CODE_SPAN.findall(before)
        if not spans or "." not in spans[-1]:
            raise ValueError(f"No file is named before the block {block['text'][:40]!r}.")
        yield spans[-1], block["text"]
    rest = page[end:].strip()
    if rest:
        yield "text", rest


def files(page: str) -> dict[str, str]:
    """The files that a page has its reader write: name -> text."""
    found: dict[str, str] = {}
    for kind, text in parts(page):
        if kind not in ("text", "commands"):
            found[kind] = found.get(kind, "") + text + "\n"
    return found


def notebook(page: str) -> nbformat.NotebookNode:
    """A page as a notebook without outputs, whose files go into a folder `tutorial` beside it."""
    folders = sorted({str(Path("tutorial", name).parent) for name in files(page)})
    cells, written = [], set()
    for kind, text in parts(page):
        if kind == "text":
            cells.append(v4.new_markdown_cell(text))
        elif kind == "commands":
            lines = text.replace("\\\n", " ").splitlines()
            marked = [("%" if line.startswith("pip ") else "!") + line for line in lines]
            cells.append(v4.new_code_cell("\n".join(marked)))
        else:
            append = "-a " if kind in written else ""
            written.add(kind)
            cells.append(v4.new_code_cell(f"%%writefile {append}{kind}\n{text}"))
    first = "\n".join([*(f"%mkdir -p {folder}" for folder in folders), "%cd tutorial"])
    cells.insert(1, v4.new_code_cell(first))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # nbformat draws one at random
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return v4.new_notebook(
        cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}}
    )


if __name__ == "__main__":
    nbformat.write(notebook(PAGE.read_text()), NOTEBOOK)
