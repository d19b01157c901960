"""Heads-up no-limit Texas hold'em: cards, hand strength, ranges, betting rules, suit symmetry.

`cards` numbers cards and the 1,326 private hands, `strength` ranks them on a board (phevaluator),
`ranges` reads weights of hands as players write them, `rules` is the betting, `words` its actions
in words, `sizes` the raises that a solver may use, `spot` what a subgame starts from, `isomorphism`
the suit permutations that change nothing, `openspiel` the same rules there. Chips are ints.
"""
