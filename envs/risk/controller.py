"""Finite-state controllers of finite-horizon POMDPs: policies that remember a node, not a history.

A controller is written and read as JSON, with nothing but numbers in it.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Controller:
    """A policy whose memory is a node of each step.

    Attributes:
        start: Node at step 0 for each first observation, (O,) int.
        actions: Action of each node by step, H arrays (nodes_h,) int.
        successors: Node of the next step by node and observation, H - 1 arrays (nodes_h, O) int.

    Raises:
        ValueError: Arrays that do not fit, or a node that does not exist.
    """

    start: np.ndarray
    actions: list[np.ndarray]
    successors: list[np.ndarray]

    def __post_init__(self) -> None:
        if len(self.successors) != len(self.actions) - 1:
            raise ValueError(
                f"'successors' must have one entry less than 'actions' ({len(self.actions)}), not "
                f"{len(self.successors)}."
            )
        for h, nodes in enumerate([self.start[None], *self.successors]):
            wanted = (1 if h == 0 else len(self.actions[h - 1]), len(self.start))
            if nodes.shape != wanted:
                raise ValueError(
                    f"Nodes before step {h} must be of shape {wanted}, not {nodes.shape}."
                )
            if nodes.min() < 0 or nodes.max() >= len(self.actions[h]):
                raise ValueError(f"A node of step {h} is not one of its {len(self.actions[h])}.")

    def __iter__(self) -> Iterator[np.ndarray]:
        """All its arrays, as of a policy of histories."""
        return iter([self.start, *self.actions, *self.successors])

    @property
    def H(self) -> int:
        """Steps of an episode."""
        return len(self.actions)

    @property
    def nodes(self) -> int:
        """Nodes of all steps."""
        return sum(len(actions) for actions in self.actions)

    @classmethod
    def of_histories(cls, policy: Sequence[np.ndarray], O: int) -> "Controller":  # noqa: E741
        """The smallest controller that acts as a policy of histories does (see `HistoryPolicy`).

        From the last step on, histories after which all actions are the same become one node.

        Args:
            policy: Actions of all histories by step.
            O: Number of observations.
        """
        nodes: list[np.ndarray] = [np.unique(policy[-1])[:, None]]  # rows (action, successors)
        index = np.searchsorted(nodes[0][:, 0], policy[-1])
        for actions in policy[-2::-1]:
            after = index.reshape(len(actions), -1, O)[np.arange(len(actions)), actions]
            rows, index = np.unique(np.column_stack([actions, after]), axis=0, return_inverse=True)
            nodes.append(rows)
        nodes.reverse()
        whole = cls(index.reshape(-1), [n[:, 0] for n in nodes], [n[:, 1:] for n in nodes[:-1]])
        return whole.reachable()

    def reachable(self) -> "Controller":
        """The same policy without nodes that no observations lead to."""
        kept, index = np.unique(self.start, return_inverse=True)
        start, actions, successors = index, [], []
        for h in range(self.H):
            actions.append(self.actions[h][kept])
            if h < self.H - 1:
                after = self.successors[h][kept]
                kept, index = np.unique(after, return_inverse=True)
                successors.append(index.reshape(after.shape))
        return Controller(start, actions, successors)

    def to_json(self) -> str:
        """The controller as text."""
        return json.dumps(
            {
                "start": self.start.tolist(),
                "actions": [actions.tolist() for actions in self.actions],
                "successors": [nodes.tolist() for nodes in self.successors],
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "Controller":
        """Read what `to_json` wrote.

        Raises:
            ValueError: It is not a controller.
        """
        try:
            read = json.loads(text)
            start = np.array(read["start"], dtype=np.int64)
            actions = [np.array(each, dtype=np.int64) for each in read["actions"]]
            successors = [np.array(each, dtype=np.int64) for each in read["successors"]]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                "A controller is a JSON object of whole numbers: 'start', 'actions', 'successors'."
            ) from error
        return cls(start, actions, successors)
