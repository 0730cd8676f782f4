"""Refuse an average of what its run will not have saved, before anything is trained for it."""

from __future__ import annotations

from ramify.ground import artifact
from ramify.ground.errors import BadInput, Corrupt, Mismatch
from ramify.runs.lab import Lab
from ramify.runs.recipe import Recipe
from ramify.train.steps import Average, EmaAverage, Run


def check_average(recipe: Recipe, step: Average | EmaAverage, lab: Lab) -> None:
    """Raise BadInput if the run of an average does not save, or carry, what it is an average of.

    Raises Mismatch if the run has gone a part of the way without the moving average.
    """
    if isinstance(step, Average):
        _check_windows(recipe, step)
    else:
        _check_ema(recipe, step)
        _check_carried(recipe, step, lab)


def _check_windows(recipe: Recipe, step: Average) -> None:
    """Refuse an average of windows that its run will not have saved."""
    run = recipe.by_name[step.run.name]
    assert isinstance(run, Run)
    if run.windows != step.windows:
        saved = run.windows and f"steps={run.windows.steps}, every={run.windows.every}"
        raise BadInput(
            f"{step.name} averages windows of steps={step.windows.steps}, "
            f"every={step.windows.every}; {run.name} saves {saved or 'none'}",
            hint="give both the same Windows",
        )
    line = recipe.line(run)
    size = step.windows.steps * line.step_tokens
    whole = (recipe.end(step.run) or 0) // size - -(-line.begins_at // size)
    if whole < step.last:
        raise BadInput(
            f"{step.name} averages {step.last} windows up to {step.run}; {run.name} has {whole}",
            hint="take fewer, shorter ones, or a later point",
        )


def _check_ema(recipe: Recipe, step: EmaAverage) -> None:
    """Refuse a moving average that its run does not carry, or that has taken nothing by then."""
    run = recipe.by_name[step.run.name]
    assert isinstance(run, Run)
    if run.ema != step.ema:
        carried = run.ema and f"decay={run.ema.decay}, every={run.ema.every}"
        raise BadInput(
            f"{step.name} takes a moving average of decay={step.ema.decay}, "
            f"every={step.ema.every}; {run.name} carries {carried or 'none'}",
            hint="give both the same Ema",
        )
    line = recipe.line(run)
    begins, at = (n // line.step_tokens for n in (line.begins_at, recipe.end(step.run) or 0))
    if not step.ema.taken(begins, at):
        raise BadInput(
            f"{step.name} takes a moving average at {step.run}, before it has taken any weights",
            hint=f"take a later point, or weights more often than every={step.ema.every} steps",
        )


def _check_carried(recipe: Recipe, step: EmaAverage, lab: Lab) -> None:
    """Refuse a moving average that the run's newest point up to there does not hold whole."""
    run, end = recipe.by_name[step.run.name], recipe.end(step.run) or 0
    assert isinstance(run, Run)
    line = recipe.line(run)
    there = {at: folder for at, folder in lab.points_of(run.name).items() if at <= end}
    try:
        record = artifact.read_record(there[max(there)]) if there else None
    except Corrupt:
        return  # the run goes on from an older one, and the step looks again
    if record is None:
        return
    begins, at = (n // line.step_tokens for n in (line.begins_at, max(there)))
    due = step.ema.taken(begins, at)
    if due and record.facts.get("ema") != {**step.ema.model_dump(), "count": due}:
        raise Mismatch(
            f"{step.name} takes a moving average of {due} sets of weights at {run.name}@{max(there)}, "
            f"which holds {record.facts.get('ema') or 'none'}",
            hint=f"a run must carry it from its first step: give {run.name} another name, "
            f"or type: ramify forget {run.name}",
        )
