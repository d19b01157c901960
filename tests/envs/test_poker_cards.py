"""Cards, hands, ranges, and strength against an independent reading of the rules of poker."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from phevaluator import evaluate_cards

from tenfold.envs.poker.cards import (
    HAND_COUNT,
    HANDS,
    format_cards,
    format_hand,
    hand_index,
    live_hands,
    parse_cards,
)
from tenfold.envs.poker.ranges import format_range, hand_classes, parse_range
from tenfold.envs.poker.strength import board_order, board_ranks

BOARD = parse_cards("AsKd7h2c3d")


def test_cards_have_the_numbers_of_phevaluator() -> None:
    for card in range(52):
        assert parse_cards(format_cards([card])) == [card]
    assert parse_cards("2c 2d,2H as") == [0, 1, 2, 51]
    royal = ["As", "Ks", "Qs", "Js", "Ts", "2c", "2d"]
    assert evaluate_cards(*royal) == evaluate_cards(*parse_cards("".join(royal))) == 1


def test_hands_are_numbered_without_gaps() -> None:
    assert HANDS.shape == (HAND_COUNT, 2)
    assert [hand_index(c1, c2) for c1, c2 in HANDS] == list(range(HAND_COUNT))
    assert [hand_index(c2, c1) for c1, c2 in HANDS] == list(range(HAND_COUNT))
    assert (HANDS[:, 0] > HANDS[:, 1]).all()
    assert live_hands(BOARD).sum() == 1081
    with pytest.raises(ValueError, match="two different cards"):
        hand_index(7, 7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("AsKx", "Unknown card 'Kx' in 'AsKx'"),
        ("As1h", "Unknown card '1h'"),
        ("10h", "Unknown card '10'"),
        ("AsK", "Unknown card 'K' in 'AsK'"),
        ("AsKdAs", "Card 'As' stands twice in 'AsKdAs'"),
    ],
)
def test_bad_cards_are_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_cards(text)


def five_card_value(cards: tuple[int, ...]) -> tuple[int, ...]:
    """The rules of poker written down directly: category, then the ranks that break ties."""
    ranks = Counter(card // 4 for card in cards)
    by_count = sorted(ranks, key=lambda rank: (ranks[rank], rank), reverse=True)
    shape = sorted(ranks.values(), reverse=True)
    flush = len({card % 4 for card in cards}) == 1
    straight = len(ranks) == 5 and by_count[0] - by_count[4] == 4
    if by_count == [12, 3, 2, 1, 0]:
        straight, by_count = True, [3]
    category = {
        (4, 1): 7,
        (3, 2): 6,
        (3, 1, 1): 3,
        (2, 2, 1): 2,
        (2, 1, 1, 1): 1,
    }.get(tuple(shape), 8 if flush and straight else 5 if flush else 4 if straight else 0)
    return (category, *by_count)


def best_value(cards: NDArray[np.int64]) -> tuple[int, ...]:
    return max(five_card_value(five) for five in itertools.combinations(cards.tolist(), 5))


def test_strength_agrees_with_the_rules_of_poker() -> None:
    rng = np.random.default_rng(0)
    compared = 0
    while compared < 5_000:
        deck = rng.permutation(52)
        ranks = board_ranks(deck[:5])
        hands = rng.choice(np.flatnonzero(ranks >= 0), size=100, replace=False)
        values = [best_value(np.concatenate([deck[:5], HANDS[hand]])) for hand in hands]
        strength = ranks[hands].tolist()
        for (a, rank_a), (b, rank_b) in itertools.pairwise(
            sorted(zip(values, strength, strict=True))
        ):
            assert (a < b) == (rank_a < rank_b)
            assert (a == b) == (rank_a == rank_b)
        compared += len(hands)


def test_strength_is_phevaluators_and_the_order_is_its_order() -> None:
    rng = np.random.default_rng(1)
    for _ in range(5):
        board = rng.permutation(52)[:5]
        ranks = board_ranks(board)
        assert (board_ranks(board[::-1]) == ranks).all()
        assert ((ranks < 0) == ~live_hands(board)).all()
        for hand in np.flatnonzero(ranks >= 0):
            assert ranks[hand] == 7462 - evaluate_cards(*board.tolist(), *HANDS[hand].tolist())
        order = board_order(board)
        assert sorted(order.hands) == np.flatnonzero(ranks >= 0).tolist()
        groups = [order.hands[a:b] for a, b in itertools.pairwise(order.groups)]
        assert all(len(set(ranks[group])) == 1 for group in groups)
        steps = np.diff([ranks[group[0]] for group in groups])
        assert (steps > 0).all()


@pytest.mark.parametrize("board", [[0, 1, 2, 3], [0, 0, 1, 2, 3], [0, 1, 2, 3, 52]])
def test_a_board_without_strengths_is_refused(board: list[int]) -> None:
    with pytest.raises(ValueError, match="give five different cards"):
        board_ranks(board)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("22", 6),
        ("AKs", 4),
        ("AKo", 12),
        ("AK", 16),
        ("aKS", 4),
        ("AsKs", 1),
        ("22+", 13 * 6),
        ("A2s+", 12 * 4),
        ("KTo+", 3 * 12),
        ("JTs+", 4 * 4),
        ("99-66", 4 * 6),
        ("A2s-A5s", 4 * 4),
        ("T9s-76s", 4 * 4),
        ("22+,A2s+,KTo+,QJs:0.5,7h6d", 78 + 48 + 36 + 4 + 1),
        ("random", 1326),
        ("100%", 1326),
        ("22+,AKs,", 78 + 4),
        (",22+;AKs ; ,", 78 + 4),
        ("22+ , A5s - A2s\nKQo\r\n", 78 + 16 + 12),
        ("[35.5]JJ,TT-99[/35.5],AKs,[4.00]A2o,AhKd[/4.00]", 18 + 4 + 12 + 1),
    ],
)
def test_a_range_has_as_many_hands_as_players_count(text: str, count: int) -> None:
    assert np.count_nonzero(parse_range(text)) == count


def test_tokens_give_the_hands_and_weights_that_they_name() -> None:
    assert parse_range("QJs:0.25,AsKs")[hand_index(*parse_cards("JdQd"))] == 0.25
    assert (parse_range("KTs+") == parse_range("KTs,KJs,KQs")).all()
    assert (parse_range("JTs+") == parse_range("JTs,QJs,KQs,AKs")).all()
    assert (parse_range(",".join(hand_classes())) == 1.0).all()
    weights = parse_range("random", BOARD)
    assert ((weights > 0) == live_hands(BOARD)).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Range '' is empty"),
        (" ,\n,", "Range ', ,' is empty"),
        ("AKx", "Cannot read range 'AKx'"),
        ("KAs", "Cannot read range 'KAs'"),
        ("22s", "Cannot read range '22s'"),
        ("A5s-K2s", "Cannot read range 'A5s-K2s'"),
        ("A5s-A2o", "Cannot read range"),
        ("22+3", "Cannot read range"),
        ("AsKx", "Unknown card 'Kx'"),
        ("AsAs", "Card 'As' stands twice"),
        ("AKs:150", "Bad weight '150' in 'AKs:150'"),
        ("AKs:101%", "Bad weight '101%'"),
        ("JJ:50,TT:0.5", "weighs 'JJ:50' in per cent and 'TT:0.5' in shares or per cent"),
        ("JJ:50,TT:1", "weighs 'JJ:50' in per cent and 'TT:1' in shares or per cent"),
        ("[50]JJ", r"'\[50\]' in range '\[50\]JJ' is not closed"),
        ("[50]JJ[/40]", r"'\[/40\]' in range '\[50\]JJ\[/40\]' opens or closes no group"),
        ("JJ[/50]", "opens or closes no group"),
        ("[50][40]JJ[/40][/50]", "opens or closes no group"),
        ("[50]JJ:0.5[/50]", "'JJ:0.5' in range .* has a weight inside the brackets"),
        ("[half]JJ[/half]", r"Bad weight 'half%' in '\[half\]'"),
        ("[50]JJ[/50],JJ", r"names JdJc twice, by '\[50\]JJ' and by 'JJ'"),
        ("AA\nKx", "Cannot read 'Kx' in range 'AA Kx'"),
        ("AA\n:2x", "Bad weight '2x' in 'AA:2x'"),
        ("AsKx\n", "Unknown card 'Kx'"),
        ("A" * 500, "Cannot read range 'A{57}\\.\\.\\.': write"),
        ("AKs:-0.1", "Bad weight"),
        ("AKs:nan", "Bad weight 'nan'"),
        ("AKs:", "Bad weight ''"),
        ("22+,AA:0.5", "names AdAc twice, by '22\\+' and by 'AA:0.5'"),
        ("AKs:0", "has no hand with a weight above 0"),
        ("AsKs", "no hand with a weight above 0 on the board AsKd7h2c3d"),
    ],
)
def test_bad_ranges_are_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        parse_range(text, BOARD)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "QJs:0.4,TT",
        "QJs@0.4,TT",
        "QJs: 0.4, TT: 1.0,",  # TexasSolver
        "QJs:40,TT:100",
        "QJs@40,TT@100",
        "QJs:40%,TT",
        "[40.0]QJs[/40.0],TT",  # GTO+
        "[40]QcJc,QdJd,QhJh,QsJs[/40],TT",
        "TT;QJs:0.4\n",
    ],
)
def test_the_notations_of_other_solvers_are_one_range(text: str) -> None:
    weights = np.zeros(HAND_COUNT)
    weights[[h for h in range(HAND_COUNT) if set(format_hand(h)[::2]) == {"T"}]] = 1.0
    weights[[hand_index(*parse_cards(f"Q{suit}J{suit}")) for suit in "cdhs"]] = 0.4
    np.testing.assert_allclose(parse_range(text), weights, atol=1e-15)


def test_piosolvers_numbers_are_weights_in_the_order_of_its_hands() -> None:
    # Its show_hand_order begins so.
    order = "2d2c 2h2c 2h2d 2s2c 2s2d 2s2h 3c2c 3c2d 3c2h 3c2s 3d2c 3d2d 3d2h 3d2s 3d3c 3h2c"
    assert [format_hand(hand) for hand in range(16)] == order.split()
    weights = np.random.default_rng(0).random(HAND_COUNT).round(3)
    assert (parse_range("\n".join(map(str, weights))) == weights).all()
    with pytest.raises(ValueError, match=r"Bad weight '1\.5'"):
        parse_range(" ".join(["1.5"] * HAND_COUNT))


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.one_of(st.sampled_from(hand_classes()), st.integers(0, HAND_COUNT - 1).map(format_hand)),
        st.floats(0.001, 1.0),
        min_size=1,
        max_size=12,
    )
)
def test_a_formatted_range_reads_back_the_same(named: dict[str, float]) -> None:
    weights = np.zeros(HAND_COUNT)
    for name, weight in named.items():
        weights[parse_range(name) > 0] = weight
    assert (parse_range(format_range(weights)) == weights).all()
