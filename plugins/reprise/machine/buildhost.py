"""What an image build needs to know of the machine it runs on: certificates, package index, Debian mirror, proxies.

A container starts with none of it. Only addresses travel: a ``file:`` index or a folder of wheels means nothing inside.
"""

import configparser
import hashlib
import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path

BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE")
"""Environment variables that name a file of trusted certificates."""
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")
PASSED_ON = ("PIP_DEFAULT_TIMEOUT", "UV_HTTP_TIMEOUT", "UV_INDEX_STRATEGY")
CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def certificates(folder: Path, env: Mapping[str, str] = os.environ) -> dict[str, bytes]:
    """File name → PEM of every certificate the host trusts or that lies in ``folder``, each once."""
    bundles = {Path(env[name]) for name in BUNDLES if env.get(name)} | {Path("/etc/ssl/certs/ca-certificates.crt")}
    files = sorted(bundles) + sorted(folder.glob("*.crt")) + sorted(folder.glob("*.pem"))
    found = {pem for file in files if file.is_file() for pem in CERTIFICATE.findall(file.read_bytes())}
    return {f"{hashlib.sha256(pem).hexdigest()[:16]}.crt": pem + b"\n" for pem in sorted(found)}


def index_settings(
    env: Mapping[str, str] = os.environ, home: Path | None = None, etc: Path = Path("/etc")
) -> dict[str, str]:
    """Environment for pip and uv inside the build: the index the host uses, from its variables, pip.conf and uv.toml."""
    home = home or Path.home()
    pip, uv = _pip_conf(env, home, etc), _uv_toml(env, home, etc)
    index = env.get("PIP_INDEX_URL") or pip.get("index-url", "")
    extra = _remote(env.get("PIP_EXTRA_INDEX_URL") or pip.get("extra-index-url", ""))
    trusted = env.get("PIP_TRUSTED_HOST") or pip.get("trusted-host", "")
    default = env.get("UV_DEFAULT_INDEX") or env.get("UV_INDEX_URL") or uv.get("default") or index
    more = _remote(env.get("UV_INDEX") or env.get("UV_EXTRA_INDEX_URL") or uv.get("extra") or extra)
    settings = {
        "PIP_INDEX_URL": _remote(index) or _remote(default),
        "PIP_EXTRA_INDEX_URL": extra,
        "PIP_TRUSTED_HOST": " ".join(trusted.split()),
        "UV_DEFAULT_INDEX": _remote(default),
        "UV_INDEX": more,
        "UV_INSECURE_HOST": env.get("UV_INSECURE_HOST") or " ".join(trusted.split()),
        **{name: env.get(name, "") for name in PASSED_ON},
    }
    return {name: value for name, value in settings.items() if value}


def as_shell(settings: Mapping[str, str]) -> str:
    """The settings as a script to source."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(settings.items()))


def proxies(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Proxy variables, in both spellings: Docker keeps these build arguments out of the image and its history."""
    found = {name: env.get(name) or env.get(name.upper()) for name in PROXIES}
    return {spelling: value for name, value in found.items() if value for spelling in (name, name.upper())}


def apt_settings(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Build arguments for apt: the host's Debian 12 mirror where it has one, and its proxy."""
    mirrors = _debian_mirrors()
    proxy = _output("apt-config", "shell", "proxy", "Acquire::http::Proxy")
    proxy_url = shlex.split(proxy.partition("=")[2])[0] if "=" in proxy else ""
    # apt runs before ca-certificates is installed: a mirror over https is checked against the host's certificates.
    options = ["-o Acquire::Retries=3", "-o Acquire::https::CAInfo=/usr/local/share/ca-certificates/host.pem"]
    options += [f"-o Acquire::http::Proxy={proxy_url}"] if proxy_url else []
    settings = {
        "DEBIAN_MIRROR": env.get("DEBIAN_MIRROR") or mirrors.get("bookworm", ""),
        "DEBIAN_SECURITY_MIRROR": env.get("DEBIAN_SECURITY_MIRROR") or mirrors.get("bookworm-security", ""),
        "APT_OPTIONS": " ".join(options),
    }
    return {name: value for name, value in settings.items() if value}


def _debian_mirrors() -> dict[str, str]:
    """Suite → address of the first Debian 12 mirror in the host's apt sources; empty on another distribution."""
    targets = _output("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT) $(CREATED_BY)")
    found: dict[str, str] = {}
    for line in targets.splitlines():
        address, suite, component, kind = (line.split() + [""] * 4)[:4]
        if component == "main" and kind == "Packages" and address.startswith(("http://", "https://")):
            found.setdefault(suite, address.rstrip("/"))
    return found if "bookworm" in found else {}


def _output(*command: str) -> str:
    """What a command prints; nothing where it is missing or fails (a host without apt)."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def _remote(addresses: str) -> str:
    """Only the addresses a container can reach: no ``file:``, no path."""
    return " ".join(url for url in addresses.replace(",", " ").split() if re.search(r"(^|=)https?://", url))


def _pip_conf(env: Mapping[str, str], home: Path, etc: Path) -> dict[str, str]:
    """pip's [global] and [install] options; a later file wins, as with pip."""
    files = [
        etc / "xdg/pip/pip.conf",
        etc / "pip.conf",
        home / ".pip/pip.conf",
        home / ".config/pip/pip.conf",
    ]
    files += [Path(env["PIP_CONFIG_FILE"])] if env.get("PIP_CONFIG_FILE") else []
    parser = configparser.RawConfigParser()
    parser.read(files, encoding="utf-8")
    return {
        key: value
        for section in ("global", "install")
        if parser.has_section(section)
        for key, value in parser.items(section)
    }


def _uv_toml(env: Mapping[str, str], home: Path, etc: Path) -> dict[str, str]:
    """The default index and the further ones of uv's configuration; a later file wins."""
    files = [etc / "uv/uv.toml", home / ".config/uv/uv.toml"]
    files += [Path(env["UV_CONFIG_FILE"])] if env.get("UV_CONFIG_FILE") else []
    found: dict[str, str] = {}
    for file in filter(Path.is_file, files):
        config = tomllib.loads(file.read_text(encoding="utf-8"))
        indexes = config.get("index", [])
        default = [i["url"] for i in indexes if i.get("default")] or [config.get("index-url", "")]
        extra = [i["url"] for i in indexes if not i.get("default")] or config.get("extra-index-url", [])
        found |= {key: value for key, value in (("default", default[0]), ("extra", " ".join(extra))) if value}
    return found
