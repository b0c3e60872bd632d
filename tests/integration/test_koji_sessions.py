"""Sessions with a hub: logging in, expiry, and outages that hold nobody up."""

from __future__ import annotations

import ssl
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support import kerberos, koji_hub, servers
from support.authority import Authority
from support.koji_builds import Koji

from rebuilder.config import KojiSettings
from rebuilder.domain.build import SiteError
from rebuilder.domain.errors import InfrastructureError, RequestError
from rebuilder.inventory.koji.session import Denied, KojiSession, ask


@pytest.fixture
def running() -> Iterator[koji_hub.Hub]:
    with koji_hub.Hub(Koji()) as made:
        yield made


def settings(running: koji_hub.Hub, folder: Path, **changes: Any) -> KojiSettings:
    values = {"hub": running.url, "login": "password", "user": "rebuilder", "timeout_seconds": 5}
    return KojiSettings.model_validate({**values, "password_file": koji_hub.password_file(folder), **changes})


def test_reading_needs_no_name_and_logs_nobody_in(running: koji_hub.Hub, tmp_path: Path) -> None:
    session = KojiSession(KojiSettings(hub=running.url))
    assert session.call("getBuild", "nothing-1-1") is None
    session.close()
    assert running.logins == []


def test_a_session_is_opened_with_the_first_call_and_left_with_the_last(running: koji_hub.Hub, tmp_path: Path) -> None:
    session = KojiSession(settings(running, tmp_path), building=True)
    assert running.requests == 0
    assert session.call("getLoggedInUser")["name"] == "rebuilder"
    assert len(running.sessions) == 1
    session.close()
    assert running.sessions == {}
    assert session.call("getLoggedInUser")["name"] == "rebuilder", "it opens again"


def test_an_expired_session_is_renewed(running: koji_hub.Hub, tmp_path: Path) -> None:
    session = KojiSession(settings(running, tmp_path), building=True)
    session.call("getLoggedInUser")
    running.expire()
    assert session.call("getLoggedInUser")["name"] == "rebuilder"
    assert len(running.logins) == 2
    running.expire()
    assert [user["name"] for user in session.many([ask("getLoggedInUser")] * 2)] == ["rebuilder"] * 2


def test_a_hub_that_has_forgotten_the_session_gets_a_new_login(running: koji_hub.Hub, tmp_path: Path) -> None:
    session = KojiSession(settings(running, tmp_path), building=True)
    session.call("getLoggedInUser")
    running.forget()
    assert session.call("getLoggedInUser")["name"] == "rebuilder"
    assert running.logins == ["password", "password"]


def test_a_wrong_password_is_trouble_that_says_so(running: koji_hub.Hub, tmp_path: Path) -> None:
    chosen = settings(running, tmp_path)
    (tmp_path / "password").write_text("wrong")
    with pytest.raises(SiteError, match="invalid username or password"):
        KojiSession(chosen, building=True).call("getLoggedInUser")


def test_what_was_carried_out_is_not_carried_out_again_when_its_answer_is_lost(
    running: koji_hub.Hub, tmp_path: Path
) -> None:
    session = KojiSession(settings(running, tmp_path), building=True)
    session.call("getLoggedInUser")
    running.losing = "buildContainer"
    with pytest.raises(InfrastructureError, match="unable to retry call"):
        session.call("buildContainer", "git+https://src.example.com/app#1", "target", {})
    assert running.calls["buildContainer"] == 1
    assert session.call("getLoggedInUser")["name"] == "rebuilder"


def test_a_refusal_is_no_trouble(running: koji_hub.Hub, tmp_path: Path) -> None:
    session = KojiSession(settings(running, tmp_path), building=True)
    with pytest.raises(Denied, match="Invalid tagInfo") as refused:
        session.call("listTagged", "nothing")
    assert refused.value.code == 1000
    good, bad = session.many([ask("getBuild", 1), ask("listTagged", "nothing")])
    assert good is None
    assert isinstance(bad, Denied)


@pytest.mark.parametrize("trouble", ["refused", "offline", "503"])
def test_an_outage_is_trouble_in_one_line_and_passes(running: koji_hub.Hub, tmp_path: Path, trouble: str) -> None:
    for session in (KojiSession(settings(running, tmp_path), building=True), KojiSession(settings(running, tmp_path))):
        session.call("getBuild", 1)
        with running.away(trouble):
            for work in (lambda s=session: s.call("getBuild", 1), lambda s=session: list(s.many([ask("getBuild", 1)]))):
                with pytest.raises(InfrastructureError) as told:
                    work()
                assert running.url in str(told.value)
                assert "\n" not in str(told.value)
        assert session.call("getBuild", 1) is None


def test_the_first_write_after_an_expiry_is_carried_out(running: koji_hub.Hub, tmp_path: Path) -> None:
    session = KojiSession(settings(running, tmp_path), building=True)
    for number in range(3):
        session.call("buildContainer", f"git+https://src.example.com/app#{number}", "target", {})
    running.expire()
    session.call("buildContainer", "git+https://src.example.com/app#4", "target", {})
    assert running.calls["buildContainer"] == 4
    assert running.logins == ["password", "password"]


def test_a_call_that_takes_long_holds_up_no_other(running: koji_hub.Hub, tmp_path: Path) -> None:
    session = KojiSession(settings(running, tmp_path, timeout_seconds=5), building=True)
    running.slow = {"listTagged": 3.0}
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(session.call, "listTagged", "f42-images")
        while not running.calls["login"]:
            time.sleep(0.01)
        assert [session.call("getLoggedInUser")["name"] for _ in range(5)] == ["rebuilder"] * 5
        assert not slow.done()
        with pytest.raises(Denied):
            slow.result()
    assert len(running.logins) == 2, "one session for the slow call, one for the five others"


def test_many_threads_share_a_hub_and_its_sessions(running: koji_hub.Hub, tmp_path: Path) -> None:
    session = KojiSession(settings(running, tmp_path), building=True)
    with ThreadPoolExecutor(8) as pool:
        sources = [f"git+https://src.example.com/app#{number}" for number in range(80)]
        tasks = list(pool.map(lambda source: session.call("buildContainer", source, "target", {}), sources))
    assert len(set(tasks)) == 80
    assert len(running.logins) <= 8
    session.close()
    assert running.sessions == {}


def test_a_call_that_was_waited_for_in_vain_is_no_reason_to_refuse_the_next(
    running: koji_hub.Hub, tmp_path: Path
) -> None:
    session = KojiSession(settings(running, tmp_path, timeout_seconds=0.3), building=True)
    running.slow = {"listTagged": 2.0}
    with pytest.raises(InfrastructureError, match="timed out") as told:
        session.call("listTagged", "f42-images")
    assert told.value.arrived
    assert session.call("getLoggedInUser")["name"] == "rebuilder"


def test_a_call_may_be_given_more_time_than_others(running: koji_hub.Hub, tmp_path: Path) -> None:
    session = KojiSession(settings(running, tmp_path, timeout_seconds=0.3), building=True)
    running.slow = {"getLoggedInUser": 1.0}
    assert session.call_within(5, "getLoggedInUser")["name"] == "rebuilder"
    with pytest.raises(InfrastructureError, match="timed out"):
        session.call("getLoggedInUser")


@pytest.mark.parametrize(("trouble", "arrived"), [("refused", False), ("offline", False), ("503", True)])
def test_it_is_known_whether_a_call_may_have_arrived(
    running: koji_hub.Hub, tmp_path: Path, trouble: str, arrived: bool
) -> None:
    logged_in, new = (KojiSession(settings(running, tmp_path), building=True) for _ in range(2))
    logged_in.call("getLoggedInUser")
    with running.away(trouble):
        for session, expected in ((logged_in, arrived), (new, False)):
            with pytest.raises(InfrastructureError) as told:
                session.call("buildContainer", "git+https://src.example.com/app#1", "target", {})
            assert told.value.arrived is expected


def test_a_hub_whose_name_is_unknown_was_not_reached(running: koji_hub.Hub, tmp_path: Path) -> None:
    session = KojiSession(settings(running, tmp_path, hub="http://hub.invalid/kojihub"))
    with pytest.raises(InfrastructureError, match=r"hub\.invalid") as told:
        session.call("getBuild", 1)
    assert not told.value.arrived


def test_a_hub_that_goes_away_during_a_call_may_have_carried_it_out(running: koji_hub.Hub, tmp_path: Path) -> None:
    """The client sends a call again when the connection breaks: that the second one is refused proves nothing."""
    session = KojiSession(settings(running, tmp_path), building=True)
    session.call("getLoggedInUser")
    running.leaving = "buildContainer"
    with pytest.raises(InfrastructureError, match="refused") as told:
        session.call("buildContainer", "git+https://src.example.com/app#1", "target", {})
    assert told.value.arrived
    assert running.calls["buildContainer"] == 1


def test_batches_on_their_way_at_once_are_answered_in_order(running: koji_hub.Hub) -> None:
    for number in range(40):
        running.koji.source_build(f"package{number}-1-1")
    session = KojiSession(KojiSettings(hub=running.url))
    running.slow = {"multiCall": 0.5}
    began = time.monotonic()
    asked = [ask("getBuild", f"package{number}-1-1") for number in range(40)]
    answers = [build["nvr"] for build in session.many(asked, 4, 5)]
    assert answers == [f"package{number}-1-1" for number in range(40)]
    assert time.monotonic() - began < 3, "ten batches one after the other take five seconds"
    with running.away(), pytest.raises(InfrastructureError):
        list(session.many(asked, 4, 5))


def test_a_hub_that_does_not_answer_is_asked_once_for_a_call(running: koji_hub.Hub, tmp_path: Path) -> None:
    session = KojiSession(settings(running, tmp_path, timeout_seconds=0.2), building=True)
    session.call("getBuild", 1)
    before = running.requests
    with running.away("silent"), pytest.raises(InfrastructureError, match="timed out"):
        session.call("getBuild", 1)
    assert running.requests == before + 1


# --- what is missing


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"login": ""}, "koji.login is not set: gssapi, certificate or password"),
        ({"user": ""}, "koji.user is not set"),
        ({"password_file": None}, "koji.password_file is not set: the file with the password"),
        ({"password_file": "/nonexistent"}, "koji.password_file: /nonexistent cannot be read"),
        ({"login": "certificate"}, "koji.certificate is not set: the file with the client certificate and its key"),
        ({"login": "gssapi"}, "koji.keytab is not set: the keytab of the Kerberos principal"),
        ({"login": "gssapi", "keytab": __file__}, "koji.principal is not set"),
        ({"hub": ""}, "koji.hub is not set"),
    ],
)
def test_a_missing_credential_is_named_before_anything_is_asked(
    running: koji_hub.Hub, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(RequestError, match=r"consumer_config\.koji") as told:
        KojiSession(settings(running, tmp_path, **changes), building=True)
    assert said in str(told.value)
    assert running.requests == 0


def test_without_koji_s_client_it_is_said_how_to_get_it(
    running: koji_hub.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "koji", None)
    with pytest.raises(RequestError, match=r"pip install 'container-rebuilder\[koji\]'"):
        KojiSession(KojiSettings(hub=running.url))


# --- TLS


def served_with_tls(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("localhost"))
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def test_a_tls_client_certificate_logs_in_and_renews(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with koji_hub.Hub(Koji(), tls=served_with_tls(authority)) as running:
        chosen = KojiSettings(
            hub=running.url, login="certificate", certificate=authority.issue("rebuilder"), server_ca=authority.file
        )
        session = KojiSession(chosen, building=True)
        assert session.call("getLoggedInUser")["name"] == "rebuilder"
        running.expire()
        assert session.call("getLoggedInUser")["name"] == "rebuilder"
        assert running.logins == ["certificate", "certificate"]
        with pytest.raises(InfrastructureError, match="certificate"):
            KojiSession(chosen.model_copy(update={"server_ca": None}), building=True).call("getLoggedInUser")


# --- Kerberos


def test_a_keytab_logs_in_and_renews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    servers.need("kerberos", *kerberos.PROGRAMS)
    realm, authority = kerberos.Realm(tmp_path), Authority(tmp_path)
    for name, value in realm.environment.items():
        monkeypatch.setenv(name, value)
    ours, theirs = realm.keytab("rebuilder"), realm.keytab("HTTP/localhost")
    with realm.running(), koji_hub.Hub(Koji(), served_with_tls(authority), theirs) as running:
        principal = f"rebuilder@{kerberos.REALM}"
        chosen = KojiSettings(
            hub=running.url, login="gssapi", principal=principal, keytab=ours, server_ca=authority.file
        )
        session = KojiSession(chosen, building=True)
        assert session.call("getLoggedInUser")["name"] == "rebuilder"
        running.expire()
        assert session.call("getLoggedInUser")["name"] == "rebuilder"
        assert running.logins == [principal, principal]
        with running.away(), pytest.raises(InfrastructureError):
            session.call("getLoggedInUser")
        assert session.call("getLoggedInUser")["name"] == "rebuilder"
        with pytest.raises(InfrastructureError, match="gssapi auth failed"):
            KojiSession(chosen.model_copy(update={"principal": "nobody"}), building=True).call("getLoggedInUser")
