"""How long what took: stages of a run, and the bars of its timeline."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kubestrap.model.events import TaskFinished


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One role's share of a run."""

    name: str
    seconds: float
    changed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One stage on one host: a bar of the timeline. Times are seconds since 1970."""

    host: str
    stage: str
    started: float
    ended: float
    failed: bool = False


def stages(finished: Sequence[TaskFinished]) -> tuple[Stage, ...]:
    """Return the stages in the order they began; a stage that comes back later adds to its first entry."""
    seconds: dict[str, float] = {}
    changed: Counter[str] = Counter()
    name, began, ended = "", 0.0, 0.0
    for event in finished:
        if event.stage != name:
            if name:
                seconds[name] = seconds.get(name, 0.0) + ended - began
            name, began, ended = event.stage, event.started, event.ended
        began, ended = min(began, event.started), max(ended, event.ended)
        changed[event.stage] += event.outcome == "changed"
    if name:
        seconds[name] = seconds.get(name, 0.0) + ended - began
    return tuple(Stage(name=stage, seconds=duration, changed=changed[stage]) for stage, duration in seconds.items())


def spans(finished: Sequence[TaskFinished]) -> tuple[Span, ...]:
    """Return the bars of the timeline: consecutive tasks of one stage on one host are one bar."""
    bars: list[Span] = []
    open_bars: dict[str, int] = {}
    for event in finished:
        index = open_bars.get(event.host)
        failed = event.outcome in {"failed", "unreachable"}
        if index is not None and bars[index].stage == event.stage:
            before = bars[index]
            bars[index] = Span(
                host=event.host,
                stage=event.stage,
                started=before.started,
                ended=max(before.ended, event.ended),
                failed=before.failed or failed,
            )
        else:
            open_bars[event.host] = len(bars)
            bars.append(
                Span(host=event.host, stage=event.stage, started=event.started, ended=event.ended, failed=failed)
            )
    return tuple(bars)
