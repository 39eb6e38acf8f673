"""StreamModels: the models of a run and the detectors of privacy, each loaded once, and which stream each looks at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from framesift.models import Model, ModelLoadError, ReplaceableModel
from framesift.models import load as load_model
from framesift.models.health import ModelHealth
from framesift.policy.policy import Policy
from framesift.prediction.prediction import Task
from framesift.service.run_context import RunContext
from framesift.settings import ModelUse, PrivacyEntry
from framesift.strategies import StrategyOptions, class_name_problems, strategy_problems


@dataclass(frozen=True, eq=False)
class UsedModel:
    """A loaded model, and its use."""

    use: ModelUse
    model: Model

    @property
    def is_stub(self) -> bool:
        """Whether it says nothing of the frames, and is there until there is a model."""
        return self.use.settings.type == "stub"


class StreamModels:
    """The models of a run. Thread-safe; after the start nothing changes but what is in the place of a model."""

    def __init__(self, run: RunContext) -> None:
        """Load them. Raises ModelLoadError, which names the streams where there are several models."""
        self._run = run
        self._used: list[UsedModel] = []
        self._health: list[ModelHealth] = []
        self._detectors: list[tuple[UsedModel, ModelHealth]] = []
        self._places: dict[UsedModel, ReplaceableModel] = {}
        uses = run.settings.model_uses
        try:
            for use in uses:
                used, health = self._load(use, use.name if len(uses) > 1 else "")
                self._used.append(used)
                self._health.append(health)
            for use in run.settings.detector_uses:
                self._detectors.append(self._load(use, use.name))
        except ModelLoadError:
            self.close()
            raise

    def _load(self, use: ModelUse, called: str) -> tuple[UsedModel, ModelHealth]:
        """called: what the message of a ModelLoadError begins with."""
        try:
            place = ReplaceableModel(self.load(use))
        except ModelLoadError as error:
            raise (ModelLoadError(f"{called}: {error}") if called else error) from None
        used = UsedModel(use, place)
        self._places[used] = place
        return used, ModelHealth(self._run.telemetry.health, self._run.clock, use.name)

    def load(self, use: ModelUse) -> Model:
        """Load a model for a use, beside the one that is there. Raises ModelLoadError."""
        network = self._run.settings.network
        return load_model(
            use.settings, ca_file=network.ca_file, proxy=network.proxy_address, exchanges=self._run.exchanges
        )

    def replace(self, used: UsedModel, new: Model) -> None:
        """Put another model in the place of one; the old one is closed after its last prediction."""
        self._places[used].replace(new)

    def all(self) -> tuple[UsedModel, ...]:
        """All of them, also the detectors of privacy."""
        return (*self._used, *(used for used, _ in self._detectors))

    def __len__(self) -> int:
        return len(self._used) + len(self._detectors)

    @property
    def description(self) -> str | None:
        """The models in words, for the log; None without any."""
        texts = [used.model.description for used in self._used]
        if len(texts) > 1:
            texts = [f"{used.use.name}: {text}" for used, text in zip(self._used, texts, strict=True)]
        texts += [f"{used.use.name}: {used.model.description}" for used, _ in self._detectors]
        return "; ".join(texts) or None

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the classes of all models, each once, in their order; None if one does not say."""
        return class_names_of(self._used)

    @property
    def task(self) -> Task | None:
        """The task of all models; None if they have several, or one does not say."""
        tasks = {used.model.task for used in self._used}
        return tasks.pop() if len(tasks) == 1 else None

    def of(self, stream: str) -> tuple[Model, ModelHealth]:
        """Return what is shown the frames of a stream, and its health."""
        for used, health in zip(self._used, self._health, strict=True):
            if stream in used.use.streams:
                return used.model, health
        raise KeyError(stream)

    def detector_of(self, settings: PrivacyEntry) -> tuple[Model, ModelHealth] | None:
        """Return the detector that privacy names, and its health; None where it names none."""
        found = ((used.model, health) for used, health in self._detectors if used.use.settings == settings.detector)
        return next(found, None)

    def of_streams(self, streams: Sequence[str]) -> tuple[UsedModel, ...]:
        """Return the models that these streams use; all where no stream is named."""
        return tuple(used for used in self._used if not streams or set(streams) & set(used.use.streams))

    def check(self) -> None:
        """Set the health of each anew. To be called about once a second."""
        for health in (*self._health, *(health for _, health in self._detectors)):
            health.check()

    def failed_run_reason(self) -> str | None:
        """The reason why a run failed in which a model gave not one prediction; None for any other run."""
        return next((reason for health in self._health if (reason := health.failed_run_reason()) is not None), None)

    def close(self) -> None:
        """Close all."""
        for used in self.all():
            used.model.close()

    def closer(self, is_in_use: Callable[[], bool]) -> Callable[[float], None]:
        """Return what closes all, unless a model hangs: such a one can't be asked to close either."""
        return lambda _: None if is_in_use() else self.close()


def class_names_of(models: Sequence[UsedModel]) -> tuple[str, ...] | None:
    """Return the names of the classes of all models, each once, in their order; None if one does not say."""
    lists = [used.model.class_names for used in models]
    if not lists or None in lists:
        return None
    return tuple(dict.fromkeys(name for names in lists if names is not None for name in names))


def never_matching(strategies: Sequence[StrategyOptions], models: Sequence[UsedModel]) -> list[tuple[str, ...]]:
    """Return for each strategy why it can never match any of these models; nothing where it can match one of them."""
    return [_problems_with_all(strategy, models) for strategy in strategies]


def unknown_class_names(strategies: Sequence[StrategyOptions], models: Sequence[UsedModel]) -> tuple[str, ...]:
    """Return which strategies name classes of which none of these models has the names."""
    advices = [used.model.notes.class_names_advice for used in models]
    return class_name_problems(strategies, advices[0]) if advices and all(advices) else ()


def uncompared(policy: Policy, models: Sequence[UsedModel]) -> tuple[str, ...]:
    """Return which strategies know no near duplicates: they compare embeddings, and none of the models gives any."""
    if not models or any(used.model.gives_embeddings is not False for used in models):
        return ()
    found = ((strategy, policy.near_duplicate_of(strategy)) for strategy in policy.sampling_strategies)
    return tuple(
        f"strategy {strategy.name!r} ({strategy.type}): its near_duplicate compares embeddings, and the model gives "
        "none: it takes near duplicates too"
        for strategy, near_duplicate in found
        if near_duplicate is not None and near_duplicate.signature == "embedding"
    )


def _problems_with_all(strategy: StrategyOptions, models: Sequence[UsedModel]) -> tuple[str, ...]:
    found = [
        tuple(
            strategy_problems(
                (strategy,),
                used.model.task,
                used.model.class_names,
                stub=used.is_stub,
                class_names_advice=used.model.notes.class_names_advice,
                gives_embeddings=used.model.gives_embeddings,
            )
        )
        for used in models
    ]
    return found[0] if found and all(found) else ()
