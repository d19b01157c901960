"""The texts that language models train on, by name or as a user's file, checked at the door."""

from pathlib import Path

from tenfold.envs.data.token_file import is_token_source
from tenfold.platform.store import runs_folder

TEXT_TASKS = ("stdlib",)
_ENDINGS = (".txt", ".txt.gz", ".jsonl", ".jsonl.gz")


def is_text(task: str) -> bool:
    """Whether a task is a text by its name; a folder of texts is not told from one of images."""
    return task in TEXT_TASKS or task.endswith(_ENDINGS) or is_token_source(Path(task))


def check_text(task: str, tokenizer: str, context: int) -> int:
    """Read a user's texts and tokenizer once; Python's own sources are long enough for any context.

    Returns:
        Number of tokens, or what a trained vocabulary of them may have at most.

    Raises:
        ValueError: One sentence that names what cannot be read.
    """
    from tenfold.envs.data.text import check_length, load_corpus
    from tenfold.envs.data.tokenizer import check_tokenizer

    if task not in TEXT_TASKS or check_tokenizer(tokenizer):
        corpus = load_corpus(task, tokenizer, runs_folder() / "data")
        check_length(corpus, context)
        return corpus.vocabulary
    return 256 if tokenizer == "bytes" else int(tokenizer.removeprefix("bpe:"))
