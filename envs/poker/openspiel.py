"""Our betting rules beside OpenSpiel's `universal_poker`, one random hand at a time."""

import numpy as np
import pyspiel
from phevaluator.evaluator import evaluate_7cards

from tenfold.envs.poker.rules import CALL, FOLD, BettingState, Rules, openspiel_action, start


def game_string(rules: Rules) -> str:
    """OpenSpiel's text of the hold'em game with some rules and every raise allowed."""
    first = " ".join(str(player + 1) for player in rules.first)
    return (
        "universal_poker(betting=nolimit,numPlayers=2,numRounds=4,"
        f"blind={rules.blinds[0]} {rules.blinds[1]},firstPlayer={first},"
        "numSuits=4,numRanks=13,numHoleCards=2,numBoardCards=0 3 1 1,"
        f"stack={rules.stacks[0]} {rules.stacks[1]},bettingAbstraction=fullgame)"
    )


def random_action(state: BettingState, rng: np.random.Generator) -> int:
    """An action that reaches every street and size: calls, small and large raises, few folds."""
    draw = rng.random()
    if state.raises is None or draw < 0.55:
        return FOLD if state.to_call and draw < 0.06 else CALL
    low, high = state.raises
    if draw < 0.70:
        return low
    return high if draw < 0.75 else round(low * (high / low) ** rng.random())


def disagreement(game: pyspiel.Game, rules: Rules, rng: np.random.Generator) -> str | None:
    """Play one random hand by both rule books and compare them at every step.

    Compared are who acts, the legal actions, what each player has put in, the pot, and at the end
    the payoffs, where ours take the winner from phevaluator.

    Args:
        game: `pyspiel.load_game(game_string(rules))`.
        rules: Equal stacks: with unequal ones OpenSpiel allows bets that nobody can call.
        rng: Deals the cards and chooses the actions.

    Returns:
        What differed first, in words with the hand's history, or None.
    """
    theirs, ours = game.new_initial_state(), start(rules)
    cards: list[int] = []
    while not theirs.is_terminal():
        if theirs.is_chance_node():
            cards.append(int(rng.choice(theirs.legal_actions())))
            theirs.apply_action(cards[-1])
            continue
        differs = _compare(theirs, ours)
        if differs:
            return f"{differs} in {theirs}"
        action = random_action(ours, rng)
        theirs.apply_action(openspiel_action(action))
        ours = ours.apply(action)
    if not ours.over:
        return f"ours goes on in {theirs}"
    payoffs = ours.payoffs(None if ours.folded is not None else _winner(cards))
    if list(payoffs) != theirs.returns():
        return f"payoffs {payoffs} for {theirs.returns()} in {theirs}"
    return None


def _compare(theirs: pyspiel.State, ours: BettingState) -> str | None:
    if ours.over or ours.player != theirs.current_player():
        return f"player {ours.player} for {theirs.current_player()}"
    seen = theirs.to_struct()
    if (list(ours.committed), ours.pot) != (seen.player_contributions, seen.pot_size):
        return f"committed {ours.committed} for {seen.player_contributions}"
    legal = ours.legal_actions()
    legal[:2] = map(openspiel_action, legal[:2])  # after them there are only raises
    if legal != theirs.legal_actions():
        return f"legal actions {legal} for {theirs.legal_actions()}"
    return None


def _winner(cards: list[int]) -> int | None:
    """Who wins with the cards as OpenSpiel deals them: two to each player, then the board."""
    ranks = [evaluate_7cards(*cards[4:9], *cards[hole : hole + 2]) for hole in (0, 2)]
    return None if ranks[0] == ranks[1] else int(ranks[1] < ranks[0])
