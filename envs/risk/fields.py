"""Types of what a task takes: bounds and one line of meaning, for whoever reads a signature.

A task's builder is a function whose arguments are its fields. Their annotations say what is right,
so that a user's values are checked, and described, from the signature alone. What a type cannot
say (a start within the walls, a table that fits into memory) the builder checks itself.
"""

from typing import Annotated

from pydantic import Field

# Numbers in the largest array that a task or a learner may hold, 400 MB.
MOST_ENTRIES = 50_000_000
# Sums of probabilities in a file may be off by so much, as with Cassandra's own reader.
SLACK = 1e-5

Steps = Annotated[int, Field(ge=1, le=1_000, description="Steps of an episode")]
Count = Annotated[int, Field(ge=1, le=10_000)]
Share = Annotated[float, Field(ge=0, le=1)]
Instance = Annotated[
    int, Field(ge=0, lt=2**32, description="Number of the random instance, whatever the run's seed")
]


def check_size(entries: int, **fields: float) -> None:
    """Refuse values whose arrays would not fit into memory, before they are made.

    Args:
        entries: Numbers in the largest array.
        **fields: What it follows from.

    Raises:
        ValueError: There are too many, with the values.
    """
    if entries > MOST_ENTRIES:
        named = ", ".join(f"{name} = {value:,}" for name, value in fields.items())
        raise ValueError(
            f"{named} would need arrays of {entries:,} numbers, at most {MOST_ENTRIES:,} are "
            "supported: make one of these smaller."
        )
