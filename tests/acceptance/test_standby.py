"""Two engines on one database: one acts, and the other stands by or is refused."""

from __future__ import annotations

from support import users
from support.buildah_world import until
from support.users import User, engine_of

user = users.user


def test_a_second_engine_on_the_same_database_is_refused(user: User) -> None:
    user.types("db", "upgrade")
    with engine_of(user):
        assert "another engine runs on this database" in user.is_refused("engine", "--until-idle")
    assert user.types("engine", "--until-idle").returncode == 0


def test_a_second_engine_stands_by_and_takes_over(user: User) -> None:
    """Whatever it was that ended the first one: it was killed, and let go of nothing."""
    user.types("db", "upgrade")
    with engine_of(user) as first, engine_of(user) as second:
        until(lambda: len(user.reads("status")["standbys"]) == 1)
        active = user.reads("status")["active"]
        assert f":{first.pid}:" in active
        first.kill()
        until(lambda: f":{second.pid}:" in user.reads("status")["active"])
        assert user.reads("status")["standbys"] == []
