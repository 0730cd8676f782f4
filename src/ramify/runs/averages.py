"""Refuse an average of what its run will not have saved, before anything is trained for it."""

from __future__ import annotations

from ramify.ground.errors import BadInput
from ramify.runs.recipe import Recipe
from ramify.train.steps import Average, EmaAverage, Run


def check_average(recipe: Recipe, step: Average | EmaAverage) -> None:
    """Raise BadInput if the run of an average does not save, or carry, what it is an average of."""
    if isinstance(step, Average):
        _check_windows(recipe, step)
    else:
        _check_ema(recipe, step)


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
