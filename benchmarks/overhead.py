"""What Reprise adds to a stage's own work, beside bare Airflow and `dvc repro`, on one machine in one go.

A chain of empty stages, so that everything measured is overhead: run anew, run unchanged, the same number of empty
BashOperator tasks in the same Airflow, and `dvc repro` by hand. Usage: .venv/bin/python benchmarks/overhead.py
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins"))

from reprise import git
from reprise.airflow_api import Airflow

ROOT = Path(__file__).resolve().parents[1]

_CHAIN = """\
  s{n}:
    cmd: cat {before} > s{n}.txt
    deps: [{before}]
    outs: [s{n}.txt]
"""
_DAG = '"""The chain."""\n\nfrom reprise.dag.render import pipeline_dag\n\ndag = pipeline_dag("pipelines/chain", schedule=None)\n'
_BARE = '''"""As many empty tasks."""

import datetime as dt

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, chain

with DAG("bare", schedule=None, start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)) as dag:
    chain(*[BashOperator(task_id=f"t{{n}}", bash_command="true") for n in range({tasks})])
'''


def main() -> None:
    """Print the tables of benchmarks/README.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", type=int, default=10, help="stages of the chain (default: %(default)s)")
    parser.add_argument("--times", type=int, default=3, help="runs of each kind (default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reprise-overhead-") as folder:
        root = Path(folder) / "clone"
        _clone(root, args.stages)
        env = _environment(root)
        _reprise(root, env, "up")
        try:
            kinds = _measure(Airflow(env["REPRISE_AIRFLOW"]), git.resolve(root, "HEAD"), args.stages, args.times)
        finally:
            _reprise(root, env, "down")
        repro = _dvc_repro(root, args.times)
        parse = [_parse(root, env) for _ in range(args.times)]
    _print(kinds, repro, parse, args.stages)


def _clone(root: Path, stages: int) -> None:
    git.git(ROOT, "clone", "--quiet", str(ROOT), str(root))
    (root / ".venv").symlink_to(ROOT / ".venv")
    chain = root / "pipelines/chain"
    chain.mkdir()
    (chain / "s0.txt").write_text("nothing\n")
    text = "".join(_CHAIN.format(n=n, before=f"s{n - 1}.txt") for n in range(1, stages + 1))
    (chain / "dvc.yaml").write_text(f"stages:\n{text}")
    (chain / ".gitignore").write_text("".join(f"/s{n}.txt\n" for n in range(1, stages + 1)))
    (root / "dags/chain.py").write_text(_DAG)
    (root / "dags/bare.py").write_text(_BARE.format(tasks=stages + 2))  # open and record are tasks too
    git.git(root, "add", "--all")
    git.git(root, "-c", "user.name=B", "-c", "user.email=b@localhost", "commit", "--quiet", "-m", "The chain")


def _environment(root: Path) -> dict[str, str]:
    def free_port() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REPRISE_", "AIRFLOW"))}
    return {
        **kept,
        "PYTHONPATH": str(root / "plugins"),
        "REPRISE_AIRFLOW": f"http://127.0.0.1:{free_port()}",
        "REPRISE_MLFLOW": f"http://127.0.0.1:{free_port()}",
    }


def _reprise(root: Path, env: dict[str, str], *command: str) -> None:
    subprocess.run([sys.executable, "-m", "reprise", *command], cwd=root, env=env, check=True)


Tasks = dict[str, dict[str, Any]]


def _measure(airflow: Airflow, revision: str, stages: int, times: int) -> dict[str, list[tuple[float, Tasks]]]:
    """Kind → for each run its wall seconds and its tasks. Kinds take turns, so that all meet the same machine."""
    wanted = {"chain": {f"s{n}" for n in range(1, stages + 1)}, "bare": {f"t{n}" for n in range(stages + 2)}}
    for dag, names in wanted.items():
        while not names <= set(airflow.shape(dag) or ()):
            time.sleep(1)
    found: dict[str, list[tuple[float, Tasks]]] = {"run": [], "unchanged": [], "bare": []}
    for turn in range(times):
        for kind, dag, conf in (
            ("run", "chain", {"revision": revision, "ignore_cache": True}),
            ("unchanged", "chain", {"revision": revision}),
            ("bare", "bare", {}),
        ):
            found[kind].append(_run(airflow, dag, f"{kind}-{turn}", conf))
    return found


def _run(airflow: Airflow, dag: str, run_id: str, conf: dict[str, Any]) -> tuple[float, Tasks]:
    airflow.trigger(dag, run_id, conf)
    while (run := airflow.run(dag, run_id))["state"] not in ("success", "failed"):
        time.sleep(0.2)
    if run["state"] != "success":
        raise SystemExit(f"{dag} {run_id} failed: see its log in Airflow")
    tasks: Tasks = {t["task_id"]: t for t in airflow.tasks(dag, run_id)}
    for name, task in tasks.items():
        said = airflow.xcom(dag, run_id, name) if name.startswith("s") else None
        task["seconds"] = said["seconds"] if said else {}
    return _moment(run["end_date"]) - _moment(run["start_date"]), tasks


def _moment(text: str) -> float:
    import datetime as dt

    return dt.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _gaps(tasks: Tasks) -> dict[str, float]:
    """Task → seconds between the end of the one before and its own start."""
    ordered = sorted(tasks.values(), key=lambda task: _moment(task["start_date"]))
    return {
        b["task_id"]: _moment(b["start_date"]) - _moment(a["end_date"])
        for a, b in zip(ordered, ordered[1:], strict=False)
    }


def _dvc_repro(root: Path, times: int) -> dict[str, float]:
    """Median wall seconds of `dvc repro`, forced and unchanged, of the same chain."""
    dvc = [sys.executable, "-m", "dvc", "repro", "--quiet"]

    def timed(*more: str) -> float:
        start = time.monotonic()
        subprocess.run([*dvc, *more], cwd=root / "pipelines/chain", check=True)
        return time.monotonic() - start

    found: dict[str, list[float]] = {"run": [], "unchanged": []}
    for _ in range(times):
        found["run"].append(timed("--force"))
        found["unchanged"].append(timed())
    return {kind: statistics.median(seconds) for kind, seconds in found.items()}


_PARSE = """
import sys, time
import airflow.sdk, airflow.dag_processing.processor
start = time.monotonic()
exec(compile(open(sys.argv[1]).read(), sys.argv[1], "exec"), {})
print(time.monotonic() - start)
"""


def _parse(root: Path, env: dict[str, str]) -> float:
    """Seconds to parse dags/faces.py in a process that has Airflow imported, as the DAG processor's have."""
    given = {**env, "AIRFLOW_HOME": str(root), "REPRISE_VAR": str(root / "var")}
    command = [sys.executable, "-c", _PARSE, str(root / "dags/faces.py")]
    done = subprocess.run(command, env=given, cwd=root, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _print(
    kinds: dict[str, list[tuple[float, Tasks]]], repro: dict[str, float], parse: list[float], stages: int
) -> None:
    wall = {kind: statistics.median(seconds for seconds, _ in runs) for kind, runs in kinds.items()}
    print(f"\n{stages} empty stages, {len(parse)} runs each, medians, seconds\n")
    print("| | whole | a stage |\n|---|---|---|")
    for name, seconds in (
        ("Reprise, every stage run", wall["run"]),
        ("Reprise, unchanged", wall["unchanged"]),
        (f"bare Airflow, {stages + 2} BashOperator tasks", wall["bare"]),
        ("`dvc repro --force`", repro["run"]),
        ("`dvc repro`, unchanged", repro["unchanged"]),
    ):
        print(f"| {name} | {seconds:.1f} | {seconds / stages:.2f} |")
    print(f"\nunchanged against bare Airflow: {wall['unchanged'] / wall['bare']:.2f}×")
    print(f"parse of dags/faces.py: {statistics.median(parse):.2f} s (Airflow imported)\n")
    print("| of a stage | scheduling | process | pull | run | commit | push |\n|---|---|---|---|---|---|---|")
    for kind in ("run", "unchanged", "bare"):
        print(f"| {kind} | {' | '.join(f'{value:.2f}' for value in _parts(kinds[kind]))} |")
    for end in ("open", "record"):
        took = [statistics.median(run[end]["duration"] for _, run in kinds[kind]) for kind in ("run", "unchanged")]
        print(f"\n`{end}`: {took[0]:.1f} s, unchanged {took[1]:.1f} s")


def _parts(runs: list[tuple[float, Tasks]]) -> list[float]:
    """Medians over all stages of all runs: the wait before it, what its process took beside the steps, the steps."""
    rows = []
    for _, tasks in runs:
        gaps = _gaps(tasks)
        for name, task in tasks.items():
            if name in gaps and name not in ("open", "record"):
                steps = [task["seconds"].get(step, 0.0) for step in ("pull", "run", "commit", "push")]
                rows.append([gaps[name], task["duration"] - sum(steps), *steps])
    return [statistics.median(column) for column in zip(*rows, strict=True)]


if __name__ == "__main__":
    if not shutil.which("docker"):
        raise SystemExit("error: Docker is not installed\n  next: make setup")
    main()
