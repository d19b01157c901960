"""What MkDocs is told about files outside docs/: READMEs as pages, and the API reference.

READMEs of methods and environments are pages as they stand; links between files of the repository
become links between pages, and links to source files lead to the API reference. A method's page
begins with what its declaration says.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from tenfold.platform.registry import Method, methods

ROOT = Path(__file__).parent.parent
PACKAGES = ("platform", "algorithms", "envs", "tune_spaces")
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_DEFINITION = re.compile(r"^(\[\w+\]: )(?!http)(\S+)$", re.MULTILINE)
_FENCED = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)


def _pages() -> dict[Path, str]:
    """Files of the repository that are pages, and where the site has them."""
    named = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md"}
    named["SECURITY.md"] = "security.md"
    named["CHANGELOG.md"] = "changelog.md"
    found = {ROOT / path: page for path, page in named.items()}
    for path in sorted((ROOT / "algorithms").glob("*/*.md")):
        suffix = "" if path.stem == "README" else f"-{path.stem.lower()}"
        found[path] = f"methods/{path.parent.name}{suffix}.md"
    for path in sorted((ROOT / "envs").glob("*/README.md")):
        found[path] = f"environments/{path.parent.name}.md"
    return found


PAGES = _pages()


def _modules() -> dict[str, list[Path]]:
    """Page of the API reference -> its modules: a page for each package."""
    found: dict[str, list[Path]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            folder = path.parent.relative_to(ROOT)
            found.setdefault(f"reference/{'.'.join(folder.parts)}.md", []).append(path)
    return found


MODULES = _modules()


def _import_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("tenfold", *(part for part in parts if part != "__init__")))


def _reference(page: str, paths: list[Path]) -> str:
    title = "tenfold." + page.removeprefix("reference/").removesuffix(".md")
    names = (_import_name(path) for path in paths if path.read_text().strip())
    return "\n\n".join([f"# {title}", *(f"::: {name}" for name in names)]) + "\n"


def _at_a_glance(method: Method) -> str:
    """What a method's declaration says, as a table."""
    better = "higher" if method.mode == "max" else "lower"
    scored = {
        "last": "the last value",
        "tail_mean": "the mean over the last tenth of the steps",
        "best_evaluation": "the best evaluation",
    }[method.score]
    stop = ", ".join(f"{key} = {value:,}" for key, value in method.stop.items())
    own = [f"files {', '.join(method.task_files)}"] * bool(method.task_files)
    own += ["folders"] * method.task_folders + ["Gymnasium ids"] * method.gymnasium_tasks
    rows = {
        "run it": f"`tenfold run {method.name}`, keys: `tenfold describe {method.name}`",
        "tasks": ", ".join(f"`{task}`" for task in method.tasks),
        "own tasks": ", ".join(own),
        "variants": ", ".join(f"`{variant}`" for variant in method.variants),
        "search spaces": ", ".join(f"`{space}`" for space in method.load_spaces()),
        "metric": f"`{method.metric}`, the {better} the better; a run's score is {scored}",
        "steps": f"`{method.step_metric}`, in {method.step_unit}",
        "stops by default at": stop,
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items() if value]
    return "\n".join(["| at a glance | |", "|---|---|", *lines])


def _with_glance(text: str, name: str) -> str:
    """The declaration's table after the page's title."""
    title, _, rest = text.partition("\n")
    return f"{title}\n\n{_at_a_glance(methods()[name])}\n{rest}"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside docs/, their figures, and the reference."""
    for path, page in PAGES.items():
        text = path.read_text()
        if path.parent.parent.name == "algorithms" and path.stem == "README":
            text = _with_glance(text, path.parent.name)
        files.append(File.generated(config, page, content=text))
        for target in _images(text):
            figure = (path.parent / target).resolve()
            place = _figure(figure)
            if files.get_file_from_path(place) is None:
                files.append(File.generated(config, place, content=figure.read_bytes()))
    for page, paths in MODULES.items():
        files.append(File.generated(config, page, content=_reference(page, paths)))
    return files


def _images(text: str) -> Iterator[str]:
    for mark, _, target in _LINK.findall(text):
        if mark and "://" not in target:
            yield target


def _figure(path: Path) -> str:
    """Where the site has a figure."""
    inside = path.relative_to(ROOT)
    return str(inside.relative_to("docs")) if inside.parts[0] == "docs" else f"figures/{inside}"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links between pages."""
    uri = page.file.src_uri
    origin = next((path for path, name in PAGES.items() if name == uri), ROOT / "docs" / uri)
    if uri.startswith("reference/"):
        return markdown

    def link(found: re.Match[str]) -> str:
        mark, text, target = found.groups()
        place = _place(target, origin, uri)
        return f"{mark}[{text}]({place})" if place else text

    def definition(found: re.Match[str]) -> str:
        return found[1] + str(_place(found[2], origin, uri))

    parts = _FENCED.split(markdown)
    parts[::2] = [_DEFINITION.sub(definition, _LINK.sub(link, part)) for part in parts[::2]]
    return "".join(parts)


def _place(target: str, origin: Path, uri: str) -> str | None:
    """A link as the page at `uri` needs it; None to what the site does not have.

    Raises:
        PluginError: The repository does not have it either.
    """
    if "://" in target or target.startswith("#"):
        return target
    name, hash_, anchor = target.partition("#")
    path = (origin.parent / name).resolve()
    if not path.exists():
        raise PluginError(f"{origin.relative_to(ROOT)} links to {target}, which is not there.")
    if path.is_dir() and (path / "README.md") in PAGES:
        path = path / "README.md"
    if path in PAGES:
        place = PAGES[path]
    elif path.suffix in (".png", ".svg"):
        place = _figure(path)
    elif path.suffix in (".md", ".ipynb") and path.is_relative_to(ROOT / "docs"):
        place = str(path.relative_to(ROOT / "docs"))
    elif any(path in paths for paths in MODULES.values()):
        place = next(page for page, paths in MODULES.items() if path in paths)
        hash_, anchor = "#", _import_name(path)
    else:
        return None
    return os.path.relpath(place, os.path.dirname(uri) or ".") + hash_ + anchor


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill in the lists of methods, environments and packages."""
    lists: dict[str, list[Any]] = {
        "Methods": [page for page in PAGES.values() if page.startswith("methods/")],
        "Environments": [page for page in PAGES.values() if page.startswith("environments/")],
        "API reference": list(MODULES),
    }
    lists["Methods"].append("baselines.md")
    assert config.nav is not None
    config.nav = [
        {name: lists.get(name, given)} for entry in config.nav for name, given in entry.items()
    ]
    return config
