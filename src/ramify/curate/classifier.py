"""A trained classifier on disk: its method as JSON, its weights as safetensors, nothing pickled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from ramify.curate.features import Featurize, Head, featurizer
from ramify.curate.quality_steps import Method
from ramify.ground import files
from ramify.ground.errors import BadInput, Corrupt

MODEL, WEIGHTS = "classifier.json", "weights.safetensors"

Floats = npt.NDArray[np.float64]


class Model(BaseModel):
    """What turns features into a score of the scale: intercept and calibration, beside the weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: int = 1
    method: Method
    column: str
    lowest: int
    highest: int
    intercept: float
    slope: float
    offset: float
    thresholds: tuple[float, ...]


class Classifier:
    """A model with its weights, ready to score."""

    def __init__(self, model: Model, weights: npt.NDArray[np.float32], batch: int = 32) -> None:
        self.model = model
        self._head = Head(weights, model.intercept)
        self._batch = batch
        self._featurize: Featurize | None = None

    @classmethod
    def load(cls, folder: Path, batch: int = 32) -> Classifier:
        """Return the classifier in a folder; BadInput if it is none, Corrupt if it cannot be read."""
        if not (folder / MODEL).is_file():
            raise BadInput(f"{folder.name} is no classifier", hint="name a Classify step")
        try:
            model = Model.model_validate_json((folder / MODEL).read_bytes())
            weights = load_file(folder / WEIGHTS)["weights"]
        except (ValidationError, SafetensorError, KeyError, OSError) as error:
            raise Corrupt(
                f"{folder} holds no classifier that can be read ({type(error).__name__})",
                hint="type: ramify verify",
            ) from error
        return cls(model, weights, batch)

    def save(self, folder: Path) -> None:
        """Write the two files."""
        files.write_bytes(folder / WEIGHTS, save({"weights": self._head.weights}))
        files.write_text(folder / MODEL, self.model.model_dump_json(indent=1) + "\n")

    def score(self, texts: Sequence[str]) -> Floats:
        """Return the calibrated score of every text, within the scale."""
        if self._featurize is None:
            self._featurize = featurizer(self.model.method, self._batch)
        raw = self._head.predict(self._featurize(texts))
        calibrated = self.model.slope * raw + self.model.offset
        return np.clip(calibrated, self.model.lowest, self.model.highest)
