"""Playing what was solved: policies of a spot, searching players, matches, best responses."""
