"""Runs the steps of the Dockerfile without a container engine, and then the image as it would run.

    sudo python3 deploy/try_image.py

It needs Linux, root, and what pip and uv need to reach their registry. Each stage is a layer over this machine's own
file system (overlayfs, in a mount namespace of its own: nothing stays), with this python in the place of the base
image's. The last stage is then mounted read-only but for /data and /tmp, and serves as the Dockerfile's user. Ends with
1 where a step or a check fails.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from fnmatch import fnmatch
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[1]
SCRATCH = Path("/run/nexus-image")
PORT = "18765"
FAKE = {
    "NEXUS_SECRET_KEY": "a-fake-secret-key-for-tests-only-0123456789abcdefghij",
    "CLAUDE_API_KEY": "sk-ant-api03-fake",
}
READY_SECONDS = 60
Stage = dict[str, str]


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    if os.geteuid() != 0:
        print("try_image: it mounts file systems, and so needs root", file=sys.stderr)
        return 2
    if "NEXUS_TRY_IMAGE" not in os.environ:
        os.environ["NEXUS_TRY_IMAGE"] = "inside"
        os.execvp("unshare", ["unshare", "--mount", "--pid", "--fork", "--kill-child", sys.executable, __file__])
    SCRATCH.mkdir(exist_ok=True)
    _run(["mount", "-t", "tmpfs", "tmpfs", str(SCRATCH)])
    try:
        root, stage = _build()
        return _try(root, stage)
    except subprocess.CalledProcessError as error:
        print(f"try_image: step failed with {error.returncode}: {error.cmd}", file=sys.stderr)
        return 1


def _build() -> tuple[Path, Stage]:
    """The last stage's root and environment."""
    roots: dict[str, Path] = {}
    stage: Stage = {}
    root = Path()
    for instruction, rest in _instructions((HOUSE / "Dockerfile").read_text()):
        print(f"{instruction} {rest[:110]}", flush=True)
        match instruction:
            case "FROM":
                name = rest.rpartition(" AS ")[2]
                root = roots[name] = _layer(f"stage{len(roots)}")
                stage = {"PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
            case "ENV":
                stage |= dict(part.split("=", 1) for part in shlex.split(rest.replace("$PATH", stage["PATH"])))
            case "WORKDIR":
                stage["WORKDIR"] = rest
                (root / rest[1:]).mkdir(parents=True, exist_ok=True)
            case "COPY":
                _copy(rest, root, stage, roots)
            case "RUN":
                inside = f"cd {stage.get('WORKDIR', '/')} && {rest}"
                _run(["chroot", str(root), "/bin/sh", "-ec", inside], os.environ | stage)
            case "USER" | "ENTRYPOINT" | "CMD" | "HEALTHCHECK":
                stage[instruction] = rest
    return root, stage


def _instructions(text: str) -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n\s*", "", text)
    lines = [line.strip() for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in lines]


def _layer(name: str) -> Path:
    upper, work, root = (SCRATCH / f"{name}-{each}" for each in ("upper", "work", "root"))
    for each in (upper, work, root):
        each.mkdir()
    _run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={upper},workdir={work}", str(root)])
    for shared in ("proc", "dev"):
        _run(["mount", "--rbind", f"/{shared}", str(root / shared)])
    for parent in Path(sys.executable).resolve().parents[:-1]:  # the base image's python is everybody's
        (root / str(parent)[1:]).chmod(0o755)
    return root


def _copy(rest: str, root: Path, stage: Stage, roots: dict[str, Path]) -> None:
    *sources, target = rest.split()
    to = root / (Path(stage.get("WORKDIR", "/")) / target).relative_to("/")
    if sources[0].startswith("--from="):
        shutil.copytree(roots[sources[0].removeprefix("--from=")] / sources[1][1:], to, symlinks=True)
        return
    patterns = [
        line for line in (HOUSE / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")
    ]

    def ignored(folder: str, names: list[str]) -> set[str]:
        paths = {name: str((Path(folder) / name).relative_to(HOUSE)) for name in names}
        return {
            name
            for name, path in paths.items()
            for pattern in patterns
            if fnmatch(path, pattern) or (pattern.startswith("**/") and fnmatch(name, pattern[3:]))
        }

    for source in sources:
        if (HOUSE / source).is_dir():
            shutil.copytree(HOUSE / source, to, ignore=ignored, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy(HOUSE / source, to)


def _try(root: Path, stage: Stage) -> int:
    for folder, mode in (("data", "0700"), ("tmp", "1777")):
        options = f"mode={mode}" + (f",uid={stage['USER']},gid={stage['USER']}" if folder == "data" else "")
        _run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(root / folder)])
    _run(["mount", "-o", "remount,bind,ro", str(root)])
    user = f"{stage['USER']}:{stage['USER']}"
    environment = {
        name: value for name, value in stage.items() if name not in ("USER", "CMD", "ENTRYPOINT", "HEALTHCHECK")
    }
    environment |= FAKE | {"HOST": "127.0.0.1", "PORT": PORT, "HOME": "/nonexistent"}

    def inside(*command: str) -> list[str]:
        return [
            "chroot",
            f"--userspec={user}",
            str(root),
            "/bin/sh",
            "-c",
            'cd "$WORKDIR" && exec "$@"',
            "sh",
            *command,
        ]

    def said(*command: str) -> str:
        return subprocess.run(
            inside(*command), env=environment, check=True, capture_output=True, text=True
        ).stdout.strip()

    environment["NEXUS_ENCRYPTION_KEYS"] = said("nexus", "generate-secret", "NEXUS_ENCRYPTION_KEYS")
    checks = {
        "the root is read-only": subprocess.run(["touch", str(root / "x")], capture_output=True).returncode != 0,
        "nexus --version": "version" in said("nexus", "--version"),
        "nexus migrate": bool(said("nexus", "migrate")),
        "no pip, no uv": not {"pip", "uv"} & {each.name for each in (root / "nexus/.venv/bin").iterdir()},
    }
    command = [*_list_of(stage["ENTRYPOINT"]), *_list_of(stage["CMD"])]
    process = subprocess.Popen(inside(*command), env=environment)
    try:
        checks["/livez"] = _becomes_ready("/livez")
        checks["/readyz"] = _becomes_ready("/readyz")
        checks["a static file"] = _status("/static/dashboard/dashboard.css") == 200
        checks["the sign-in page"] = _status("/admin/login/") in (200, 301)
        probe = _list_of(stage["HEALTHCHECK"].partition("CMD ")[2])
        checks["the health check"] = subprocess.run(inside(*probe), env=environment).returncode == 0
    finally:
        process.send_signal(signal.SIGTERM)
        checks["exit code 0 after SIGTERM"] = process.wait(30) == 0
    checks["no health when it is gone"] = (
        subprocess.run(inside(*probe), env=environment, capture_output=True).returncode != 0
    )
    size = sum(each.lstat().st_size for each in (root / "nexus").rglob("*") if not each.is_dir())
    print(f"/nexus is {size / 1e6:.0f} MB")
    for name, is_well in checks.items():
        print(f"{'ok    ' if is_well else 'FAILED'} {name}")
    return 0 if all(checks.values()) else 1


def _list_of(json_list: str) -> list[str]:
    return [str(each) for each in json.loads(json_list)]


def _becomes_ready(path: str) -> bool:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if _status(path) == 200:
            return True
        time.sleep(0.2)
    return False


def _status(path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    subprocess.run(command, env=environment, check=True)


if __name__ == "__main__":
    sys.exit(main())
