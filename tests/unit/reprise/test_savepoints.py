"""What Airflow's backfill does on SQLite while the scheduler writes: savepoints, each of which reads and then writes."""

import subprocess
import sys
from pathlib import Path

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"
SCRIPT = """
import sys
if sys.argv[2] == "with":
    sys.path.insert(0, sys.argv[3])
    import airflow_local_settings
import sqlalchemy as sa
engines = [sa.create_engine(f"sqlite:///{sys.argv[1]}", connect_args={"timeout": 0.1}) for _ in range(2)]
with engines[0].connect() as one:
    one.exec_driver_sql("PRAGMA journal_mode=WAL")
    one.exec_driver_sql("CREATE TABLE run (name TEXT)")
    one.commit()
def scheduler():
    with engines[1].connect() as other:
        other.exec_driver_sql("INSERT INTO run VALUES ('other')")
        other.commit()
with engines[0].connect() as one:
    with one.begin_nested():
        one.exec_driver_sql("SELECT * FROM run").all()
        try:
            scheduler()
        except sa.exc.OperationalError:
            print("the scheduler waits")
        one.exec_driver_sql("INSERT INTO run VALUES ('date')")
    one.commit()
scheduler()
with engines[0].connect() as one:
    print(one.exec_driver_sql("SELECT name FROM run").scalars().all())
"""


def play(folder: Path, settings: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the listener is for every engine of a process."""
    command = [sys.executable, "-c", SCRIPT, str(folder / "a.db"), settings, str(PLUGINS)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_savepoint_that_writes_waits_for_nobody(tmp_path: Path) -> None:
    done = play(tmp_path, "with")
    assert done.stdout.splitlines() == ["the scheduler waits", "['date', 'other']"], done.stderr


def test_it_is_needed(tmp_path: Path) -> None:
    """Where this fails, Airflow or Python has mended it: delete plugins/airflow_local_settings.py."""
    assert "database is locked" in play(tmp_path, "without").stderr
