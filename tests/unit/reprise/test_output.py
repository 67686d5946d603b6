"""A stage's output: every line said once, progress bars as lines, little memory."""

import tracemalloc
from collections.abc import Iterable

from reprise.stage.output import Output


def said(chunks: Iterable[bytes], step: float = 1.0) -> list[str]:
    """What is said of chunks that come ``step`` seconds apart."""
    now, lines = [0.0], list[str]()

    def paced() -> Iterable[bytes]:
        for chunk in chunks:
            now[0] += step
            yield chunk

    assert list(Output(lines.append, clock=lambda: now[0]).follow(paced())) == []
    return lines


def test_lines_do_not_depend_on_where_the_stream_is_cut() -> None:
    text = "first\r\nsecond é\n\nlast without an end".encode()
    whole = ["first", "second é", "", "last without an end"]
    assert said([text]) == whole
    assert said([text[i : i + 1] for i in range(len(text))]) == whole


def test_a_progress_bar_is_a_line_now_and_then_and_its_end() -> None:
    bar = [b"\r%3d%%" % percent for percent in range(101)]
    lines = said([*bar, b"\ndone\n"])
    assert lines[0] == "  0%"
    assert lines[-2:] == ["100%", "done"]
    assert len(lines) == 2 + 20  # one in five seconds of a hundred


def test_cursor_movements_go_and_colours_stay() -> None:
    assert said([b"\x1b[2K\x1b[1A\x1b[31mred\x1b[0m\n"]) == ["\x1b[31mred\x1b[0m"]


def test_bytes_that_are_no_text_and_a_line_without_end_pass() -> None:
    assert said([b"\xff\xfe\n"]) == ["��\n".strip()]
    assert "".join(said([b"x" * 10_000] * 50)) == "x" * 500_000


def test_hundreds_of_thousands_of_lines_take_no_memory() -> None:
    output = Output(lambda line: None)
    chunk = b"".join(b"line %d of a long log\n" % i for i in range(1000))
    tracemalloc.start()
    for _ in output.follow(chunk for _ in range(200)):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000
    assert output.last[-1] == "line 999 of a long log"
    assert len(output.last) == 15
