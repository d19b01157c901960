"""Files that are there whole or not at all, whatever kills their writer."""

from pathlib import Path


def replace_file(file: Path, text: str) -> None:
    """Write a file so that a reader sees its former text or the new one, and never half of it."""
    temporary = file.with_name(f"{file.name}.tmp")
    temporary.write_text(text)
    temporary.replace(file)
