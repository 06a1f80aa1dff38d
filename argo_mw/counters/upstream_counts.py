"""What upstreams did for the calls of one operation, as mergeable values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import define, field

from argo_mw.base.histogram import Histogram
from argo_mw.counters.plain_data import grown, list_of, mapping_of, numbers_of


@define
class ModelCounts:
    """What one model of an upstream did for the calls of one operation.

    Attributes:
        durations: Seconds from sending a request to the end of its answer, that of a stream
            included, by the class of the error that it ended in; "" is none.
        first_chunks: Seconds from sending a request to the first piece of its answer, of streams.
        tokens_in: Tokens sent, those from and to the upstream's own cache included.
        tokens_out: Tokens received, those of reasoning included.
        tokens_cached: Those of *tokens_in* that the upstream read from its own cache.
        tokens_written: Those of *tokens_in* that it wrote to that cache.
        tokens_reasoned: Those of *tokens_out* that the model has reasoned with.
        usd: US dollars, of the answers whose price is known.
    """

    durations: dict[str, Histogram] = field(factory=dict)
    first_chunks: Histogram = field(factory=Histogram)
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    tokens_written: int = 0
    tokens_reasoned: int = 0
    usd: float = 0.0

    def add(self, other: ModelCounts) -> None:
        """Count what *other* has counted, too."""
        for name in _OF_MODELS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.first_chunks.merge(other.first_chunks)
        for error, durations in other.durations.items():
            self.durations.setdefault(error, Histogram()).merge(durations)

    def since(self, before: ModelCounts) -> ModelCounts:
        """Return what was counted after *before*, an earlier state of these counts."""
        durations = {
            error: one.since(before.durations.get(error) or Histogram())
            for error, one in self.durations.items()
        }
        found = ModelCounts(durations, self.first_chunks.since(before.first_chunks))
        for name in _OF_MODELS:
            setattr(found, name, max(0, getattr(self, name) - getattr(before, name)))
        return found

    def as_data(self) -> dict[str, object]:
        """Return it as plain data, from which :meth:`of_data` makes it again."""
        return {
            **{name: getattr(self, name) for name in _OF_MODELS},
            "first_chunks": self.first_chunks.as_data(),
            "durations": {error: one.as_data() for error, one in self.durations.items()},
        }

    @classmethod
    def of_data(cls, data: object) -> ModelCounts:
        """Return the counts that *data* describes; numbers that it lacks are 0.

        Raises:
            ValueError: It is not such data.
        """
        try:
            fields = mapping_of(data)
            made = cls(
                {
                    error: Histogram.of_data(list_of(one))
                    for error, one in mapping_of(fields["durations"]).items()
                },
                Histogram.of_data(list_of(fields["first_chunks"])),
                **_numbers(fields, _OF_MODELS),
            )
        except (KeyError, TypeError) as error:
            msg = "these are not counts of a model"
            raise ValueError(msg) from error
        return made


@define
class UpstreamCounts:
    """What one upstream did for the calls of one operation.

    Attributes:
        ended: How many attempts ended in each way: ``ok``, ``absent`` where the upstream says that
            there is nothing, ``rejected``, ``failed``, ``refused`` by a guard, ``timeout``, or
            ``cancelled``, such as one that lost a race.
        latency: Seconds from an attempt to its acceptable answer.
        usd: US dollars, of the requests whose price is known.
        unpriced: Calls whose requests have no known price.
        models: What each model did, of operations that ask language models.
        tasks: What each model did where the task was not to answer a conversation, by the task,
            such as ``embeddings``; these are not among *models*.
    """

    ended: dict[str, int] = field(factory=dict)
    latency: Histogram = field(factory=Histogram)
    usd: float = 0.0
    unpriced: int = 0
    models: dict[str, ModelCounts] = field(factory=dict)
    tasks: dict[str, dict[str, ModelCounts]] = field(factory=dict)

    @property
    def failures(self) -> int:
        """How many attempts the upstream is to blame for: rejected, failed and late ones."""
        return sum(self.ended.get(status, 0) for status in ("rejected", "failed", "timeout"))

    def by_task(self) -> Iterator[tuple[str, Mapping[str, ModelCounts]]]:
        """Yield what each model did, by its task; "" is to answer a conversation."""
        yield "", self.models
        yield from self.tasks.items()

    def add(self, other: UpstreamCounts) -> None:
        """Count what *other* has counted, too."""
        for status, count in other.ended.items():
            self.ended[status] = self.ended.get(status, 0) + count
        self.latency.merge(other.latency)
        self.usd += other.usd
        self.unpriced += other.unpriced
        _add(self.models, other.models)
        for task, models in other.tasks.items():
            _add(self.tasks.setdefault(task, {}), models)

    def since(self, before: UpstreamCounts) -> UpstreamCounts:
        """Return what was counted after *before*, an earlier state of these counts."""
        return UpstreamCounts(
            grown(self.ended, before.ended),
            self.latency.since(before.latency),
            max(0.0, self.usd - before.usd),
            max(0, self.unpriced - before.unpriced),
            _since(self.models, before.models),
            {
                task: _since(models, before.tasks.get(task) or {})
                for task, models in self.tasks.items()
            },
        )

    def as_data(self) -> dict[str, object]:
        """Return it as plain data, from which :meth:`of_data` makes it again."""
        return {
            "ended": dict(self.ended),
            "latency": self.latency.as_data(),
            "usd": self.usd,
            "unpriced": self.unpriced,
            "models": _as_data(self.models),
            "tasks": {task: _as_data(models) for task, models in self.tasks.items()},
        }

    @classmethod
    def of_data(cls, data: object) -> UpstreamCounts:
        """Return the counts that *data* describes; numbers that it lacks are 0.

        Raises:
            ValueError: It is not such data.
        """
        try:
            fields = mapping_of(data)
            ended = mapping_of(fields["ended"])
            costs = _numbers(fields, ("usd", "unpriced"))
            made = cls(
                {status: count for status, count in ended.items() if type(count) is int},
                Histogram.of_data(list_of(fields["latency"])),
                costs["usd"],
                costs["unpriced"],
            )
            made.models = _of_data(fields.get("models", {}))
            for task, models in mapping_of(fields.get("tasks", {})).items():
                made.tasks[task] = _of_data(models)
        except (KeyError, TypeError) as error:
            msg = "these are not counts of an upstream"
            raise ValueError(msg) from error
        return made


def _add(models: dict[str, ModelCounts], others: Mapping[str, ModelCounts]) -> None:
    for model, counts in others.items():
        models.setdefault(model, ModelCounts()).add(counts)


def _since(
    models: Mapping[str, ModelCounts], before: Mapping[str, ModelCounts]
) -> dict[str, ModelCounts]:
    return {
        model: counts.since(before.get(model) or ModelCounts()) for model, counts in models.items()
    }


def _as_data(models: Mapping[str, ModelCounts]) -> dict[str, object]:
    return {model: one.as_data() for model, one in models.items()}


def _of_data(data: object) -> dict[str, ModelCounts]:
    return {model: ModelCounts.of_data(counts) for model, counts in mapping_of(data).items()}


_OF_MODELS = (
    "tokens_in",
    "tokens_out",
    "tokens_cached",
    "tokens_written",
    "tokens_reasoned",
    "usd",
)


def _numbers(fields: Mapping[str, object], names: Iterable[str]) -> dict[str, Any]:
    return numbers_of({name: fields.get(name, 0) for name in names})
