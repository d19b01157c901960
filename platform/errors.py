"""The exceptions that Tenfold raises at its boundary with the user."""

from collections.abc import Iterable
from difflib import get_close_matches

INTERRUPTED = 130  # exit code of a command that Ctrl-C or SIGTERM ended


class InputError(ValueError):
    """A mistake in what the user asked for.

    The message is one sentence that names the field, the value and what would be right, on one
    line; characters that a terminal would obey or cannot show are escaped. The command line prints
    it without a stack trace and leaves with exit code 2.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(_visible(" ".join(sentence.splitlines())))


class RunError(RuntimeError):
    """A run that cannot go on for now, and not for what was asked.

    The message is one sentence that says what to do. The command line prints it without a stack
    trace and leaves with exit code 1.
    """


def unknown(field: str, value: object, valid: Iterable[str]) -> InputError:
    """The refusal of a name that is not among the valid ones, with the nearest of them.

    Args:
        field: What is named, as the user knows it ("method", "config key of ppo").
        value: What the user gave.
        valid: The names that would have been right, in the order to list them.
    """
    names = list(valid)
    value = one_line(value)
    close = get_close_matches(str(value), names, n=1, cutoff=0.5)
    if close:
        hint = f"did you mean '{close[0]}'?"
    elif len(names) > 12:
        hint = f"choose one of {', '.join(names[:12])}, ... ({len(names)} in all)."
    else:
        hint = f"choose one of {', '.join(names) or '(none)'}."
    return InputError(f"Unknown {field} '{value}': {hint}")


def shown(value: object) -> str:
    """A value in a message: on one line, and cut where it is long."""
    try:
        return one_line(repr(value))
    except ValueError:  # Python refuses to write whole numbers of over 4,300 digits
        return "of thousands of digits"


def one_line(text: object) -> str:
    """A user's text in a message: cut where it is long, and what is no letter made visible."""
    line = " ".join(str(text).split())
    return _visible(line if len(line) <= 80 else f"{line[:77]}...")


def _visible(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
