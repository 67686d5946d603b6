"""What a stage's container takes of the machine, by ``docker stats`` and ``nvidia-smi``: no work for the stage."""

import shutil
import subprocess
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reprise.stage import containers

if TYPE_CHECKING:
    from docker import APIClient

CPU = "system/cpu_percent"
_MIB = 1024**2


class Usage:
    """Samples the container with these labels."""

    def __init__(self, client: "APIClient", labels: Mapping[str, str], gpus: bool) -> None:
        self.client = client
        self.labels = labels
        self.gpus = gpus and shutil.which("nvidia-smi") is not None
        self._before: tuple[float, float] | None = None

    def sample(self) -> dict[str, float]:
        """Metric → value; empty while the container does not run.

        ``system/cpu_percent`` (since the last sample; 100: one core), ``system/memory_mib``, and for each GPU of the host
        ``system/gpu_N_percent`` and ``system/gpu_N_memory_mib``.
        """
        from docker.errors import DockerException
        from requests import RequestException

        try:
            found = containers.find(self.client, self.labels)
            stats = self.client.stats(found[0], stream=False, one_shot=True) if found else {}
        except (DockerException, RequestException):  # it ended meanwhile, or the daemon is away: no sample
            return {}
        values = _memory(stats) | self._cpu(stats)
        return values | (gpus() if self.gpus and values else {})

    def _cpu(self, stats: Mapping[str, Any]) -> dict[str, float]:
        used = stats.get("cpu_stats", {}).get("cpu_usage", {}).get("total_usage", 0) / 1e9
        at, before = time.monotonic(), self._before
        if not used:
            return {}
        self._before = (used, at)
        return {CPU: 100 * (used - before[0]) / (at - before[1])} if before else {}


def _memory(stats: Mapping[str, Any]) -> dict[str, float]:
    """As ``docker stats`` counts it: without the file cache, which the kernel gives back."""
    memory = stats.get("memory_stats", {})
    if "usage" not in memory:
        return {}
    detail = memory.get("stats", {})
    cache = detail.get("inactive_file", detail.get("total_inactive_file", 0))  # cgroups v2, v1
    return {"system/memory_mib": (memory["usage"] - cache) / _MIB}


def gpus() -> dict[str, float]:
    """Load and memory of every GPU of the host; empty where nvidia-smi fails."""
    query = ["nvidia-smi", "--query-gpu=index,utilization.gpu,memory.used", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return parse_gpus(said)


def parse_gpus(said: str) -> dict[str, float]:
    """Lines ``0, 97, 40536``; a field that the card does not report (``[N/A]``) and other lines are left out."""
    values = {}
    for line in said.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != 3:  # a warning of the driver's
            continue
        index, load, memory = fields
        for name, value in ((f"system/gpu_{index}_percent", load), (f"system/gpu_{index}_memory_mib", memory)):
            if value.replace(".", "", 1).isdigit():
                values[name] = float(value)
    return values
