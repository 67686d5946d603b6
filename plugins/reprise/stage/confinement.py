"""What holds a stage's container in: asked of Docker when it is created, and read back before it starts.

The container is created by Airflow's operator, whose next version may pass other arguments, and by a daemon that may
ignore one. So what is asked for is not trusted: what Docker says of the created container decides whether it starts.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from docker.types import Mount
from docker.utils import parse_bytes

from reprise.errors import RepriseError

ARGUMENTS: Mapping[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "cap_add": None,
    "security_opt": ["no-new-privileges"],
    "privileged": False,
    "init": True,
    "pids_limit": 4096,
    "tmpfs": {"/tmp": "rw,exec,size=2g"},
}
"""Of docker-py's ``create_host_config``, for every stage; what the operator passes does not count."""

_SAID: Mapping[str, Any] = {
    "ReadonlyRootfs": True,
    "CapDrop": ["ALL"],
    "SecurityOpt": ["no-new-privileges"],
    "Init": True,
    "PidsLimit": 4096,
    "Tmpfs": {"/tmp": "rw,exec,size=2g"},
}
"""The same in the words of ``docker inspect``."""
_UNUSED = (
    "Privileged",
    "CapAdd",
    "Binds",
    "VolumesFrom",
    "Devices",
    "DeviceCgroupRules",
    "GroupAdd",
    "PidMode",
    "UTSMode",
    "UsernsMode",
    "Cgroup",
    "CgroupParent",
    "Links",
    "ExtraHosts",
    "PortBindings",
    "PublishAllPorts",
    "Sysctls",
    "OomKillDisable",
)
"""What must be empty or off: each leads out of the container, or lifts a limit."""
_HIDDEN = ("MaskedPaths", "ReadonlyPaths")
"""What Docker hides of the kernel's own files; empty where somebody asked for all of them."""


@dataclass(frozen=True)
class Confinement:
    """What one stage's container may have beyond what every one has."""

    user: str
    network: str
    mounts: Sequence[Mount]
    memory: str | None = None
    devices: Sequence[Mapping[str, Any]] = ()
    """Docker's device requests: its GPUs."""

    def differences(self, container: Mapping[str, Any]) -> list[str]:
        """What ``docker inspect`` says of a container that is not as it should be: ``what: is, not should``."""
        config = container["HostConfig"]
        known = {**_SAID, "Memory": parse_bytes(self.memory) if self.memory else 0}
        wrong = [_differs(name, config.get(name), wanted) for name, wanted in known.items()]
        wrong += [_differs(name, config.get(name), "nothing") for name in _UNUSED if config.get(name)]
        wrong += [f"{name}: nothing is hidden" for name in _HIDDEN if not config.get(name)]
        wrong += [_differs("User", container["Config"].get("User"), self.user)]
        if str(config.get("IpcMode", "")).startswith(("host", "container")):
            wrong.append(_differs("IpcMode", config["IpcMode"], "private"))
        networks = {config.get("NetworkMode", ""), *container["NetworkSettings"]["Networks"]}
        wrong += [_differs("network", name, self.network) for name in sorted(networks) if not self._is_network(name)]
        devices = [_device(device) for device in config.get("DeviceRequests") or ()]
        wrong += [_differs("DeviceRequests", devices, [_device(device) for device in self.devices])]
        wrong += self._mounted_otherwise(container)
        return [difference for difference in wrong if difference]

    def _is_network(self, name: str) -> bool:
        return {name, self.network} in ({self.network}, {"default", "bridge"})  # two names of one

    def _mounted_otherwise(self, container: Mapping[str, Any]) -> Iterator[str]:
        """Every bind is one of ours, as we asked for it; a volume that the image itself declares has no name."""
        wanted = {m["Target"]: (m["Source"], not m["ReadOnly"], "rprivate") for m in self.mounts}
        asked = {m["Target"] for m in container["HostConfig"].get("Mounts") or ()}
        found = {
            m["Destination"]: (m.get("Source"), m.get("RW"), m.get("Propagation"))
            for m in container["Mounts"]
            if m["Type"] != "volume" or m["Destination"] in asked
        }
        for target in sorted(wanted.keys() | found.keys()):
            if found.get(target) != wanted.get(target):
                yield _differs(f"mount {target}", found.get(target), wanted.get(target))


class Guard:
    """Stands between Airflow's operator and Docker's client: asks for the confinement, and looks before it starts.

    :param client: docker-py's; its methods are replaced.
    :param expected: the confinement, asked for when a container is about to start.
    """

    def __init__(self, client: Any, expected: Callable[[], Confinement | None]) -> None:
        self.client, self.expected = client, expected
        self.checked: set[str] = set()
        """Ids of the containers that were found as they should be."""
        self._create_host_config, self._start = client.create_host_config, client.start
        client.create_host_config = self.create_host_config
        client.start = self.start

    def create_host_config(self, *args: Any, **kwargs: Any) -> Any:
        """Docker's own, with our arguments in place of the caller's."""
        return self._create_host_config(*args, **{**kwargs, **ARGUMENTS})

    def start(self, container: Any, *args: Any, **kwargs: Any) -> Any:
        """Docker's own, of a container that is confined.

        :raises RepriseError: it is not, naming what differs. It has not started.
        """
        found = self.client.inspect_container(container)
        expected = self.expected()
        differences = expected.differences(found) if expected else ["nobody said how"]
        if differences:
            raise RepriseError(
                f"the container is not confined as it must be, and was not started: {'; '.join(differences)}",
                "make setup: it installs the version of Airflow's Docker provider that is known to work",
            )
        self.checked.add(found["Id"])
        return self._start(container, *args, **kwargs)


def _differs(what: str, found: Any, wanted: Any) -> str:
    return "" if found == wanted else f"{what}: {found!r} instead of {wanted!r}"


def _device(request: Mapping[str, Any]) -> tuple[Any, ...]:
    """What of a device request matters, however empty fields are spelled."""
    fields = ("Driver", "Count", "DeviceIDs", "Capabilities", "Options")
    return tuple(request.get(field) or None for field in fields)
