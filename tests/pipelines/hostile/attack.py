"""What a stage that means harm would try: ``attack.py TRICK OUTPUT``. It prints what it could do itself."""

import json
import os
import re
import shutil
import socket
import sys
import threading
import time
from pathlib import Path

TRICK, OUTPUT = sys.argv[1], Path(sys.argv[2])
PARAMS = Path("params.yaml").read_text()
SECRET = Path(re.search(r"secret: (\S+)", PARAMS)[1])
HOST = SECRET.parent
LIVE, KEPT = Path(os.environ["LIVE"]), Path(os.environ["CHECKPOINTS"])
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360f8cfc0f01f00050001ff56c72f0d0000000049454e44ae426082"
)


def swap(place: Path, content: bytes, ended: threading.Event) -> None:
    """A file, a link to the secret, a file, a link to the secret, …"""
    draft = place.with_name(f".{place.name}.tmp")
    while not ended.is_set():
        for lead in (True, False):
            if lead:
                draft.symlink_to(SECRET)
            else:
                draft.write_bytes(content)
            draft.rename(place)


def fill(folder: Path, suffix: str) -> None:
    """All that is no regular file, or too much of one, in a folder that the worker looks at."""
    (folder / f"link{suffix}").symlink_to(SECRET)
    (folder / f"sub{suffix}").symlink_to(HOST)
    os.mkfifo(folder / f"pipe{suffix}")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / f"socket{suffix}"))
    (folder / f"huge{suffix}").touch()
    os.truncate(folder / f"huge{suffix}", 10**12)
    for name in (f"a\nb{suffix}", f"..{suffix}", "x" * (255 - len(suffix)) + suffix, f"%2e%2e%2f{suffix}"):
        (folder / name).write_bytes(PNG)
    with open(os.fsencode(folder) + b"/\xff" + suffix.encode(), "wb") as file:
        file.write(PNG)


def nest(folder: Path, levels: int) -> None:
    """Folders in folders, deeper than a path may be long."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=here)
        lower = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = lower
    os.close(here)


def could(what: str, action: object) -> None:
    """Try something that the container itself should refuse."""
    try:
        action()
        print(f"COULD {what}")
    except OSError as error:
        print(f"could not {what}: {error.strerror}")


def live() -> None:
    """Live folder and checkpoints: everything at once, while the worker looks."""
    fill(LIVE, ".png")
    fill(KEPT, ".ckpt")
    (KEPT / "good.ckpt").write_bytes(b"good")
    (KEPT / "good2.ckpt.tmp").symlink_to(SECRET)
    ended = threading.Event()
    places = [(LIVE / "swapped.png", PNG), (KEPT / "swapped.ckpt", b"good"), (LIVE / "metrics.jsonl", b"x\n" * 50)]
    swappers = [threading.Thread(target=swap, args=(*place, ended)) for place in places]
    for swapper in swappers:
        swapper.start()
    (LIVE / "good.png").write_bytes(PNG)
    time.sleep(6)
    ended.set()
    for swapper in swappers:
        swapper.join()
    (LIVE / "metrics.jsonl").unlink()
    with (LIVE / "metrics.jsonl").open("w") as lines:
        lines.write(json.dumps({"step": 1, "name": "loss", "value": 0.5}) + "\n")
        lines.write("x" * 100_000_000 + "\n")
        lines.write(json.dumps({"step": 2, "name": "loss", "value": 0.25}) + "\n")
    time.sleep(3)
    nest(LIVE, 3000)
    for number in range(20_000):
        (LIVE / f"{number}.txt").touch()
    could("write its dependency", lambda: Path("attack.py").write_text(""))
    could("write the image", lambda: Path("/etc/x").touch())
    could("make a device", lambda: os.mknod(LIVE / "device.png", 0o600 | 0o060000, os.makedev(8, 0)))
    could("link its dependency", lambda: os.link("attack.py", LIVE / "dependency.png"))
    could("see the secret", SECRET.read_bytes)
    could("change its owner", lambda: os.chown(LIVE / "good.png", 12345, 12345))
    OUTPUT.mkdir(parents=True)
    (OUTPUT / "good").write_text("good")
    (OUTPUT / "a\nb").write_text("good")
    Path("results/live.json").write_text('{"good": 1}')


def outputs() -> None:
    """One trick in the output, none unless it is asked for; tricks in the checkpoints, which a failed try leaves."""
    OUTPUT.mkdir(parents=True)
    (OUTPUT / "good").write_text("good")
    (KEPT / "good.ckpt").write_bytes(b"good")
    if "outputs: true" not in PARAMS:
        return
    fill(KEPT, ".ckpt")
    odd = OUTPUT / "odd"
    if TRICK == "link":
        odd.symlink_to(SECRET)
    elif TRICK == "folder-link":
        odd.symlink_to(HOST)
    elif TRICK == "parent-link":
        shutil.rmtree(OUTPUT.parent)
        OUTPUT.parent.symlink_to(HOST)
    elif TRICK == "pipe":
        os.mkfifo(odd)
    elif TRICK == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            os.chdir(OUTPUT)
            server.bind("odd")
    elif TRICK == "sparse":
        odd.touch()
        os.truncate(odd, 10**13)
    elif TRICK == "deep":
        nest(OUTPUT, 3000)
    elif TRICK == "bytes":
        with open(os.fsencode(OUTPUT) + b"/\xff", "wb"):
            pass
    elif TRICK == "hard-link":  # of what it may read only: it lies on another mount
        os.link("attack.py", odd)
    elif TRICK == "device":
        os.mknod(odd, 0o600 | 0o060000, os.makedev(8, 0))


live() if TRICK == "live" else outputs()
