"""Queue scheduling: one server, K queues, rates that change and are not known.

Scenarios are in `scenarios`, the batched simulator in `simulator`, Gymnasium's view of it in
`environment`; networks of several servers with known rates are in the modules `network*`. Importing
this package registers them as ``tenfold/Queues-v0`` and ``tenfold/QueueNetwork-v0``. README.md
tells the rest. Nothing heavy is imported here, since the command line reads `names`.
"""

from gymnasium.envs.registration import register

register(
    id="tenfold/Queues-v0",
    entry_point="tenfold.envs.queues.environment:QueuesEnv",
    vector_entry_point="tenfold.envs.queues.environment:QueuesVectorEnv",
)
register(
    id="tenfold/QueueNetwork-v0",
    entry_point="tenfold.envs.queues.network_environment:QueueNetworkEnv",
)
