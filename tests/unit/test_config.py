"""The configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from rebuilder import config, config_file
from rebuilder.config import Settings
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Stream
from rebuilder.domain.topics import Notice


def load(folder: Path, text: str) -> Settings:
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return config.load(path)


def test_with_no_file_at_all_there_is_sqlite_in_the_state_directory(tmp_path: Path) -> None:
    settings = Settings()
    assert settings.database == f"sqlite:///{tmp_path / 'state' / 'rebuilder' / 'rebuilder.db'}"


def test_a_file_of_fedora_messaging_without_our_table_gives_the_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, 'amqp_url = "amqp://"\n') == Settings()


def test_the_table_is_read(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        """
        amqp_url = "amqps://example.org"
        [consumer_config]
        database_url = "postgresql+psycopg://rebuilder@db/rebuilder"
        max_builds = 20
        [consumer_config.inventory]
        source = "file"
        path = "/srv/inventory.yaml"
        [consumer_config.streams.f42]
        dist = ".fc42"
        bodhi_releases = ["F42"]
        """,
    )
    assert settings.database == "postgresql+psycopg://rebuilder@db/rebuilder"
    assert settings.max_builds == 20
    assert settings.inventory.path == Path("/srv/inventory.yaml")
    assert settings.known_streams == (Stream("f42", (".fc42",)),)


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("max_build = 3", "max_build: unknown key"),
        ("max_builds = 0", "max_builds"),
        ('max_builds = "many"', "max_builds"),
        ("settle_seconds = -1", "settle_seconds"),
        ('builder = "magic"', "builder"),
        ('descendants = "some"', "descendants"),
        ('database_url = "mysql://x"', "database_url"),
        ('inventory = "file"', "inventory: must be a table"),
        ('streams = "f42"', "streams: must be a table"),
        ('[consumer_config.inventory]\nsource = "thin air"', "inventory.source"),
        ('[consumer_config.inventory]\npaht = "x"', "inventory.paht: unknown key"),
        ('[consumer_config.streams.f42]\ndits = ".fc42"', "streams.f42.dits: unknown key"),
        ("[consumer_config.streams.f42]\nkoji_tags = 7", "streams.f42.koji_tags: must be a list"),
        ('[consumer_config.policy]\nimage = "app"', "policy: must be a list"),
        ("[consumer_config.simulated]\nspeed = 0", "simulated.speed"),
        ('[consumer_config.notify]\nevents = ["image.failed", "image.exploded"]', "notify.events.1"),
        ('[consumer_config.notify]\nurl = "rebuilder.example.org"', "notify.url"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, table: str, key: str) -> None:
    with pytest.raises(RequestError) as error:
        load(tmp_path, f"[consumer_config]\n{table}\n")
    assert f"{tmp_path / 'config.toml'}: consumer_config.{key}" in str(error.value)


def test_nothing_is_announced_unless_it_is_asked_for_and_never_in_a_dry_run(tmp_path: Path) -> None:
    notify = "[consumer_config.notify]\nenabled = true\nurl = 'https://example.org/'\n"
    assert Settings().announced == frozenset()
    assert load(tmp_path, notify).announced == frozenset(Notice)
    assert load(tmp_path, notify).notify.url == "https://example.org"
    assert load(tmp_path, f"{notify}events = ['image.failed']").announced == {Notice.IMAGE_FAILED}
    assert load(tmp_path, f"[consumer_config]\ndry_run = true\n{notify}").announced == frozenset()


def test_a_table_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="consumer_config: must be a table"):
        load(tmp_path, "consumer_config = 7\n")


def test_what_is_not_toml_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"not TOML: .*line 2"):
        load(tmp_path, "[consumer_config]\nbuilder = \n")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "missing.toml", tmp_path, tmp_path / "bytes"):
        with pytest.raises(RequestError, match=str(path)):
            config.load(path)


def test_the_file_given_goes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDORA_MESSAGING_CONF", str(tmp_path / "theirs"))
    assert config_file.configuration_file(None) == tmp_path / "theirs"
    monkeypatch.setenv("REBUILDER_CONFIG", str(tmp_path / "ours"))
    assert config_file.configuration_file(None) == tmp_path / "ours"
    assert config_file.configuration_file(tmp_path / "given") == tmp_path / "given"


def test_there_is_a_bus_where_a_broker_or_a_queue_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    for text, expected in (("", ""), ('amqp_url = "amqps://bus"', "amqps://bus"), ("[queues.ours]", "amqp://localhost")):
        path.write_text(text)
        assert (config_file.bus(path).url, config_file.bus(path).configured) == (expected, bool(expected))
    assert not config_file.bus(None).configured


def test_the_service_manager_s_state_directory_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    assert config.state_directory() == tmp_path / "rebuilder"


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The two usual places, ours and fedora-messaging's, where nothing is yet."""
    found = tmp_path / "ours.toml", tmp_path / "theirs.toml"
    monkeypatch.setattr(config_file, "OURS", found[0])
    monkeypatch.setattr(config_file, "THEIRS", found[1])
    return found


def test_the_file_in_its_usual_place_is_found_before_fedora_messaging_s(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = places
    assert config_file.origin(None).path is None
    theirs.write_text("")
    assert config_file.origin(None).path == theirs
    ours.write_text("[consumer_config]\n")
    assert config_file.origin(None).path == ours
    monkeypatch.setenv("FEDORA_MESSAGING_CONF", str(theirs))
    assert config_file.origin(None) == config_file.Origin(ours, passed_over=(theirs,))
    monkeypatch.setenv("REBUILDER_CONFIG", str(theirs))
    assert config_file.origin(None).path == theirs


def test_a_user_s_own_file_goes_before_the_system_s(places: tuple[Path, Path]) -> None:
    places[0].write_text("[consumer_config]\n")
    assert config_file.configuration_file(None) == places[0]
    config_file.user_file().parent.mkdir(parents=True)
    config_file.user_file().write_text("[consumer_config]\n")
    assert config_file.configuration_file(None) == config_file.user_file()
    assert config_file.origin(None).passed_over == (places[0],)


def test_credentials_are_where_systemd_put_them_or_where_it_takes_them_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """amqp_url = 'amqps://host'
    [tls]
    keyfile = '${CREDENTIALS}/broker.key'
    [queues.mine]
    [consumer_config]
    database_url = 'postgresql+psycopg://rebuilder@db/rebuilder?passfile=${CREDENTIALS}/pgpass'
    """
    (path := tmp_path / "config.toml").write_text(text)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert config_file.bus(path).tls["keyfile"] == "/etc/rebuilder/credentials/broker.key"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/x.service")
    assert config_file.bus(path).tls["keyfile"] == "/run/credentials/x.service/rebuilder_broker.key"
    assert load(tmp_path, text).database.endswith("?passfile=/run/credentials/x.service/rebuilder_pgpass")


def test_it_is_in_doubt_which_configuration_is_used_where_there_is_none_or_another(places: tuple[Path, Path]) -> None:
    ours, theirs = places
    assert config_file.origin(None).doubtful
    theirs.write_text('amqp_url = "amqp://bus"\n')
    assert config_file.origin(None).doubtful, "it has nothing of ours"
    assert "it has no [consumer_config]: defaults alone" in str(config_file.origin(None))
    ours.write_text("[consumer_config]\n")
    assert not config_file.origin(None).doubtful
    theirs.write_text("[consumer_config]\n")
    assert f"{theirs} is not read" in str(config_file.origin(None))
    assert config_file.origin(None).doubtful
    assert not config_file.origin(theirs).doubtful


def test_a_file_that_may_not_be_looked_at_is_not_passed_over(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self)) if self in places else FileNotFoundError(str(self))

    monkeypatch.setattr(Path, "stat", denied)
    assert config_file.origin(None).path == places[0]


@pytest.mark.parametrize("key", ["ampq_url", "querys", "consumer-config"])
def test_a_misspelt_key_of_fedora_messaging_is_refused_and_what_was_meant_is_said(tmp_path: Path, key: str) -> None:
    meant = {"ampq_url": "amqp_url", "querys": "queues", "consumer-config": "consumer_config"}[key]
    with pytest.raises(RequestError, match=rf"config.toml: {key}: unknown key; did you mean {meant}\?"):
        load(tmp_path, f'{key} = "x"\n')


@pytest.mark.parametrize(("table", "told"), [
    ("[consumer_config]\nmax_build = 1", r"consumer_config\.max_build: unknown key; did you mean max_builds\?"),
    ("[consumer_config.streams.f42]\nkoji_tag = []", r"streams\.f42\.koji_tag: unknown key; did you mean koji_tags\?"),
    ("[[consumer_config.policy]]\nname='a'\naction='deny'\nimages='b'", r"policy\.0\.images: .*did you mean image\?"),
])  # fmt: skip
def test_what_a_misspelt_key_of_ours_may_mean_is_said(tmp_path: Path, table: str, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        load(tmp_path, table)


def test_the_keys_of_fedora_messaging_are_those_that_are_known(tmp_path: Path) -> None:
    from fedora_messaging.config import DEFAULTS

    assert set(DEFAULTS) <= config_file.KEYS


@pytest.mark.parametrize(("wrong", "told"), [
    ({"push": "team/{name}"}, "is not a repository"), ({"push": "registry.example.com/{nam}"}, "use {name}, {stream}"),
    ({"push": "registry.example.com/{name}:latest"}, "is not a repository"),
    ({"tags": ["{stream}-{release}"]}, "use {stream}, {date}, {n}"), ({"tags": ["a b"]}, "is not a valid stream"),
])  # fmt: skip
def test_a_name_that_nothing_can_be_pushed_under_is_told_with_its_key(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(RequestError) as error:
        config.settings_of({"registry": wrong})
    assert f"consumer_config.registry.{next(iter(wrong))}: " in str(error.value) and told in str(error.value)


def test_the_names_that_never_move_come_first_for_all_repositories() -> None:
    settings = config.settings_of({"registry": {"push": ["a.example.com/{name}", "b.example.com/{stream}/{name}"]}})
    assert settings.registry.specs("app:f42", "20261128", 2) == (
        ("a.example.com/app:f42-20261128.2", False), ("b.example.com/f42/app:f42-20261128.2", False),
        ("a.example.com/app:f42", True), ("b.example.com/f42/app:f42", True),
    )  # fmt: skip
