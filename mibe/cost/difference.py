"""What `mibe plan` says beforehand, beside what was measured: a document of the same tasks, asked the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mibe.cost.figures import Cost
from mibe.errors import UsageError
from mibe.forecast.amounts import Throughput
from mibe.forecast.hardware import GIB, Fleet
from mibe.forecast.prompts import Forecast, forecast
from mibe.models.pricing import Usage
from mibe.own.recorded import KEY as OWN
from mibe.run.settings import settings_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One figure as planned and as measured, of a document where it is not memory; None: not planned, not measured."""

    figure: str
    planned: float | None
    measured: float | None

    @property
    def difference(self) -> float | None:
        """Measured minus planned."""
        return None if self.planned is None or self.measured is None else self.measured - self.planned


def plan_for(cost: Cost, **arguments: Any) -> Forecast:
    """The plan of a run at the throughput that was measured; `arguments` are those of `mibe.forecast.prompts.forecast`.

    Raises as that does.
    """
    rate = cost.levels[-1].tokens_per_second if cost.levels else None
    return forecast(
        fleet=Fleet(gpus=1, per_copy=1),
        gpu_bytes=80 * GIB,
        throughput=None if rate is None else Throughput(prefill=rate, decode=rate),
        **arguments,
    )


def plan_of(
    record: Mapping[str, Any],
    cost: Cost,
    tasks: Sequence[str],
    *,
    model: str | None = None,
    model_args: Mapping[str, str] | None = None,
) -> Forecast:
    """The plan of a run that was made: its tasks, settings and documents. `model` is whose tokenizer counts, if any.

    Raises as `plan_for`, and `UsageError` for tables of the user's own, whose file the plan has to be given.
    """
    if own := [name for name in tasks if name in record.get(OWN, {})]:
        raise UsageError(f"{own[0]} is your own table: mibe plan --data FILE plans it; leave out --plan")
    return plan_for(cost, tasks=tasks, model=model, model_args=model_args, **settings_in(record))


def differences(cost: Cost, plan: Forecast) -> tuple[Line, ...]:
    """The figures that a plan has, beside those that were measured."""
    samples = sum(tally.samples for tally in plan.tallies)
    read = sum(tally.prompt_tokens for tally in plan.tallies) / samples
    written = sum(each.new_tokens for each in plan.costs) / samples
    usage = Usage(prompt=round(read), completion=round(written))
    seconds = cost.levels[-1].seconds if cost.levels else None
    peak = cost.memory.peak
    return (
        Line(figure="prompt tokens", planned=read, measured=cost.prompt_tokens),
        Line(figure="new tokens", planned=written, measured=cost.new_tokens),
        Line(
            figure="seconds, at the tokens a second measured here",
            planned=None if plan.seconds is None else plan.seconds / samples,
            measured=seconds,
        ),
        Line(
            figure="memory in GiB: weights as planned, peak as measured",
            planned=None if cost.weights is None else cost.weights / GIB,
            measured=None if peak is None else peak / GIB,
        ),
        Line(figure="USD", planned=None if cost.price is None else cost.price.of(usage), measured=cost.usd),
    )
