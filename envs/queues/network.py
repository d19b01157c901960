"""Networks of queues with several servers, in continuous time: what is declared.

Jobs of K queues (classes) come from outside and from other queues; S pools of servers each may
serve some of the queues. A job that is served leaves its queue, goes to queue j with probability
`routing[i][j]`, and else leaves the network. QGym's YAML files (Chen et al., 2024) are read as they
are, where they say all and do not leave parts to code: `network`, `mu`, `h`, `lam_params`,
`server_pool_size`, `queue_event_options`, `init_queues`.
"""

from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, ValidationError
from pydantic import model_validator as check
from scipy.optimize import linprog

from tenfold.envs.queues.processes import Spec
from tenfold.envs.queues.scenario import explain, read_mapping

Amount = Annotated[float, Field(ge=0)]
Vector = Annotated[tuple[Amount, ...], Field(strict=False)]
Rows = Annotated[tuple[Vector, ...], Field(min_length=1, strict=False)]
Capacity = Annotated[int, Field(ge=1)]


class Network(Spec):
    """A declared network of K queues and S pools of servers. Fields that are None take the default.

    Attributes:
        name: As it is shown in tables.
        about: One sentence.
        lam: External arrivals of each queue in a unit of time (K,); renewal processes.
        mu: Jobs that one server of a pool ends in a unit of time, 0 where it cannot (S, K).
        servers: Servers of each pool (S,), by default 1.
        routing: Probability that a job served at i goes to j (K, K); else it leaves. By default all
            leave.
        h: Holding cost of a job in a unit of time (K,), by default 1.
        buffer: Most jobs of each queue, in service too (K,); who comes then is lost; None: any.
        arrival_scv: Squared coefficient of variation of the times between arrivals (K,): 0 is
            deterministic, 1 (the default) exponential, anything else gamma.
        service_scv: The same of the service times (K,).
        setup: Time that a server needs before it serves this queue when it served another (K,), by
            default 0; it serves meanwhile nobody, and its first job needs none.
        preemptive: Servers go over to another job whenever the priorities say so, and resume later;
            only with exponential services and without setups. Else a job that has begun is ended.
        start: Jobs of each queue at time 0 (K,), by default none.
    """

    name: str
    about: str = ""
    lam: Vector = Field(min_length=1)
    mu: Rows
    servers: Annotated[tuple[Capacity, ...], Field(strict=False)] | None = None
    routing: Rows | None = None
    h: Vector | None = None
    buffer: Annotated[tuple[Capacity | None, ...], Field(strict=False)] | None = None
    arrival_scv: Vector | None = None
    service_scv: Vector | None = None
    setup: Vector | None = None
    preemptive: bool = False
    start: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False)] | None = None

    @check(mode="after")
    def _sizes(self) -> "Network":
        vectors = ("h", "buffer", "arrival_scv", "service_scv", "setup", "start")
        for name in vectors:
            given = getattr(self, name)
            if given is not None and len(given) != self.K:
                raise ValueError(f"'{name}' needs {self.K} numbers as 'lam' has, not {len(given)}")
        for name, rows in (("mu", self.mu), ("routing", self.routing)):
            if any(len(row) != self.K for row in rows or ()):
                raise ValueError(f"each row of '{name}' needs {self.K} numbers as 'lam' has")
        if self.servers is not None and len(self.servers) != self.S:
            raise ValueError(f"'servers' needs {self.S} numbers, one a row of 'mu'")
        if self.routing is not None and len(self.routing) != self.K:
            raise ValueError(f"'routing' needs {self.K} rows, one a queue")
        if any(sum(row) > 1 + 1e-9 for row in self.routing or ()):
            raise ValueError("each row of 'routing' is probabilities, whose sum is at most 1")
        if self.routing is not None and not _leaves(np.array(self.routing)):
            raise ValueError("'routing' keeps some jobs for ever: let each leave sooner or later")
        return self

    @check(mode="after")
    def _moves(self) -> "Network":
        if not any(self.lam):
            raise ValueError("'lam' is 0 everywhere: let jobs come to some queue")
        idle = [i for i in range(self.K) if self.flows()[i] > 0 and not any(r[i] for r in self.mu)]
        if idle:
            raise ValueError(f"'mu' lets no pool serve queue {idle[0]}, to which jobs come")
        return self

    @check(mode="after")
    def _preemption(self) -> "Network":
        memory = any(scv != 1 for scv in self.service_scv or ()) or any(self.setup or ())
        if self.preemptive and memory:
            raise ValueError("'preemptive' needs exponential services (scv 1) and no setup")
        return self

    @property
    def K(self) -> int:
        """Number of queues."""
        return len(self.lam)

    @property
    def S(self) -> int:
        """Number of pools of servers."""
        return len(self.mu)

    @property
    def pool(self) -> np.ndarray:
        """Servers of each pool, int64 (S,)."""
        return np.array(self.servers or [1] * self.S, dtype=np.int64)

    @property
    def P(self) -> np.ndarray:
        """Routing probabilities (K, K)."""
        return np.zeros((self.K, self.K)) if self.routing is None else np.array(self.routing)

    @property
    def costs(self) -> np.ndarray:
        """Holding costs (K,)."""
        return np.ones(self.K) if self.h is None else np.array(self.h)

    @property
    def limits(self) -> np.ndarray:
        """Most jobs of each queue, infinite without a limit (K,)."""
        return np.array([inf if b is None else float(b) for b in self.buffer or [None] * self.K])

    def flows(self) -> np.ndarray:
        """Arrivals of each queue from outside and inside in a unit of time, were none lost (K,)."""
        flows: np.ndarray = np.linalg.solve(np.eye(self.K) - self.P.T, np.array(self.lam))
        return flows

    def load(self) -> float:
        """The busiest pool's utilisation under the best static allocation (Harrison, 2000).

        Below 1 some policy keeps a network without limits stable, above 1 none does.
        """
        mu, K, S = np.array(self.mu), self.K, self.S
        serve = np.zeros((K, S * K + 1))
        busy = np.zeros((S, S * K + 1))
        for s in range(S):
            for i in range(K):
                serve[i, s * K + i] = mu[s, i]
                busy[s, s * K + i] = 1.0
        busy[:, -1] = -self.pool
        cost = np.append(np.zeros(S * K), 1.0)
        found = linprog(cost, A_ub=busy, b_ub=np.zeros(S), A_eq=serve, b_eq=self.flows())
        return float(found.fun) if found.success else inf


def _leaves(routing: np.ndarray) -> bool:
    return float(np.abs(np.linalg.eigvals(routing)).max()) < 1 - 1e-9


def declare_network(declaration: Mapping[str, Any], where: str = "network") -> Network:
    """The network that a mapping declares, in our names or in QGym's.

    Raises:
        ValueError: One sentence that names the place and the value that is wrong there.
    """
    try:
        return Network.model_validate(_from_qgym(declaration))
    except ValidationError as error:
        raise ValueError(f"{where}: {explain(error)}") from None
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def read_network(path: str | Path) -> Network:
    """The network in a YAML file.

    Raises:
        ValueError: One sentence that names the file, and the place and value that are wrong there.
    """
    return declare_network(read_mapping(Path(path), _HOLDS), str(path))


_HOLDS = "a network is a mapping with the keys name, lam and mu"


def find_network(name: str) -> Network:
    """A network by its name in `NETWORKS`, or of a YAML file.

    Raises:
        ValueError: There is none; a file is refused.
    """
    if name.endswith((".yaml", ".yml")):
        return read_network(name)
    if name not in NETWORKS:
        raise ValueError(
            f"there is no network '{name}': choose one of {', '.join(NETWORKS)}, or a YAML file."
        )
    return NETWORKS[name]


# Keys of QGym's files that say nothing about the network itself.
_QGYM_ONLY = ("lam_type", "train_T", "test_T", "num_pool", "queue_event_options2", "env_type")


def _from_qgym(declaration: Mapping[str, Any]) -> dict[str, Any]:
    """QGym's keys in ours; what is in ours stays."""
    if "lam_params" not in declaration:
        return dict(declaration)
    found = dict(declaration)
    rates = found.pop("lam_params")
    if not isinstance(rates, Mapping) or not isinstance(rates.get("val"), list):
        raise ValueError("QGym's 'lam_params' is read with constant rates only: {val: [...]}.")
    if found.get("lam_type", "constant") != "constant":
        raise ValueError(f"QGym's 'lam_type' is read as constant only, not {found['lam_type']!r}.")
    for key in _QGYM_ONLY:
        found.pop(key, None)
    network, mu = found.pop("network", None), found.get("mu")
    events = found.pop("queue_event_options", None)
    if not isinstance(network, list) or not isinstance(mu, list) or isinstance(events, str):
        raise ValueError("QGym's 'network', 'mu' and 'queue_event_options' must be in the file.")
    if [len(row) for row in network] != [len(row) for row in mu]:
        raise ValueError("QGym's 'network' and 'mu' need as many rows, and rows as long.")
    # QGym decides anew at every event and lets a job resume.
    found |= {"lam": rates["val"], "preemptive": True}
    found["mu"] = [
        [rate if can else 0 for can, rate in zip(*rows, strict=True)]
        for rows in zip(network, mu, strict=True)
    ]
    found["servers"] = found.pop("server_pool_size", None)
    found["start"] = found.pop("init_queues", None)
    if events is not None:  # rows K ... 2 K - 1: what the end of a service changes
        found["routing"] = [
            [max(float(change), 0.0) for change in row] for row in events[len(found["lam"]) :]
        ]
    return found


NETWORKS = {
    each.name: each
    for each in (
        Network(
            name="parallel",
            about="One queue, three servers: M/M/3.",
            lam=(2.4,),
            mu=((1.0,),),
            servers=(3,),
        ),
        Network(
            name="tandem",
            about="Three stations in a row, the second with two servers (Jackson).",
            lam=(0.8, 0.0, 0.0),
            mu=((1.0, 0, 0), (0, 0.5, 0), (0, 0, 0.9)),
            servers=(1, 2, 1),
            routing=((0, 1, 0), (0, 0, 1), (0, 0, 0)),
        ),
        Network(
            name="n_model",
            about="Two classes, two servers, of which one serves both (Harrison, 1998).",
            lam=(0.38, 1.235),
            mu=((1.0, 0.5), (0.0, 1.0)),
            h=(1.0, 3.0),
            preemptive=True,
        ),
        Network(
            name="criss_cross",
            about="Two classes share a server, one goes on to a second (Harrison and Wein).",
            lam=(0.9, 0.0, 0.9),
            mu=((2.0, 0, 2.0), (0, 1.0, 0)),
            routing=((0, 1, 0), (0, 0, 0), (0, 0, 0)),
            preemptive=True,
        ),
        Network(
            name="rybko_stolyar",
            about="Two lines in opposite directions: priority to those that leave is unstable.",
            lam=(1.0, 0.0, 1.0, 0.0),
            mu=((10.0, 0, 0, 1.5), (0, 1.5, 10.0, 0)),
            routing=((0, 1, 0, 0), (0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 0, 0)),
            preemptive=True,
        ),
    )
}
