"""What the device is good at, and how busy it was: choices with their reasons, rates with their units."""

import os
import shutil
import subprocess
import time

import torch

from params.train import Recipe

_ANSWER_SECONDS = 5


def choose_precision(recipe: Recipe, device: torch.device) -> tuple[str, str]:
    """fp32, bf16 or fp16, and why. Raises SystemExit where the device cannot do what is asked for."""
    if recipe.precision != "auto":
        if recipe.precision == "fp16" and device.type != "cuda":
            raise SystemExit("train.precision is fp16, which only a GPU computes; set it to auto, fp32 or bf16")
        return recipe.precision, "as asked"
    if device.type != "cuda":
        return "fp32", "a CPU seldom gains by less"
    capability = torch.cuda.get_device_capability(device)
    if capability >= (8, 0):
        return "bf16", "the GPU's tensor cores take it"
    if capability >= (7, 0):
        return "fp16", "the GPU's tensor cores take it, but not bf16"
    return "fp32", "the GPU has no tensor cores"


def choose_layout(recipe: Recipe, device: torch.device, precision: str) -> torch.memory_format:
    """Channels last where it gains: CPU convolutions, and tensor cores, which read nothing else."""
    gains = device.type == "cpu" or precision != "fp32"
    wanted = gains if recipe.channels_last is None else recipe.channels_last
    return torch.channels_last if wanted else torch.contiguous_format


def run_freely(threads: int) -> None:
    """The fastest kernels, whatever their order of sums."""
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    torch.set_num_threads(threads)


class Meter:
    """Images per second, and the share of the time that the device worked, since the last reading."""

    def __init__(self, device: torch.device, threads: int) -> None:
        self.device, self.threads = device, threads
        self.images = 0
        self._start = (time.monotonic(), time.process_time())

    def read(self) -> dict[str, float]:
        """`images_per_second`, and `device_busy` (0 to 1): of the CPU's threads, or as nvidia-smi sees the GPU."""
        (wall, cpu), self._start = self._start, (time.monotonic(), time.process_time())
        seconds = max(self._start[0] - wall, 1e-9)
        busy = self._gpu() if self.device.type == "cuda" else (self._start[1] - cpu) / seconds / self.threads
        images, self.images = self.images, 0
        return {"images_per_second": images / seconds, **({} if busy is None else {"device_busy": min(1.0, busy)})}

    def _gpu(self) -> float | None:
        """Utilisation of this process's GPU over its last sampling period; None where nobody can say."""
        if not shutil.which("nvidia-smi"):
            return None
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        index = self.device.index or 0
        name = visible[index] if index < len(visible) and visible[index] else str(index)
        command = ["nvidia-smi", f"--id={name}", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_ANSWER_SECONDS)
        except (OSError, subprocess.TimeoutExpired):  # a number for people must not end the training
            return None
        return float(done.stdout) / 100 if done.returncode == 0 and done.stdout.strip().isdigit() else None
