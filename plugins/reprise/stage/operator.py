"""One stage of dvc.yaml as one Airflow task: pull, run in a sandboxed container, commit, push."""

import logging
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from copy import deepcopy
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from airflow.providers.docker.exceptions import DockerContainerFailedException
from airflow.providers.docker.hooks.docker import DockerHook
from airflow.providers.docker.operators.docker import DockerOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from docker.errors import APIError, DockerException
from docker.types import DeviceRequest

from reprise.dag import assets
from reprise.dag.tries import tried_again_or_not
from reprise.errors import RepriseError
from reprise.folders import clear, task_folder
from reprise.messages import OPEN, PROBLEM, Done, Entry, Opened
from reprise.pipeline import manifest, params
from reprise.pipeline.stages import INBOX, Pipeline, Stage, producers
from reprise.run import champion, gate, metrics, products
from reprise.run.plan import find_again
from reprise.settings import load as load_settings
from reprise.stage import containers
from reprise.stage.checkpoints import Checkpoints
from reprise.stage.command import container_command
from reprise.stage.confinement import Confinement, Guard
from reprise.stage.memo import Division, divide
from reprise.stage.output import Output
from reprise.stage.sandbox import LIVE, REPO, Sandbox
from reprise.stage.source import Source, scratch_of
from reprise.tracking.live import Live
from reprise.tracking.mlflow_server import Tracker, run_key
from reprise.tracking.outbox import Outbox
from reprise.tracking.tensorboard import Board, board_folder
from reprise.tracking.unsent import hand_on, send_left
from reprise.tracking.usage import Usage
from reprise.tracking.wandb_run import WandbRun, wanted
from reprise.ui.links import MLflowLink, page_links
from reprise.workspace import Workspace

_MOST_OF_A_PROBLEM = 4000
"""Characters of an error that go into MLflow's tag, which holds 8000; the end says most."""
_SIGNALS = {number.value: number.name for number in signal.Signals if number < signal.SIGRTMIN}


class StageOperator(DockerOperator):
    """Runs one stage, or says that its result is known.

    :param pipeline: the pipeline, as rendered.
    :param stage: the stage to run.
    """

    ui_color = "#e8f0ea"
    mlflow_url = ""
    # Airflow reads nothing of a stage's text: `sh fit.sh` would be a template's file, `{{ }}` a template.
    template_fields = ()
    template_ext = ()

    def __init__(self, *, pipeline: Pipeline, stage: Stage, **kwargs: Any) -> None:
        super().__init__(
            image="set by open, from the run's revision",
            command=container_command(stage.cmd),
            mount_tmp_dir=False,
            auto_remove="force",
            network_mode=_network(stage),
            mem_limit=stage.meta.memory,
            shm_size=1024**3,
            log_opts_max_size="100m",  # Docker's own copy; the task's log has everything
            log_opts_max_file="1",
            **kwargs,
        )
        self.operator_extra_links = (MLflowLink(), *page_links(pipeline.reports))
        self.pipeline = pipeline
        self.stage = stage
        self.work: Path | None = None
        self.own_labels: dict[str, str] = {}
        self.out_of_memory = False
        self.confinement: Confinement | None = None
        self.guard: Guard | None = None

    @cached_property
    def printed(self) -> Output:
        """What the container prints, into the task's log; by a name of its own, which tells it from Airflow's words."""
        return Output(partial(logging.getLogger("reprise.stage.printed").info, "%s"))

    @cached_property
    def hook(self) -> DockerHook:
        """The parent's, with a container that can write nowhere but where it should, and whose output is not kept."""
        hook = super().hook
        client = hook.api_client
        client.wait = partial(self._wait, client, client.wait)  # type: ignore[method-assign]
        self.guard = Guard(client, lambda: self.confinement)
        client.attach = self.printed.instead_of(client.attach)  # type: ignore[method-assign]
        return hook

    def execute(self, context: Any) -> Done:  # type: ignore[override]
        """Do the stage, unless the plan or the run-cache knows its result.

        :raises AirflowFailException: where another try would end the same way.
        :raises AirflowException: where the container was killed or the remote refused; Airflow tries again.
        """
        ti = context["ti"]
        opened: Opened = ti.xcom_pull(task_ids=OPEN)
        known = opened["known"].get(self.stage.name)
        if known:
            self.log.info("cached: nothing that stage %s depends on has changed; no container", self.stage.name)
            if opened["mlflow"]:  # no run of its own: the link leads to the whole run's
                self.mlflow_url = Tracker(load_settings().mlflow).url(opened["mlflow"])
            return Done(verdict="cached", entry=known, seconds={}, device="")
        settings = load_settings()
        self.work = task_folder(settings, ti.dag_id, ti.run_id, ti.task_id)
        self.labels = self.own_labels = containers.labels(
            settings.stack, ti.dag_id, ti.run_id, ti.task_id, ti.try_number
        )
        self._take_from(Pipeline.from_dict(opened["pipeline"]))
        try:
            with tried_again_or_not(ti, f"stage {self.stage.name}"):
                self._remove_earlier()
                done = self._run_stage(ti, opened, self._upstream(ti))
            if done["verdict"] == "ran":
                assets.announce(context, self.pipeline, self.stage, opened, done)
            return done
        finally:
            clear(self.work)

    def _take_from(self, pipeline: Pipeline) -> None:
        """Become the stage as the run's revision defines it: the DAG may have been rendered from another."""
        self.pipeline = pipeline
        self.stage = next(stage for stage in pipeline.stages if stage.name == self.stage.name)
        self.command = container_command(self.stage.cmd)
        self.network_mode, self.mem_limit = _network(self.stage), self.stage.meta.memory

    def _upstream(self, ti: Any) -> dict[str, Entry]:
        """Lock entries of every stage this one depends on."""
        tasks = {stage.name: stage.task_id for stage in self.pipeline.stages}
        return {name: ti.xcom_pull(task_ids=tasks[name])["entry"] for name in self.pipeline.ancestors(self.stage.name)}

    def _run_stage(self, ti: Any, opened: Opened, upstream: dict[str, Entry]) -> Done:
        assert self.work
        settings, stage = load_settings(), self.stage
        seconds: dict[str, float] = {}
        with _timed(seconds, "pull"):
            workspace = Workspace.create(settings, self.work / "clone", self.pipeline.path, opened["revision"])
            params.write_text(workspace.folder, opened["params"])
            if opened["listing"]:
                workspace.get(opened["listing"], workspace.folder / manifest.LISTING)
            if opened["champion"] and stage.meta.champion:
                champion.place(workspace, self.pipeline, opened["champion"]["pin"])
            workspace.write_lock(upstream)
            known = None if opened["ignore_cache"] else find_again(workspace, self.pipeline, stage, upstream)
            if known:
                self.log.info("cached: what stage %s reads came out as in an earlier run; no container", stage.name)
                return Done(verdict="cached", entry=known, seconds={}, device="")
            division = self._divide(workspace, opened, upstream)
            shown = division.show(self.work / "shown") if division else {}
            if division and not division.pending:
                entry = division.commit()
                workspace.push(stage.name, entry)
                return Done(verdict="cached", entry=entry, seconds={}, device="")
            made = producers(stage, self.pipeline.stages)
            workspace.pull(d for d in stage.deps if d not in shown and (d in made or workspace.lacks(d)))
        device = self._choose_device()
        with self._tracked(ti, opened) as outbox:
            anew = run_key(ti.dag_id, ti.run_id) if opened["ignore_cache"] else ""
            checkpoints = Checkpoints.of(settings, workspace, self.pipeline, stage, upstream, anew)
            with _timed(seconds, "run"), checkpoints or nullcontext():
                sandbox = Sandbox.build(workspace, stage, self.work / "sandbox", self.work / "live", shown)
                wandb = self._run_container(sandbox, opened, outbox, checkpoints)
                sandbox.collect()
                metrics.check(workspace.folder, stage)
                products.check_for_git(workspace.folder, stage)
                if stage.meta.champion:
                    gate.read_decision(workspace.folder, stage)
            with _timed(seconds, "commit"):
                entry = division.commit() if division else workspace.commit(stage.name)
            with _timed(seconds, "push"):
                workspace.push(stage.name, entry)
                if division:
                    division.remember(entry)
                if checkpoints:
                    checkpoints.remove()
            outbox.say_stage(entry, seconds, wandb)
        self._say(entry, seconds)
        done = Done(verdict="ran", entry=entry, seconds={k: round(v, 3) for k, v in seconds.items()}, device=device)
        if division:
            done["partitions"] = [len(division.pending), len(division.inputs.parts)]
        if wandb:
            done["wandb"] = wandb
        if unsent := hand_on(outbox.folder, workspace.put):
            done["unsent"] = unsent
        return done

    def _divide(self, workspace: Workspace, opened: Opened, upstream: dict[str, Entry]) -> Division | None:
        """Which partitions a partitioned stage has to work on."""
        if not self.stage.meta.partitioned:
            return None
        division = divide(workspace, self.pipeline, self.stage, upstream, opened["ignore_cache"])
        self.log.info("%s", division)
        return division

    def _run_container(
        self, sandbox: Sandbox, opened: Opened, outbox: Outbox, checkpoints: Checkpoints | None
    ) -> str | None:
        """The parent's execute in our sandbox, its live lines followed. Returns the id of its W&B run.

        :raises AirflowException: where it was killed (a signal, or no memory left).
        :raises AirflowFailException: where the stage itself failed.
        """
        self.image = opened["images"][self.stage.name]
        self.user = f"{os.getuid()}:{os.getgid()}"
        self.working_dir = os.path.normpath(f"{sandbox.working_dir}/{self.stage.wdir}")
        source = self._open_source(sandbox, opened)
        if source and self.stage.meta.network == INBOX:
            self.network_mode = source.network
        self.mounts = sandbox.mounts() + (source.mounts if source else [])
        names = {"DVC_ROOT": REPO, "DVC_STAGE": f"{self.pipeline.path}/dvc.yaml:{self.stage.name}"}  # as DVC has them
        self.environment = {"HOME": "/tmp", "LIVE": LIVE, **names, **(source.environment if source else {})}
        if checkpoints:
            self.mounts += checkpoints.mounts
            self.environment |= checkpoints.environment
        self.confinement = Confinement(
            user=self.user,
            network=str(self.network_mode),
            mounts=deepcopy(self.mounts),  # not the ones that the parent is about to pass on, and may change
            memory=self.stage.meta.memory,
            devices=deepcopy(self.device_requests or []),
        )
        live = self._follow(sandbox.live, opened, outbox)
        try:
            super().execute({})
            self._assert_gone()
            if source:
                source.done()
        except RepriseError:
            containers.remove(self.cli, self.own_labels)
            raise
        except DockerContainerFailedException as error:
            raise self._explain(error) from None
        finally:
            live.stop()
        return live.wandb_id

    def _assert_gone(self) -> None:
        """What the stage wrote is looked through and moved now: nobody may be there any more who changes it.

        :raises RepriseError: the container was never checked, or is still there.
        """
        if not (self.guard and self.guard.checked) or containers.find(self.cli, self.own_labels):
            raise RepriseError(
                f"stage {self.stage.name}: Airflow's Docker operator ran a container that was not checked, or left it behind",
                "make setup: it installs the version of Airflow's Docker provider that is known to work",
            )

    def _follow(self, folder: Path, opened: Opened, outbox: Outbox) -> Live:
        """Begin to follow what the stage writes to ``folder``."""
        settings, name, tags = load_settings(), self.stage.name, opened["heading"]["tags"]
        board = Board(board_folder(settings, tags["dag"], tags["run_id"], name))
        usage = Usage(self.cli, self.own_labels, gpus=bool(self.device_requests))
        attempt = int(self.own_labels[containers.TRY])
        wandb = WandbRun(settings, tags, name, attempt, params.flat(opened["params"])) if wanted() else None
        live = Live(folder, outbox, Tracker(settings.mlflow), board, usage, wandb)
        live.start()
        return live

    def _wait(self, client: Any, wait: Callable[..., Any], container: str, *args: Any, **kwargs: Any) -> Any:
        """The client's own, which then asks what only a container that still exists can answer."""
        result = wait(container, *args, **kwargs)
        with suppress(DockerException):  # removed by somebody else meanwhile
            self.out_of_memory = bool(client.inspect_container(container)["State"].get("OOMKilled"))
        return result

    def _explain(self, error: DockerContainerFailedException) -> AirflowException:
        """The exit code and the container's last lines; killed containers may be tried again."""
        found = re.search(r"'StatusCode': (\d+)", str(error))
        code = int(found[1]) if found else -1
        last = "\n".join(self.printed.last)
        why = ending(code, self.out_of_memory)
        if why:
            return AirflowException(
                f"stage {self.stage.name} was killed (exit code {code}: {why}); last lines:\n{last}"
            )
        return AirflowFailException(f"stage {self.stage.name} failed with exit code {code}; last lines:\n{last}")

    def _open_source(self, sandbox: Sandbox, opened: Opened) -> Source | None:
        """The inbox, for a stage that reads it."""
        if not (self.stage.reads_inbox and opened["inbox"] and self.work):
            return None
        settings, listing = load_settings(), sandbox.source_of(manifest.LISTING)
        return Source.prepare(settings, opened["inbox"], listing, self.work, scratch_of(settings, self.work))

    def _choose_device(self) -> str:
        """Ask Docker for the GPUs that the stage wants, where the host has any; say so where it has not."""
        wanted = self.stage.meta.gpus
        if not wanted:
            return "cpu"
        if "nvidia" in self.cli.info().get("Runtimes", {}):
            self.device_requests = [DeviceRequest(count=wanted, capabilities=[["gpu"]])]
            return f"{wanted} gpu"
        self.log.info(
            "stage %s asks for %d GPU(s); Docker offers none on this host: it runs on the CPU",
            self.stage.name,
            wanted,
        )
        return "cpu"

    @contextmanager
    def _tracked(self, ti: Any, opened: Opened) -> Iterator[Outbox]:
        """The stage's MLflow run, its link published before the container starts, ended as the block ends."""
        settings = load_settings()
        tracker = Tracker(settings.mlflow)
        tags = {
            "stage": self.stage.name,
            "try": str(ti.try_number),
            "image": opened["images"][self.stage.name],
        }
        outbox = Outbox.create(settings, opened["heading"], self.stage.name, tags)
        if run := outbox.open(tracker):
            self._publish(ti, run)
        status = "KILLED"
        try:
            yield outbox
            status = "FINISHED"
        except Exception as error:
            status = "FAILED" if isinstance(error, (AirflowFailException, RepriseError)) else status
            outbox.note(tags={PROBLEM: str(error)[-_MOST_OF_A_PROBLEM:]})
            raise
        finally:
            outbox.end(status)
            outbox.try_send(tracker)
            outbox.close()
            if outbox.run and not run:
                self._publish(ti, outbox.run)
            send_left(settings, tracker)

    def _publish(self, ti: Any, mlflow_run: str) -> None:
        """Put the task's links on it now; Airflow itself does so once it has ended."""
        self.mlflow_url = Tracker(load_settings().mlflow).url(mlflow_run)
        for link in self.operator_extra_links:
            ti.xcom_push(key=link.xcom_key, value=link.get_link(self, ti_key=ti))

    def _remove_earlier(self) -> None:
        """Remove containers that an earlier try of this task left; a daemon that is away fails the try."""
        try:
            containers.remove(self.cli, {k: v for k, v in self.own_labels.items() if k != containers.TRY})
        except DockerException as error:
            raise AirflowException(f"Docker cannot be reached: {error}\n  next: docker info") from error

    def on_kill(self) -> None:
        """Kill at once: Airflow ends this process before Docker's ten seconds of grace are over."""
        if self.own_labels:
            try:
                containers.remove(self.cli, self.own_labels)
            except (DockerException, APIError) as error:
                self.log.warning("the container could not be removed, the next try will: %s", error)
        if self.work:
            clear(self.work)

    def _say(self, entry: Entry, seconds: dict[str, float]) -> None:
        """What went in, what came out and how long each step took, at the end of the task's log."""
        for kind in ("deps", "outs"):
            for item in entry.get(kind, ()):
                files = f", {item['nfiles']} files" if "nfiles" in item else ""
                self.log.info(
                    "%s %s: %s (%s bytes%s)",
                    kind[:-1],
                    item["path"],
                    item["md5"],
                    item.get("size", "?"),
                    files,
                )
        self.log.info("took %s", ", ".join(f"{step} {took:.1f} s" for step, took in seconds.items()))


def ending(code: int, out_of_memory: bool) -> str:
    """Why a container was killed from outside; empty if its command ended by itself.

    A shell reports a command that a signal ended as 128 and the signal's number. Other codes above 128, such as 255 of
    ``exit(-1)``, are the command's own; 125 to 127 are Docker's and the shell's words for a command that cannot start.
    """
    if out_of_memory:
        return "out of memory"
    name = _SIGNALS.get(code - 128)
    if name == "SIGKILL":
        return "SIGKILL, by `docker kill` or by a host that is out of memory"
    return name or ""


def _network(stage: Stage) -> str:
    """What the container gets; of the inbox's network it is known later whether there is one."""
    return stage.meta.network if stage.meta.network not in (None, INBOX) else "none"


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    start = time.monotonic()
    try:
        yield
    finally:
        seconds[step] = time.monotonic() - start
