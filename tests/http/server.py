"""One real ComfyUI server for the whole session, with the pack and the lab in a base folder of its own."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACK = "ComfyUI-Azimuth"
PACKS = {PACK: ROOT, "azimuth_lab": ROOT / "lab"}
LOADERS = {  # for each of the host's loaders, the lab loader's output that takes the place of its outputs
    "CheckpointLoaderSimple": (0, 1, 2),
    "UNETLoader": (0,),
    "CLIPLoader": (1,),
    "VAELoader": (2,),
}
SIDE = 32  # the lab's pictures
START_SECONDS = 240
RUN_SECONDS = 180


class Trouble(Exception):
    """What went wrong, in one sentence."""


class Server:
    def __init__(self, port: int, base: Path, log: Path):
        self.port, self.base, self.log = port, base, log
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, body: object = None) -> tuple[int, bytes]:
        """Status and body of a GET, or with a body of a POST, to the loopback whatever proxy is set."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            text = None if body is None else json.dumps(body)
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request("GET" if body is None else "POST", path, text, headers)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def json(self, path: str):
        status, text = self.ask(path)
        if status != 200:
            raise Trouble(f"GET {path} answers {status}: {text.decode()[:300]}")
        return json.loads(text)

    def settings(self, **values) -> None:
        """Set the front-end's settings, with the dots of their names written as double underscores."""
        status, _ = self.ask("/settings", {name.replace("__", "."): value for name, value in values.items()})
        if status != 200:
            raise Trouble(f"POST /settings answers {status}.")

    def submit(self, prompt: dict) -> tuple[int, dict]:
        """The status and the answer to a prompt in API format."""
        status, text = self.ask("/prompt", {"prompt": prompt})
        return status, json.loads(text)

    def run(self, prompt: dict, seconds: float = RUN_SECONDS) -> dict:
        """The history of an accepted prompt once it has ended, well or not."""
        status, answer = self.submit(prompt)
        if status != 200:
            raise Trouble(f"The server refused the prompt: {json.dumps(answer)}")
        name, end = answer["prompt_id"], time.monotonic() + seconds
        while time.monotonic() < end:
            history = self.json(f"/history/{name}")
            if name in history:
                return history[name]
            time.sleep(0.1)
        raise Trouble(f"The prompt was not done after {seconds:g} s: read {self.log}.")

    def refusal(self, prompt: dict) -> str:
        """What a user reads about a prompt that is refused: for each error its node, message and details."""
        status, answer = self.submit(prompt)
        assert status == 400, f"The server accepted the prompt: {answer}"
        found = [
            f"{node['class_type']}: {error['message']}: {error['details']}"
            for node in answer["node_errors"].values()
            for error in node["errors"]
        ]
        return "\n".join([f"{answer['error']['message']}: {answer['error']['details']}", *found])


def event(history: dict, name: str) -> dict | None:
    """The data of the first event of that name in a run's history."""
    return next((data for kind, data in history["status"]["messages"] if kind == name), None)


def failure(history: dict) -> str:
    """Why a run failed, for an assertion's text; empty for a run that went well."""
    if history["status"]["status_str"] == "success":
        return ""
    error = event(history, "execution_error") or {"node_type": "?", "exception_message": history["status"]}
    return f"{error['node_type']}: {error['exception_message']}"


def for_lab(prompt: dict, model: str, steps: int) -> dict:
    """A prompt with the lab's loader in place of others, for one picture of its size in so many steps."""
    loaders = {name: LOADERS[node["class_type"]] for name, node in prompt.items() if node["class_type"] in LOADERS}
    swapped = {}
    for name, node in prompt.items():
        if name in loaders:
            continue
        inputs = dict(node["inputs"])
        for key, value in inputs.items():
            if isinstance(value, list) and value[0] in loaders:
                inputs[key] = ["lab", loaders[value[0]][value[1]]]
        if node["class_type"].startswith("Empty") and "width" in inputs:
            inputs.update(width=SIDE, height=SIDE, batch_size=1)
        if "steps" in inputs:
            inputs["steps"] = steps
        swapped[name] = {**node, "inputs": inputs}
    if loaders:
        swapped["lab"] = {"class_type": "AzimuthLabLoader", "inputs": {"model": model}}
    return swapped


def host() -> Path:
    folder = Path(os.environ.get("COMFYUI_PATH", ""))
    if not (folder / "main.py").is_file():
        raise Trouble(f"Set COMFYUI_PATH to a ComfyUI folder ({str(folder)!r} is none), or run `python dev.py test`.")
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def link_packs(base: Path) -> None:
    folder = base / "custom_nodes"
    folder.mkdir()
    for name, source in PACKS.items():
        try:
            (folder / name).symlink_to(source, target_is_directory=True)
        except OSError:  # Windows, for users without the right to make links
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns(".git", "__pycache__", ".*_cache"))


def last_words(log: Path) -> str:
    return " / ".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])


def wait(server: Server, process: subprocess.Popen) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise Trouble(f"ComfyUI stopped while it started, with the last words {last_words(server.log)!r}.")
        with contextlib.suppress(OSError):
            if server.ask("/system_stats")[0] == 200:
                return
        time.sleep(0.2)
    raise Trouble(f"ComfyUI did not answer within {START_SECONDS} s; its last words: {last_words(server.log)!r}.")


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """A server that is up inside the block; it and everything it wrote are gone afterwards."""
    import torch

    folder = host()
    with tempfile.TemporaryDirectory(prefix="azimuth-", ignore_cleanup_errors=True) as temporary:
        base = Path(temporary)
        server = Server(free_port(), base, base / "server.log")
        link_packs(base)
        command = [sys.executable, str(folder / "main.py")]
        command += ["--listen", "127.0.0.1", "--port", str(server.port)]
        # Not in memory, where the oldest hosts look for their tables in another database than they made them in.
        command += ["--base-directory", str(base), "--database-url", f"sqlite:///{base / 'host.db'}"]
        command += ["--disable-api-nodes", "--disable-auto-launch"]
        command += [] if torch.cuda.is_available() else ["--cpu"]
        # SIGTERM too must leave through `finally`, or the server outlives us.
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        with open(server.log, "w", encoding="utf-8") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait(server, process)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def or_fail(resource) -> Iterator:
    """The resource for a fixture; the trouble that it has at its start fails the tests with its one sentence."""
    with contextlib.ExitStack() as stack:
        problem = ""
        try:
            opened = stack.enter_context(resource)
        except Trouble as trouble:
            problem = str(trouble)
        if problem:
            pytest.fail(problem, pytrace=False)
        yield opened


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with or_fail(running()) as opened:
        yield opened
