"""How long the backlog stays above its former level after a declared switch of the rates.

The backlog is averaged over blocks of BLOCK slots, so that noise is not taken for recovery. A
switch notes the mean of the last full block before it; the recovery time is the number of slots
until a block whose mean is not above that begins. A switch that the next one overtakes counts with
the time between the two, and as unrecovered. `row` is a row of `Sums.recovery`.
"""

from numba import njit

BLOCK = 100

SUM, SLOTS, MEAN = 0, 1, 2  # the present block, and the mean of the last full one
LEVEL, SINCE = 3, 4  # backlog before the last switch, slots since; SINCE < 0: it is back
SWITCHES, TIME, UNRECOVERED = 5, 6, 7  # totals
COLUMNS = 8


@njit(cache=True)
def note_backlog(row, total, switched):
    """Take in the total backlog after a slot, at whose beginning there was a switch or not."""
    if switched:
        if row[SINCE] >= 0:
            row[UNRECOVERED] += 1
            row[TIME] += row[SINCE]
        row[SWITCHES] += 1
        row[LEVEL] = row[MEAN]
        row[SINCE] = 0
        row[SUM] = 0.0
        row[SLOTS] = 0
    row[SUM] += total
    row[SLOTS] += 1
    if row[SINCE] >= 0:
        row[SINCE] += 1
    if row[SLOTS] == BLOCK:
        row[MEAN] = row[SUM] / BLOCK
        row[SUM] = 0.0
        row[SLOTS] = 0
        if row[SINCE] >= 0 and row[MEAN] <= row[LEVEL]:
            row[TIME] += row[SINCE] - BLOCK
            row[SINCE] = -1
