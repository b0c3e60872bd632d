"""The web as a process of its own, and the verbs that ask it instead of the database."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from support import bus
from support.users import ROOT, User, update

from rebuilder.demo.process import free_port


@pytest.fixture
def user(tmp_path: Path) -> User:
    return somebody(tmp_path)


def somebody(folder: Path) -> User:
    """Somebody with a wave that is done, of which a build failed, and something on hold."""
    found = User(folder)
    found.configure(simulated='failures = ["httpd:f42"]', more=more(free_port()))
    found.types("inventory", "sync")
    found.types("replay", "-", stdin=update())
    found.types("run", "--until-idle")
    found.types("hold", "base:f42", "--who", "ann", "--reason", "tests")
    return found


def more(port: int) -> str:
    return f"web = {{host = '127.0.0.1', port = {port}}}"


def port_of(user: User) -> int:
    found = re.search(r"port = (\d+)", (user.folder / "config.toml").read_text())
    assert found is not None
    return int(found[1])


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def url(user: User) -> Iterator[str]:
    with serving(user) as found:
        yield found


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[User, str]]:
    """Somebody and the server, for tests that change nothing."""
    user = somebody(tmp_path_factory.mktemp("asked"))
    with serving(user) as url:
        yield user, url


@contextmanager
def serving(user: User) -> Iterator[str]:
    quiet = subprocess.DEVNULL
    running = subprocess.Popen(user.command("web"), cwd=ROOT, env=user.environment, stdout=quiet, stderr=quiet)
    port = port_of(user)
    try:
        bus.until(lambda: running.poll() is None and answers(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        assert running.wait(30) == 0


QUESTIONS = [
    ("status",),
    ("status", "httpd:f42"),
    ("status", "base:f42", "httpd:f42", "openssl-3.2.2-1.fc42"),
    ("status", "openssl-3.2.9-1.fc42"),
    ("wave", "1"),
    ("wave", "1", "--story"),
    ("why", "httpd:f42"),
    ("why", "base:f42"),
    ("why", "app:f42"),
    ("why", "httpd:f42", "--update", "openssl-3.2.9-1.fc42", "--severity", "high"),
    ("graph",),
    ("graph", "--image", "httpd:f42"),
    ("graph", "--wave", "1"),
    ("graph", "--update", "openssl-3.2.9-1.fc42", "--severity", "low"),
    ("graph", "--format", "dot"),
    ("plan", "--update", "openssl-3.2.9-1.fc42"),
    ("plan", "--update", "openssl-3.2.9-1.fc42", "--severity", "high", "--stream", "f42", "--explain"),
    ("plan", "--update", "openssl-3.2.9-1.fc42", "--descendants", "all"),
]


@pytest.mark.parametrize("question", QUESTIONS, ids=" ".join)
def test_a_server_says_what_the_database_says(asked: tuple[User, str], question: tuple[str, ...]) -> None:
    user, url = asked
    mine = user.types(*question)
    theirs = user.types(*question, "--server", url)
    assert mine.stdout
    assert (theirs.returncode, theirs.stdout, theirs.stderr) == (mine.returncode, mine.stdout, mine.stderr)


@pytest.mark.parametrize("question", [question for question in QUESTIONS if "dot" not in question], ids=" ".join)
def test_a_server_says_it_as_json_too(asked: tuple[User, str], question: tuple[str, ...]) -> None:
    user, url = asked
    mine = user.types(*question, "--json")
    theirs = user.types(*question, "--json", "--server", url)
    assert mine.stdout.startswith(("{", "["))
    assert (theirs.returncode, theirs.stdout) == (mine.returncode, mine.stdout)


def test_a_wave_that_waits_for_approval_is_shown_by_a_server_too(user: User, url: str) -> None:
    policy = 'policy = [{name = "ask first", action = "approve"}]'
    user.configure(more=f"{more(port_of(user))}\n{policy}")
    user.types("release", "base:f42")
    other = update("m2").replace("openssl-3.2.2", "openssl-3.2.9")
    user.types("replay", "-", stdin=other)
    user.types("run", "--until-idle")
    waiting = str(user.reads("status", status=1)["waves"][0]["id"])
    mine = user.types("wave", waiting)
    assert "ask first" in mine.stdout
    assert user.types("wave", waiting, "--server", url).stdout == mine.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [
        (("wave", "7"), 2, "there is no wave 7"),
        (("why", "ghost:f42"), 2, "unknown image ghost:f42"),
        (("plan", "--update", "openssl"), 2, "openssl"),
        (("plan", "--update", "openssl-3.2.9-1.fc42", "--stream", "f99"), 2, "f99"),
        (("plan", "--base", "nowhere.example.com/base:1"), 2, "no image is built on nowhere.example.com/base:1"),
        (("log", "ghost:f42"), 2, "unknown image ghost:f42"),
        (("why", "base:f42", "--update", "bash"), 2, "not an NVR"),
        (("graph", "--image", "ghost:f42"), 2, "unknown image ghost:f42"),
    ],
)
def test_what_a_server_refuses_is_one_line(
    asked: tuple[User, str], arguments: tuple[str, ...], status: int, word: str
) -> None:
    user, url = asked
    mine = user.is_refused(*arguments, status=status)
    theirs = user.is_refused(*arguments, "--server", url, status=status)
    assert word in mine
    assert theirs == mine


@pytest.mark.parametrize("question", [("status",), ("wave", "1"), ("why", "base:f42"), ("log", "base:f42"), ("graph",)],
                         ids=lambda question: question[0])
def test_a_server_that_is_not_there_is_one_line_and_status_3(
    asked: tuple[User, str], question: tuple[str, ...]
) -> None:
    user, _ = asked
    line = user.is_refused(*question, "--server", f"http://127.0.0.1:{free_port()}", status=3)
    assert "cannot be reached: " in line


def test_what_is_no_server_of_ours_is_said(asked: tuple[User, str]) -> None:
    user, _ = asked
    assert "must start with http" in user.is_refused("status", "--server", "localhost")


def test_status_is_watched_until_somebody_ends_it(asked: tuple[User, str]) -> None:
    user, _ = asked
    watching = subprocess.Popen(user.command("status", "--watch"), cwd=ROOT, env=user.environment,
                                stdout=subprocess.PIPE, text=True)
    try:
        assert watching.stdout is not None
        assert any("nothing is being rebuilt" in told for told in watching.stdout)
        watching.send_signal(2)
        assert watching.wait(30) == 1  # as of `status`: a rebuild failed
    finally:
        watching.kill()
        watching.communicate()


def test_an_address_that_is_taken_is_one_line(asked: tuple[User, str]) -> None:
    user, _ = asked
    assert "consumer_config.web: cannot listen" in user.is_refused("web")


def test_a_log_is_read_and_followed_over_a_server(user: User) -> None:
    (rebuild, _) = user.reads("wave", "1", status=1)["rebuilds"]
    folder = user.folder / "builds" / rebuild["ref"]
    folder.mkdir(parents=True)
    (folder / "log").write_text("STEP 1\nit went wrong: <&>\n")
    user.configure(more=f"{more(port_of(user))}\nbuildah = {{state = '{user.folder}/builds'}}")
    path = user.folder / "config.toml"
    path.write_text(path.read_text().replace('builder = "simulated"', 'builder = "buildah"'))
    with serving(user) as url:
        for options in ((), ("--follow",), ("--server", url), ("--follow", "--server", url)):
            assert user.types("log", "base:f42", *options).stdout == "STEP 1\nit went wrong: <&>\n"
            assert user.types("log", "--rebuild", "1", "--attempt", "1", *options).stdout.startswith("STEP 1\n")
        assert "has not been built" in user.is_refused("log", "app:f42", "--server", url)


def test_tokens_are_made_once_and_revoked(user: User, url: str) -> None:
    token = user.types("token", "add", "ci", "--scope", "pause").stdout.strip()
    (known,) = user.reads("token", "list")
    assert (known["name"], known["scopes"]) == ("ci", ["pause"])
    assert token not in user.types("token", "list").stdout
    assert "named ci already" in user.is_refused("token", "add", "ci", "--scope", "all")
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx.post(f"{url}/api/v1/actions", json={"verb": "pause"}, headers=headers).status_code == 201
    assert user.reads("status", status=1)["paused"]["who"] == "ci"
    user.types("token", "revoke", "ci")
    assert httpx.post(f"{url}/api/v1/actions", json={"verb": "resume"}, headers=headers).status_code == 401
    assert "no token named ci" in user.is_refused("token", "revoke", "ci")


@pytest.mark.parametrize(
    ("scope", "word"),
    [
        ("explode", "the orders are retry, cancel,"),
        ("retry:", "a pattern must not be empty"),
        ("retry:/(/", "is not a regular expression"),
        ("pause:base:f42", "pause is about no image: leave 'base:f42' out"),
        ("approve:*", "approve is about no image"),
        ("Retry", "the orders are"),
    ],
)
def test_a_scope_that_is_none_is_one_line(asked: tuple[User, str], scope: str, word: str) -> None:
    user, _ = asked
    assert word in user.is_refused("token", "add", "x", "--scope", scope)


def test_a_token_for_some_images_is_for_no_others(user: User, url: str) -> None:
    scopes = "--scope", "hold:httpd*:f42", "--scope", "release:httpd"
    token = user.types("token", "add", "web team", *scopes).stdout.strip()
    assert user.reads("token", "list")[0]["scopes"] == ["hold:httpd*:f42", "release:httpd"]
    headers = {"Authorization": f"Bearer {token}"}
    answers = [httpx.post(f"{url}/api/v1/actions", json={"verb": "hold", "target": image}, headers=headers)
               for image in ("httpd:f42", "base:f42")]  # fmt: skip
    assert [answer.status_code for answer in answers] == [201, 403]
    lacking = "the token web team lacks the scope hold:base:f42, or hold; it has hold:httpd*:f42, release:httpd"
    assert answers[1].json()["detail"] == lacking
