"""A user's git configuration in which everything that can reach bytes, refs or output does."""

from pathlib import Path

HOOKS = [
    "applypatch-msg",
    "pre-applypatch",
    "post-applypatch",
    "pre-commit",
    "pre-merge-commit",
    "prepare-commit-msg",
    "commit-msg",
    "post-commit",
    "pre-rebase",
    "post-checkout",
    "post-merge",
    "pre-push",
    "pre-receive",
    "update",
    "proc-receive",
    "post-receive",
    "post-update",
    "reference-transaction",
    "push-to-checkout",
    "pre-auto-gc",
    "post-rewrite",
    "post-index-change",
]

_CONFIG = """
[user]
    name = Ann
    email = ann@example.org
    signingKey = missing
[core]
    autocrlf = true
    eol = crlf
    hooksPath = {folder}/hooks
    attributesFile = {folder}/attributes
    excludesFile = {folder}/ignore
    fsmonitor = /bin/false
    pager = false
    editor = false
    quotePath = true
    fileMode = false
    symlinks = false
    sharedRepository = all
    sparseCheckout = true
    splitIndex = true
    untrackedCache = true
    abbrev = 4
[init]
    templateDir = {folder}/template
    defaultBranch = elsewhere
[commit]
    gpgSign = true
[tag]
    gpgSign = true
[gpg]
    program = false
[push]
    gpgSign = true
    followTags = true
    default = nothing
    recurseSubmodules = only
[filter "shout"]
    smudge = sed s/small/LARGE/
    clean = sed s/LARGE/small/
    required = true
[diff]
    external = false
    noprefix = true
    mnemonicPrefix = true
    renames = copies
    submodule = log
[diff "shout"]
    command = false
    textconv = false
[color]
    ui = always
[i18n]
    commitEncoding = ISO-8859-1
    logOutputEncoding = ISO-8859-1
[log]
    showSignature = true
    date = relative
    decorate = full
[format]
    pretty = %h
[status]
    showUntrackedFiles = no
    short = false
    branch = true
[fetch]
    prune = true
    pruneTags = true
[transfer]
    hideRefs = refs
[clone]
    defaultRemoteName = elsewhere
    rejectShallow = true
[submodule]
    recurse = true
[gc]
    auto = 1
[url "/nowhere/"]
    insteadOf = /
"""


def git_config(folder: Path) -> Path:
    """Write the configuration, its hooks, template and attributes below ``folder``; returns the file.

    Every hook that runs leaves its name in ``folder/ran`` and fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for place in (folder / "hooks", folder / "template/hooks"):
        place.mkdir(parents=True)
        for name in HOOKS:
            hook = place / name
            hook.write_text(f"#!/bin/sh\necho {place}/{name} >> '{folder}/ran'\nexit 1\n")
            hook.chmod(0o755)
    (folder / "template/info").mkdir()
    (folder / "template/info/attributes").write_text("* filter=shout\n")
    (folder / "attributes").write_text("* filter=shout diff=shout ident\n")
    (folder / "ignore").write_text("*.mine\n")
    config = folder / "gitconfig"
    config.write_text(_CONFIG.format(folder=folder))
    return config
