"""Named data sets that are made when they are first asked for, and kept in a cache."""

from pathlib import Path

from tenfold.envs.data.cache import fingerprint, prepared
from tenfold.envs.mpe.prey import VIGOUR
from tenfold.envs.offline.collect import collect
from tenfold.envs.offline.levels import MIXTURES, MODES_NOISE, REPLAY_POWERS, SKILLS
from tenfold.envs.offline.names import CHEETAH, split_task
from tenfold.platform.store import runs_folder

STEPS = {CHEETAH: 50_000}
USUAL_STEPS = 100_000
_FORMAT = "1"


def offline_task(
    name: str, cache: Path | None = None, *, steps: int | None = None, seed: int = 0
) -> Path:
    """The folder of a named data set, for example ``mpe/spread-medium``, made if it is not there.

    Args:
        name: See `names.OFFLINE_TASKS`.
        cache: Where such folders are; ``data`` in the folder of the runs by default.
        steps: Joint transitions; 100,000 by default (HalfCheetah 50,000).
        seed: Of the collection.

    Raises:
        ValueError: There is no such data set, or too few steps for it.
    """
    environment, level = split_task(name)
    count = STEPS.get(environment, USUAL_STEPS) if steps is None else steps
    made_by = repr((SKILLS.get(environment), MIXTURES, REPLAY_POWERS, MODES_NOISE, VIGOUR))
    key = fingerprint([_FORMAT, name, str(count), str(seed), made_by])
    folder = cache if cache is not None else runs_folder() / "data"
    return prepared(
        folder,
        f"offline-{key}",
        lambda place: collect(environment, level, count, seed).write(place),
    )
