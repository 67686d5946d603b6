"""How a container's end is read: what was killed is tried again, what failed by itself is not."""

import pytest

from reprise.stage.operator import ending


@pytest.mark.parametrize(("code", "name"), [(137, "SIGKILL"), (143, "SIGTERM"), (134, "SIGABRT"), (139, "SIGSEGV")])
def test_a_signal_may_not_come_again(code: int, name: str) -> None:
    assert ending(code, out_of_memory=False).startswith(name)


@pytest.mark.parametrize("code", [-1, 1, 2, 125, 126, 127, 128, 160, 192, 200, 254, 255])
def test_any_other_code_is_the_commands_own(code: int) -> None:
    """Python's ``sys.exit(-1)`` and many programs end with 255."""
    assert ending(code, out_of_memory=False) == ""


def test_docker_knows_what_ran_out_of_memory() -> None:
    assert ending(1, out_of_memory=True) == ending(137, out_of_memory=True) == "out of memory"
