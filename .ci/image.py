"""Take the steps of the Dockerfile in a bare Debian tree, without Docker; needs root, debootstrap and some minutes.

Both of its stages begin with a tree of `debootstrap` and Debian's own Python where the images have theirs. Then what
compose runs is run in it, as the unprivileged user, with everything but `var`, `backups` and /tmp read-only.
"""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parent.parent
SUITE = "bookworm"
# As little as `FROM python:…-slim` brings, for the steps that come after it
BASE = "apt-get update && apt-get install -y --no-install-recommends python3 python3-venv python3-dev"
# How this machine reaches the registries; the authorities under a name that no package writes to
AUTHORITIES = "/etc/image-test-authorities.crt"
NETWORK = {
    "/etc/resolv.conf": "/etc/resolv.conf",
    "/etc/hosts": "/etc/hosts",
    "/etc/ssl/certs/ca-certificates.crt": AUTHORITIES,
}
PRODUCTION = {"PELUSA_DOMAIN": "pelusa.example.com", "TRUSTED_PROXIES": "172.30.81.2"}


@dataclass
class Stage:
    """A tree, and what the steps so far said of it."""

    tree: Path
    env: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "root"
    command: list[str] = field(default_factory=list)

    def run(self, command: str) -> None:
        """Run a shell command in the tree as root."""
        print(f"    RUN {command}", flush=True)
        argv = ["chroot", str(self.tree), "sh", "-ec", f"cd {self.folder} && {command}"]
        subprocess.run(argv, env=clean() | self.env, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    if os.getuid() != 0 or not shutil.which("debootstrap"):
        sys.exit("image-test needs root and debootstrap")
    with tempfile.TemporaryDirectory(prefix="pelusa-image-") as scratch:
        began = time.monotonic()
        final = build(Path(scratch))
        prove(final)
        print(f"the image's steps work ({time.monotonic() - began:.0f} s)")


def build(scratch: Path) -> Stage:
    """Take every step and return the last stage."""
    bare = scratch / "bare"
    print(f"    debootstrap {SUITE}", flush=True)
    subprocess.run(
        ["debootstrap", "--variant=minbase", SUITE, str(bare), *mirror()], check=True, stdout=subprocess.DEVNULL
    )
    prepare(Stage(bare))
    stages: dict[str, Stage] = {}
    stage = Stage(bare)
    for word, rest in steps((ROOT / "Dockerfile").read_text()):
        if word == "FROM":
            name = rest.partition(" AS ")[2] or "final"
            stage = stages[name] = Stage(scratch / name)
            subprocess.run(["cp", "-a", str(bare), str(stage.tree)], check=True)
        else:
            take(word, rest, stage, stages)
    return stage


def mirror() -> list[str]:
    """Return the mirror that this machine uses itself, nothing for debootstrap's own."""
    known = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)"], capture_output=True, text=True, check=True
    )
    return [site for site in known.stdout.split() if site.rstrip("/").endswith("/debian")][:1]


def prepare(bare: Stage) -> None:
    for path, there in NETWORK.items():
        if Path(path).exists():
            target = bare.tree / there.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    bare.run(BASE)
    bare.run("ln -s python3 /usr/bin/python")


def steps(text: str) -> list[tuple[str, str]]:
    """Return the instructions with their words, comments left out and continued lines joined."""
    bare = re.sub(r"(?m)^\s*#.*\n", "", text)
    lines = re.sub(r"\\\n\s*", " ", bare).splitlines()
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in lines if line.strip()]


def take(word: str, rest: str, stage: Stage, stages: dict[str, Stage]) -> None:
    if word == "RUN":
        stage.run(rest)
    elif word == "COPY":
        copy(shlex.split(rest), stage, stages)
    elif word == "ENV":
        stage.env |= {name: value.replace("$PATH", clean()["PATH"]) for name, value in re.findall(r"(\w+)=(\S+)", rest)}
    elif word == "WORKDIR":
        stage.folder = rest
        (stage.tree / rest.lstrip("/")).mkdir(exist_ok=True)
    elif word == "USER":
        stage.user = rest
    elif word == "CMD":
        stage.command = json.loads(rest)
    elif word not in ("VOLUME", "EXPOSE"):
        sys.exit(f"image-test does not know {word}")


def copy(words: list[str], stage: Stage, stages: dict[str, Stage]) -> None:
    if words[0].startswith("--from="):
        source = stages[words[0].removeprefix("--from=")].tree
        subprocess.run(
            ["cp", "-a", str(source / words[1].lstrip("/")), str(stage.tree / words[2].lstrip("/"))], check=True
        )
        return
    here = stage.tree / stage.folder.lstrip("/")
    for file in context() if words[0] == "." else words[:-1]:
        (here / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, here / file)


def context() -> list[str]:
    """Return the files that .dockerignore lets through."""
    let_through = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *let_through]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [file for file in files if "/tests/" not in file]


def clean() -> dict[str, str]:
    """Return an environment with nothing of ours but how packages are reached."""
    kept = {name: value for name, value in os.environ.items() if name == "PIP_INDEX_URL"} | {"PIP_CERT": AUTHORITIES}
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", **kept}


def prove(stage: Stage) -> None:
    """Run what compose runs, as it runs it."""
    stage.env |= PRODUCTION
    for command in ("check --deploy --fail-level WARNING", "prepare", "doctor --help", "backup"):
        subprocess.run(inside(stage, ["python", "manage.py", *command.split()]), env=clean() | stage.env, check=True)
    refused = subprocess.run(
        inside(stage, ["touch", "manage.py"]), env=clean() | stage.env, capture_output=True, check=False
    )
    if refused.returncode == 0:
        sys.exit("the application's folder can be written")
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    served = [word.replace("0.0.0.0:8000", f"127.0.0.1:{port}") for word in stage.command]
    with subprocess.Popen(inside(stage, served), env=clean() | stage.env) as web:
        try:
            print(f"    /health/live: {answer(port)}")
        finally:
            web.terminate()


def inside(stage: Stage, argv: list[str]) -> list[str]:
    """Return what runs a program in the tree as its user, with a read-only root and what compose mounts."""
    tree, here = stage.tree, stage.tree / stage.folder.lstrip("/")
    mounts = [f"mount --bind {tree} {tree}", f"mount -t proc proc {tree}/proc", f"mount -t tmpfs tmpfs {tree}/tmp"]
    mounts += [f"mount --bind {here}/{each} {here}/{each}" for each in ("var", "backups")]
    mounts += [f"mount -o remount,ro,bind {tree}"]
    program = f"cd {stage.folder} && exec {shlex.join(argv)}"
    chroot = shlex.join(["chroot", f"--userspec={stage.user}:{stage.user}", str(tree), "sh", "-c", program])
    return ["unshare", "--mount", "sh", "-ec", "; ".join([*mounts, f"exec {chroot}"])]


def answer(port: int) -> str:
    for _ in range(300):
        try:
            with urlopen(f"http://127.0.0.1:{port}/health/live", timeout=2) as said:
                return str(said.read().decode())
        except OSError:
            time.sleep(0.2)
    sys.exit("the web process did not come up")


if __name__ == "__main__":
    main()
