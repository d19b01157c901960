"""A trial: the method's trainable, built from a point of an experiment.

Beside the method's own result a trial reports `SCORE`, what searches and schedulers compare: the
score as the method declares it, or the worst there is while the metric is not finite. It ends by
the experiment's stopping rule, which is asked here and not by Tune, so that a resumed trial follows
the present rule and not the one it was started with. Where the metric is of evaluations that
RLlib makes at intervals, the first and the last iteration have one too.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import tune
from ray.rllib.utils.metrics import EVALUATION_RESULTS
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.result import DONE, RESULT_DUPLICATE

from tenfold.platform.checkpoints import complete, history_of, result_of, to_go_on_from
from tenfold.platform.configuration import build_config, flatten
from tenfold.platform.machine import SYSTEM, Machine
from tenfold.platform.score import checkpoint_score, search_score
from tenfold.platform.study import Study

SCORE = "score"
NOTICE = "notice"  # a sentence for the user, in the first result after what it is about
CHECKPOINT_SCORE = "checkpoint_score"  # by which Tune keeps checkpoints


def trial_class(study: Study) -> type[tune.Trainable]:
    """The method's trainable, taking a point of the study."""
    experiment, method = study.experiment, study.method
    base: type[tune.Trainable] = method.load_trainable()
    stop = experiment.stopping_rule()

    def reached(flat: Mapping[str, Any]) -> bool:
        return any(flat.get(key, -math.inf) >= value for key, value in stop.items())

    class Trial(base):
        def __init__(self, config: Mapping[str, Any], **kwargs: Any) -> None:
            self._history: list[tuple[float, float]] = []
            self._restored_result: dict[str, Any] = {}
            self._notice: str | None = None
            self._machine = Machine() if experiment.system_metrics else None
            at = study.point(config)  # its own config: an algorithm freezes what it is given
            built = build_config(method, at.task, at.variant, at.overrides, at.seed)
            super().__init__(built, **kwargs)

        @classmethod
        def default_resource_request(cls, config: Mapping[str, Any]) -> Any:
            return base.default_resource_request(study.config(study.point(config)).to_dict())

        def train(self) -> dict[str, Any]:
            """One iteration; none if the trial had ended when it was saved.

            A driver that is killed before it notes a trial's end restores the trial at its end. So
            does a longer stopping rule with what has ended by itself.
            """
            if getattr(self, "finished", None) is not None and self.finished():
                return {RESULT_DUPLICATE: True, DONE: True}
            restored, self._restored_result = self._restored_result, {}
            notice, self._notice = self._notice, None
            told = {} if notice is None else {NOTICE: notice}
            if reached(restored):
                return {**restored, **told, DONE: True}
            result: dict[str, Any] = super().train()
            result.update(told)
            if self._machine is not None:
                result[SYSTEM] = self._machine.metrics()
            flat = flatten(result, separator="/")
            result[DONE] = bool(result.get(DONE)) or reached(flat)
            if method.metric.startswith(f"{EVALUATION_RESULTS}/"):
                self._see_to_evaluation(result)
                flat = flatten(result, separator="/")
            if flat.get(method.metric) is not None and not is_empty_mean(flat, method.metric):
                step = float(flat[method.step_metric])
                self._history.append((step, float(flat[method.metric])))
            if self._history:  # an iteration without an episode keeps the last score
                result[SCORE] = search_score(self._history, method)
            result[CHECKPOINT_SCORE] = checkpoint_score(self._history, method)
            return result

        def _see_to_evaluation(self, result: dict[str, Any]) -> None:
            """Have a result hold an evaluation of its own iteration or none.

            RLlib repeats the last one in the next result, and gives NaN in those that follow.
            """
            interval = self.config.evaluation_interval
            if interval and self.training_iteration % interval:
                result.pop(EVALUATION_RESULTS, None)
                if result[DONE] or not self._history:
                    result[EVALUATION_RESULTS] = self.evaluate()

        def save_checkpoint(self, checkpoint_dir: str) -> Any:
            saved = super().save_checkpoint(checkpoint_dir)
            complete(Path(checkpoint_dir), self._history, self._last_result)
            return saved

        def load_checkpoint(self, checkpoint: Any) -> None:
            folder = Path(str(checkpoint))
            self._history = history_of(folder)
            self._last_result = self._restored_result = result_of(folder)
            super().load_checkpoint(checkpoint)

        def reset_config(self, new_config: Mapping[str, Any]) -> bool:
            """Become another trial in the same process, whose imports cost seconds."""
            self.cleanup()
            Trial.__init__(self, new_config, storage=self._storage)
            return True

        def restore(self, checkpoint_path: Any) -> None:
            saved = experiment.checkpoint
            # Beside the best checkpoints only the newest is sure to be there.
            newest = saved.keep if method.cumulative else 1
            chosen, self._notice = to_go_on_from(checkpoint_path, saved.every, newest)
            if chosen is not None:
                super().restore(chosen)

    Trial.__name__ = Trial.__qualname__ = method.name
    return Trial


def has_ended(trial: TuneTrial) -> bool:
    """Whether a trial came to its end; Tune calls those finished, too, that Ctrl-C cut off."""
    return trial.status == TuneTrial.ERROR or bool((trial.last_result or {}).get(DONE))


def is_empty_mean(flat: Mapping[str, Any], key: str) -> bool:
    """Whether a metric is RLlib's NaN for a mean over the episodes of which none has ended."""
    no_episode = not flat.get("env_runners/num_episodes")
    return key.startswith("env_runners/") and no_episode and math.isnan(flat[key])
