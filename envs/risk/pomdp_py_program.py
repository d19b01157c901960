"""A POMDP and a policy as one Python file for pomdp_py, which plays without Tenfold.

pomdp_py (Zheng and Tellex, 2020) has no files of its own for models or policies, so this is a
program: tables as JSON, and pomdp_py's classes over them. Imported, it gives `problem` and
`ControllerPlanner`; as a command it plays episodes. A state is (step, hidden state), for
probabilities may change with the step. Nothing in it but numbers comes from the task.
"""

import json

import numpy as np

from tenfold.envs.risk.controller import Controller
from tenfold.envs.risk.mdp import TabularMDP
from tenfold.envs.risk.pomdp import TabularPOMDP

_PROGRAM = '''"""A policy that Tenfold made for {about}, with pomdp_py.

    python {file} [EPISODES] [SEED]

plays episodes and prints the mean return. `problem(rng)` gives an agent, its environment and the
first observation; `ControllerPlanner` acts. Returns are in the task's own unit.
"""

import json
import random
import sys

import pomdp_py

TABLES = json.loads("""
{tables}
""")
H = TABLES["steps"]


def table(name, h):
    """A step's part of a table; one that is the same at every step is there once."""
    return TABLES[name][h % len(TABLES[name])]


class State(pomdp_py.State):
    def __init__(self, h, s):
        self.h, self.s = h, s

    def __eq__(self, other):
        return isinstance(other, State) and (self.h, self.s) == (other.h, other.s)

    def __hash__(self):
        return hash((self.h, self.s))

    def __repr__(self):
        return f"State(h={{self.h}}, s={{self.s}})"


class Action(pomdp_py.SimpleAction):
    def __init__(self, number):
        super().__init__(f"action {{number}}")
        self.number = number


class Observation(pomdp_py.SimpleObservation):
    def __init__(self, number):
        super().__init__(number)


class Transitions(pomdp_py.TransitionModel):
    def __init__(self, rng):
        self.rng = rng

    def probability(self, after, state, action):
        if after.h != state.h + 1:
            return 0.0
        return table("transitions", state.h)[state.s][action.number][after.s]

    def sample(self, state, action):
        chances = table("transitions", state.h)[state.s][action.number]
        return State(state.h + 1, self.rng.choices(range(len(chances)), chances)[0])


class Sights(pomdp_py.ObservationModel):
    def __init__(self, rng):
        self.rng = rng

    def probability(self, observation, state, action):
        return table("emissions", state.h)[state.s][observation.data] if state.h < H else 0.0

    def sample(self, state, action):
        chances = table("emissions", min(state.h, H - 1))[state.s]
        return Observation(self.rng.choices(range(len(chances)), chances)[0])


class Rewards(pomdp_py.RewardModel):
    def sample(self, state, action, after):
        return table("rewards", state.h)[state.s][action.number]


class Actions(pomdp_py.RolloutPolicy):
    """All actions, for planners of pomdp_py's own."""

    def get_all_actions(self, state=None, history=None):
        return [Action(a) for a in range(TABLES["actions"])]

    def sample(self, state):
        return random.choice(self.get_all_actions())

    def rollout(self, state, history=None):
        return random.choice(self.get_all_actions())


class ControllerPlanner(pomdp_py.Planner):
    """The policy: a node of each step, moved by what is observed."""

    def __init__(self, first_observation):
        self.h, self.node = 0, TABLES["start"][first_observation.data]

    def plan(self, agent):
        return Action(TABLES["policy"][self.h][self.node])

    def update(self, agent, action, observation):
        if self.h < H - 1:
            self.node = TABLES["successors"][self.h][self.node][observation.data]
        self.h += 1


def problem(rng):
    """An agent, its environment, and what is observed before the first action."""
    chances = TABLES["initial"]
    first = State(0, rng.choices(range(len(chances)), chances)[0])
    transitions, sights, rewards = Transitions(rng), Sights(rng), Rewards()
    belief = pomdp_py.Histogram({{State(0, s): p for s, p in enumerate(chances) if p > 0.0}})
    agent = pomdp_py.Agent(belief, Actions(), transitions, sights, rewards)
    return agent, pomdp_py.Environment(first, transitions, rewards), sights.sample(first, None)


def play(rng):
    """The return of an episode."""
    agent, env, seen = problem(rng)
    planner, total = ControllerPlanner(seen), 0.0
    for _ in range(H):
        action = planner.plan(agent)
        total += env.state_transition(action, execute=True)
        observation = agent.observation_model.sample(env.state, action)
        agent.update_history(action, observation)
        planner.update(agent, action, observation)
    return total


if __name__ == "__main__":
    episodes, seed = ([int(word) for word in sys.argv[1:]] + [1000, 0][len(sys.argv) - 1 :])[:2]
    numbers = random.Random(seed)
    returns = [play(numbers) for _ in range(episodes)]
    mean = sum(returns) / episodes
    spread = (sum((each - mean) ** 2 for each in returns) / max(1, episodes - 1)) ** 0.5
    error = spread / episodes**0.5
    print(f"mean return {{mean:.6g}} (standard error {{error:.2g}}), {{episodes}} episodes")
'''


def pomdp_py_program(pomdp: TabularPOMDP, policy: Controller, about: str, file: str) -> str:
    """The text of the program.

    Args:
        pomdp: The model.
        policy: The policy.
        about: Task and checkpoint, for its first line.
        file: Its name, for the same.
    """
    # The offset of the user's unit, in equal parts.
    rewards = pomdp.unit.span * pomdp.rewards + pomdp.unit.offset / pomdp.H
    tables = {
        "steps": pomdp.H,
        "actions": pomdp.A,
        "initial": pomdp.initial.tolist(),
        "transitions": _once(pomdp.transitions),
        "emissions": _once(pomdp.emissions),
        "rewards": _once(rewards),
        "start": policy.start.tolist(),
        "policy": [actions.tolist() for actions in policy.actions],
        "successors": [nodes.tolist() for nodes in policy.successors],
    }
    lines = (f'"{key}": {json.dumps(value)}' for key, value in tables.items())
    named = " ".join(about.replace("\\", "/").replace('"', "'").split())
    return _PROGRAM.format(about=named, file=file, tables="{" + ",\n".join(lines) + "}")


def observed(mdp: TabularMDP) -> TabularPOMDP:
    """An MDP as a POMDP whose observation is the state."""
    sees = np.repeat(np.eye(mdp.S)[None], mdp.H, axis=0)
    return TabularPOMDP(mdp.transitions, sees, mdp.rewards, mdp.initial, mdp.unit)


def of_states(policy: np.ndarray) -> Controller:
    """A policy (H, S) of an MDP as a controller whose node is the state that was seen."""
    H, S = policy.shape
    moves = np.repeat(np.arange(S)[None], S, axis=0)
    return Controller(np.arange(S), list(policy), [moves] * (H - 1))


def _once(table: np.ndarray) -> list[list[float]]:
    """The steps of a table (H, ...), or the one that all are like."""
    same = bool((table == table[0]).all())
    listed: list[list[float]] = (table[:1] if same else table).tolist()
    return listed
