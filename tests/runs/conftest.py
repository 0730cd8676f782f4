"""The tree in little: its texts and recipe, its data made once, its whole lab made once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ramify.runs.lab import Lab

from .tiny import DOMAINS, loaded, make, write_recipe, write_texts

Copy = Callable[[Lab], Lab]


@pytest.fixture(scope="session")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of the recipe of the tree in little."""
    home = tmp_path_factory.mktemp("tiny")
    return write_recipe(home, write_texts(home / "texts"))


@pytest.fixture(scope="session")
def data(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Return a lab whose sources are there, and no run; to be copied."""
    return make(loaded(recipe_file), Lab(tmp_path_factory.mktemp("data") / "tiny"), *DOMAINS)


@pytest.fixture(scope="session")
def whole(recipe_file: Path, data: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Return a lab in which every step is there; to be copied."""
    lab = Lab(tmp_path_factory.mktemp("whole") / "tiny")
    shutil.copytree(data.folder, lab.folder)
    return make(loaded(recipe_file), lab)


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """Return a function that copies a lab, so that a test can change it."""

    def copied(lab: Lab) -> Lab:
        return Lab(shutil.copytree(lab.folder, tmp_path / "lab"))

    return copied
