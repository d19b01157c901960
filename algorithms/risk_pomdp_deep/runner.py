"""A runner that gives whole episodes, whose hidden states and utility are known at their end.

RLlib carries a recurrent module's state from step to step, starts it anew with every episode and
stores it in the episodes. Its `batch_mode = "complete_episodes"` is not used: with a seed it resets
the environments to that seed for every batch, so that the same chances come again and again, and of
several environments it keeps the first episodes that end, so too many short ones.
"""

from typing import Any

from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.annotations import override


class WholeEpisodesRunner(SingleAgentEnvRunner):
    """Keeps what an unfinished episode has so far until the rest comes, and then gives it all.

    Every episode is given once, however long it is. The steps of one that began before an update
    hold the probabilities that they were drawn with, which PPO's ratios are of.
    """

    def __init__(self, **kwargs: Any) -> None:
        self.begun: dict[str, SingleAgentEpisode] = {}
        super().__init__(**kwargs)

    @override(SingleAgentEnvRunner)
    def make_env(self) -> None:
        """Environments that show what the agent's memory needs."""
        self.config.env_config = {**self.config.env_config, **self.config.memory_fields()}
        super().make_env()

    @override(SingleAgentEnvRunner)
    def sample(self, **kwargs: Any) -> list[SingleAgentEpisode]:
        """Episodes that have come to their end; none if no environment's has."""
        if kwargs.get("num_episodes") is not None or kwargs.get("force_reset"):
            self.begun.clear()
        ended = []
        for chunk in super().sample(**kwargs):
            episode = self._joined(chunk)
            if episode.is_done:
                ended.append(episode)
            else:
                self.begun[episode.id_] = episode
        return ended

    def _joined(self, chunk: SingleAgentEpisode) -> SingleAgentEpisode:
        begun = self.begun.pop(chunk.id_, None)
        if begun is not None:
            begun.concat_episode(chunk)
            return begun
        # RLlib's metrics keep an unfinished chunk as it is, so what grows is a copy.
        return chunk if chunk.is_done else SingleAgentEpisode.from_state(chunk.get_state())
