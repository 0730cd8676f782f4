"""Long work asks between documents whether to stop, and goes on where nobody can say so."""

from __future__ import annotations

import pytest

from ramify.ground import stop
from ramify.ground.errors import Stopped


def test_nobody_is_stopped_by_one_who_was_asked_for_another_block() -> None:
    stop.look()
    with stop.heeding(lambda: True):
        with stop.heeding(lambda: False):
            stop.look()
        with pytest.raises(Stopped):
            stop.look()
    stop.look()
