"""A line: a run with its ancestors, root first, and all of it that is a function of a position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise

from pydantic import ValidationError

from ramify.ground.errors import BadInput, told
from ramify.optim.config import ScheduleFree
from ramify.optim.schedule import Schedule, decayed, rate
from ramify.tokens.path import Path, SourceSize
from ramify.train.steps import Cooldown, Cosine, Root, Run, Trunk


class Line:
    """The runs from a root to one run. Raises BadInput where a branch cannot leave its parent."""

    def __init__(self, runs: Sequence[Run]) -> None:
        root, *branches = runs
        if not isinstance(root, Root):
            raise BadInput(
                f"{root.name} has no root", hint="a line begins with a trunk or a cosine run"
            )
        self.root = root
        self.branches = tuple(run for run in branches if isinstance(run, Cooldown))
        self.run = runs[-1]
        if self.branches and self.is_schedule_free:
            raise BadInput(
                f"{self.branches[0].name} cools down off {root.name}, whose optimizer is "
                "schedule-free: its points are means of a line that never cools down",
                hint=f"evaluate the points of {root.name} as they are, or cool down off a trunk "
                "with optimizer=AdamW()",
            )
        self.schedule  # noqa: B018  # a branch that cannot leave where it says is refused here
        self._check_whole_steps()

    def _check_whole_steps(self) -> None:
        step = self.root.step_tokens
        for branch in self.branches:
            for what, tokens in (("leaves at", branch.leaves_at), ("ends at", branch.tokens)):
                if tokens % step:
                    raise BadInput(
                        f"{branch.name} {what} {tokens} tokens, within a step of {step}",
                        hint=f"give {tokens // step * step or step}",
                    )

    @cached_property
    def schedule(self) -> Schedule:
        """The learning rate of the whole line."""
        line: Schedule = self.root.schedule if isinstance(self.root, Trunk | Cosine) else None  # type: ignore[assignment]
        for branch in self.branches:
            try:
                line = branch.descent.leaving(
                    line,
                    leaves_at=branch.leaves_at,
                    ends_at=branch.tokens,
                    rewarm=branch.rewarm,
                )
            except ValidationError as error:
                raise BadInput(f"{branch.name}: {told(error)}") from error
        return line

    @property
    def is_schedule_free(self) -> bool:
        """Whether its points are means of the line, as of a schedule-free optimizer."""
        return isinstance(self.root.optimizer, ScheduleFree)

    @property
    def step_tokens(self) -> int:
        """Slots of one optimizer step."""
        return self.root.step_tokens

    @property
    def answer(self) -> tuple[object, ...]:
        """What its end answers, however it cools down: equal for ends of one root, budget and data."""
        mixtures = (tuple(sorted((branch.mixture or {}).items())) for branch in self.branches)
        return self.root.name, self.run.tokens, tuple(m for m in mixtures if m)

    @property
    def begins_at(self) -> int:
        """The token at which the run itself begins: where it leaves its parent, or 0."""
        return self.run.leaves_at if isinstance(self.run, Cooldown) else 0

    def rate(self, tokens: int) -> float:
        """Return the learning rate of the step that starts at `tokens`."""
        return rate(self.schedule, tokens)

    def decayed(self, tokens: int) -> bool:
        """Say whether the rate has come to the end of its descent at `tokens`."""
        return decayed(self.schedule, tokens)

    def mixture_at(self, tokens: int) -> dict[str, float]:
        """Return the mixture of the batch that begins at `tokens`."""
        for branch in reversed(self.branches):
            if tokens >= branch.leaves_at and branch.mixture is not None:
                return branch.mixture
            # a branch keeps what was in force in the step before it left, so that a stage that
            # begins just there can still be refined without touching it
            tokens = min(tokens, branch.leaves_at - 1)
        return [stage for stage in self.root.stages if stage.at <= tokens][-1].mixture

    def stages(self, until: int) -> list[tuple[int, dict[str, float]]]:
        """Return (token, mixture) wherever the mixture of the line changes before `until`."""
        edges = {stage.at for stage in self.root.stages} | {b.leaves_at for b in self.branches}
        told = [(at, self.mixture_at(at)) for at in sorted(edges) if at < until]
        return [
            told[0],
            *(new for old, new in pairwise(told) if old[1] != new[1]),
        ]

    def path(self, sizes: Mapping[str, SourceSize]) -> Path:
        """Return the data of the line, given the size of each source."""
        own = {name: sizes[name] for name in self.root.sources if name in sizes}
        used = {
            name for stage in self.root.stages_before(self._root_until) for name in stage.mixture
        }
        stages = self.root.stages_before(self._root_until)
        sized = {name: own[name] for name in used}
        path = Path.of(
            self.root.seed, stages, sized, rows=self.root.rows, seq_len=self.root.seq_len
        )
        for branch in self.branches:
            more = {name: sizes[name] for name in branch.mixture or {} if name not in path.segments}
            path = path.branch(branch.leaves_at, shares=branch.mixture, segments=more)
        return path

    @property
    def _root_until(self) -> int | None:
        return self.branches[0].leaves_at if self.branches else None

    @property
    def source_names(self) -> tuple[str, ...]:
        """The sources that any batch of the line reads, sorted."""
        names = {n for stage in self.root.stages_before(self._root_until) for n in stage.mixture}
        return tuple(sorted(names.union(*(branch.mixture or {} for branch in self.branches))))
