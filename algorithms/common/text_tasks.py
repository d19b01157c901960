"""The texts that language models train on, by name or as a user's file, checked at the door."""

from pathlib import Path

from tenfold.envs.data.token_file import is_token_source
from tenfold.platform.store import runs_folder

TEXT_TASKS = ("stdlib",)


def is_text(task: str) -> bool:
    """Whether a task is a text by its name; a folder of texts is not told from one of images."""
    path = Path(task)
    return task in TEXT_TASKS or path.suffix == ".txt" or is_token_source(path)


def check_text(task: str, tokenizer: str, context: int) -> None:
    """Read a user's texts and tokenizer once; Python's own sources are long enough for any context.

    Raises:
        ValueError: One sentence that names what cannot be read.
    """
    from tenfold.envs.data.text import check_length, check_tokenizer, load_corpus

    if task not in TEXT_TASKS or check_tokenizer(tokenizer):
        check_length(load_corpus(task, tokenizer, runs_folder() / "data"), context)
