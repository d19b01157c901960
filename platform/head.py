"""A cluster's head node: its address, its token, and whether it answers.

All checks come before Ray is imported, so that a mistake shows in less than three seconds.
"""

import json
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from importlib.metadata import requires
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from packaging.requirements import Requirement

from tenfold.platform.errors import InputError
from tenfold.platform.store import shown_uri

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

_PROBE_SECONDS = 2
_TALKATIVE = (
    "ray.dashboard.modules.job.sdk",
    "ray.dashboard.modules.dashboard_sdk",
    "ray._private.runtime_env.packaging",
)
_HOW_TO_GIVE_A_TOKEN = (
    "give --token-file, or RAY_AUTH_TOKEN, or put it into ~/.ray/auth_token "
    "('ray get-auth-token' prints it on the head)"
)


def connect(address: str, token_file: Path | None = None) -> "JobSubmissionClient":
    """A client of the head's job server, after all that the user can get wrong was checked.

    Args:
        address: ``http(s)://host:port`` of the head's dashboard.
        token_file: File with the cluster's token, see `find_token`.

    Raises:
        InputError: Bad address, no answer, no or a wrong token, another version of Ray.
    """
    address = check_address(address)
    token = find_token(token_file)
    check_ray(address, probe(address, token))
    from ray.job_submission import JobSubmissionClient  # takes a second, only now worth it

    for module in _TALKATIVE:
        logging.getLogger(module).setLevel(logging.WARNING)
    headers = {"Authorization": f"Bearer {token}"} if token else None
    with _without("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):  # they would win over the argument
        return JobSubmissionClient(address, headers=headers)


def check_address(address: str) -> str:
    """The address without a trailing slash.

    Raises:
        InputError: It is not ``http(s)://host:port``.
    """
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    valid = parts.scheme in ("http", "https") and parts.hostname and port
    if not valid or parts.username or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise InputError(
            f"Bad address '{shown_uri(address)}': give the head's dashboard as http://host:port, "
            "for example http://127.0.0.1:8265."
        )
    return f"{parts.scheme}://{parts.netloc}"


def find_token(file: Path | None = None) -> str | None:
    """The cluster's token, looked up where Ray does, or None where there is none.

    Args:
        file: A file that holds it; wins over RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH and
            ``~/.ray/auth_token``, in this order.

    Raises:
        InputError: A named file cannot be read, or holds no token.
    """
    if file is None and "RAY_AUTH_TOKEN" in os.environ:
        return _single_word(os.environ["RAY_AUTH_TOKEN"], "RAY_AUTH_TOKEN")
    given = file or os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(given) if given else Path.home() / ".ray" / "auth_token"
    if not given and not path.is_file():
        return None
    try:
        return _single_word(path.read_text(encoding="utf-8"), f"The token file '{path}'")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The token file '{path}' cannot be read: {error}.") from None


def _single_word(text: str, where: str) -> str:
    words = text.split()
    if len(words) != 1 or not words[0].isascii():
        raise InputError(f"{where} must hold the token and nothing else.")
    return words[0]


def probe(address: str, token: str | None) -> str:
    """Ask the head for its version of Ray.

    Raises:
        InputError: No answer within two seconds, not a Ray head, no token or a wrong one.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"{address}/api/version", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=_PROBE_SECONDS) as reply:
            version: str = json.load(reply)["ray_version"]
    except urllib.error.HTTPError as error:
        raise _refusal(address, error.code) from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise InputError(
            f"No cluster answers at '{address}' ({reason}): check host and port, and that the "
            "head's dashboard can be reached from here."
        ) from None
    except (HTTPException, ValueError, KeyError, TypeError):
        raise _no_head(address) from None
    return version


def check_ray(address: str, version: str) -> None:
    """Make sure that the cluster's Ray is one that this Tenfold works with.

    Raises:
        InputError: It is not.
    """
    needs = map(Requirement, requires("tenfold") or ())
    ray = next(requirement for requirement in needs if requirement.name == "ray")
    if version not in ray.specifier:
        raise InputError(
            f"The cluster at '{address}' runs Ray {version}, this Tenfold needs {ray.specifier}: "
            "use the same Ray on both sides."
        )


def _refusal(address: str, status: int) -> InputError:
    if status == 401:
        return InputError(f"The cluster at '{address}' asks for a token: {_HOW_TO_GIVE_A_TOKEN}.")
    if status == 403:
        return InputError(
            f"The cluster at '{address}' refuses the token: {_HOW_TO_GIVE_A_TOKEN}; "
            "an older one may be left over from another cluster."
        )
    return _no_head(address)


def _no_head(address: str) -> InputError:
    return InputError(
        f"What answers at '{address}' is not a Ray head: give the port of its dashboard, "
        "usually 8265."
    )


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """Hide environment variables for a while."""
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)
