from __future__ import annotations

import dataclasses
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zvonim_sfu.config import LIMIT_PREFIX, ConfigError, Settings, allowed, flag_name, load, variable_name
from zvonim_sfu.net.addresses import Announced
from zvonim_sfu.rooms.events import IceServer
from zvonim_sfu.rooms.ice_servers import SharedSecretServer
from zvonim_sfu.rooms.limits import Limits

if TYPE_CHECKING:
    from pathlib import Path

TURN = '[{"urls": "turn:turn.example:3478", "username": "u", "credential": "secret-word"}]'


@pytest.fixture(autouse=True)
def directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty current directory and no setting in the environment."""
    for name in list(os.environ):
        if name.upper().startswith("ZVONIM_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fault(**flags: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load(flags)
    return str(caught.value)


def test_without_any_source_all_is_at_its_default() -> None:
    loaded = load({})
    assert loaded.settings == Settings()
    assert loaded.origins == {}
    assert (loaded.settings.host, loaded.settings.port, loaded.settings.media_port) == ("127.0.0.1", 8080, 7882)


def test_a_flag_goes_before_the_environment_and_that_before_the_file(
    monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    (directory / "zvonim.toml").write_text("port = 1\nmedia_port = 1\nlimit_rooms = 1\n")
    monkeypatch.setenv("ZVONIM_PORT", "2")
    monkeypatch.setenv("ZVONIM_MEDIA_PORT", "2")
    loaded = load({"port": "3"})
    assert (loaded.settings.port, loaded.settings.media_port, loaded.settings.limit_rooms) == (3, 2, 1)
    assert loaded.origins == {
        "port": "--port",
        "media_port": "ZVONIM_MEDIA_PORT",
        "limit_rooms": "limit_rooms in zvonim.toml",
    }


def test_settings_never_read_the_environment_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZVONIM_PORT", "1")
    assert Settings().port == 8080


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZVONIM_PORT", "")
    assert load({}).settings.port == 8080


def test_the_flag_names_the_file_before_the_environment_does(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    for number in (1, 2, 3):
        (directory / f"{number}.toml").write_text(f"port = {number}\n")
    (directory / "zvonim.toml").write_text("port = 4\n")
    assert load({}).settings.port == 4
    monkeypatch.setenv("ZVONIM_CONFIG", str(directory / "2.toml"))
    assert load({}).settings.port == 2
    assert load({}, "1.toml").settings.port == 1


def test_a_file_that_was_asked_for_has_to_be_there() -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml is no file"):
        load({}, "missing.toml")


@pytest.mark.parametrize("content", [b"port = ", b"port 8080", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_refused_with_a_sentence(directory: Path, content: bytes) -> None:
    (directory / "zvonim.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"zvonim\.toml is no TOML file: "):
        load({})


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().port = 1


def test_every_fault_is_named_at_once_with_key_value_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    (directory / "zvonim.toml").write_text('log_level = "loud"\n')
    monkeypatch.setenv("ZVONIM_MEDIA_PORT", "70000")
    lines = fault(port="http").splitlines()
    assert sorted(lines) == [
        "--port = 'http': must be a whole number from 0 to 65535.",
        "ZVONIM_MEDIA_PORT = '70000': must be a whole number from 0 to 65535.",
        "log_level in zvonim.toml = 'loud': must be one of debug, info, warning, error.",
    ]


def test_an_unknown_key_in_the_file_is_a_fault(directory: Path) -> None:
    (directory / "zvonim.toml").write_text("prot = 80\n[[ice_servers]]\nurl = 'stun:a'\n")
    message = fault()
    assert "prot in zvonim.toml is no setting. Did you mean port?" in message
    assert "ice_servers in zvonim.toml[0].url is no setting." in message


def test_an_unknown_variable_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZVONIM_MEDIAPORT", "1")
    assert fault() == "ZVONIM_MEDIAPORT is no setting. Did you mean ZVONIM_MEDIA_PORT?"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"host": "a b"}, "must be an IP address or a host name"),
        ({"port": "-1"}, "a whole number from 0 to 65535"),
        ({"media_host": "myhost"}, "'myhost' is no IP address"),
        ({"announce": "203.0.113.300"}, "write an IP address"),
        ({"announce": "203.0.113.7:0"}, "no valid port"),
        ({"announce": "0.0.0.0"}, "no address that a client can send to"),
        ({"tls": "on"}, "one of off, self-signed"),
        ({"tls_cert": "a.pem"}, "tls_cert and tls_key go together"),
        ({"tls_cert": "a", "tls_key": "b", "tls": "self-signed"}, "exclude each other"),
        ({"allowed_origins": "calls.example"}, "is no origin"),
        ({"allowed_origins": "ftp://calls.example"}, "is no origin"),
        ({"allowed_origins": "https://calls.example:99999"}, "is no origin"),
        ({"allowed_origins": "https://u@calls.example"}, "is no origin"),
        ({"allowed_origins": "https://calls.example/room"}, "is more than an origin"),
        ({"ice_servers": "stun:a"}, "is no JSON"),
        ({"ice_servers": '[{"urls": []}]'}, "urls must hold one address at least"),
        ({"ice_servers": '[{"urls": "http://a"}]'}, "is no STUN or TURN address"),
        ({"ice_servers": '[{"urls": "turn:a"}]'}, "needs username and credential"),
        ({"log_format": "xml"}, "one of text, json"),
        ({"access_log": "perhaps"}, "one of true, false"),
        ({"limit_rooms": "0"}, "a whole number from 1 to 1000000"),
        ({"limit_rooms": "1.5"}, "a whole number"),
        ({"limit_joins_per_second": "0"}, "a number above 0 and up to"),
        ({"limit_grace_s": "nan"}, "a number from 0 to"),
    ],
)
def test_a_bad_value_is_refused_with_what_is_allowed(flags: dict[str, str], expected: str) -> None:
    assert expected in fault(**flags)


def test_a_credential_is_in_no_message_and_no_representation() -> None:
    assert "secret-word" not in fault(ice_servers=TURN.replace("turn:", "tern:"))
    assert "secret-word" not in repr(load({"ice_servers": TURN}).settings)


def test_lists_are_written_with_commas_blanks_several_flags_or_as_toml(directory: Path) -> None:
    (directory / "zvonim.toml").write_text('allowed_origins = ["https://A.example/", "http://b.example:81"]\n')
    loaded = load({"media_host": ["127.0.0.1,::1", "192.0.2.1"], "announce": "203.0.113.7 [2001:db8::1]:7000"}).settings
    assert loaded.media_host == ("127.0.0.1", "::1", "192.0.2.1")
    assert loaded.announced == (Announced("203.0.113.7"), Announced("2001:db8::1", 7000))
    assert loaded.allowed_origins == ("https://a.example", "http://b.example:81")


def test_without_media_host_media_uses_all_addresses() -> None:
    assert Settings().media_hosts == ("0.0.0.0",)
    assert Settings(media_host=("::1",)).media_hosts == ("::1",)


def test_ice_servers_are_tables_in_a_file_and_json_elsewhere(directory: Path) -> None:
    (directory / "zvonim.toml").write_text(
        '[[ice_servers]]\nurls = ["turn:turn.example:3478"]\nusername = "u"\ncredential = "secret-word"\n'
    )
    from_file = load({}).settings.ice_servers
    assert from_file == load({"ice_servers": TURN}).settings.ice_servers
    assert [server.to_server() for server in from_file] == [IceServer(("turn:turn.example:3478",), "u", "secret-word")]


def test_each_limit_is_a_setting_with_the_default_and_the_meaning_of_limits() -> None:
    assert Settings().limits == Limits()
    for field in dataclasses.fields(Limits):
        setting = Settings.model_fields[LIMIT_PREFIX + field.name]
        assert setting.description
    assert Settings(limit_rooms=7).limits == dataclasses.replace(Limits(), rooms=7)


def test_each_setting_is_explained_and_each_number_has_its_range() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert (allowed(name) is not None) == (field.annotation in {int, float, bool} or "Literal" in str(field))


def test_names_of_flags_and_variables() -> None:
    assert (flag_name("media_port"), variable_name("media_port")) == ("--media-port", "ZVONIM_MEDIA_PORT")


def test_the_state_directory_follows_xdg(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(directory))
    assert Settings().state_directory == directory / "zvonim-sfu"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(directory))
    assert Settings().state_directory == directory / ".local/state/zvonim-sfu"
    assert Settings(state_dir=directory / "own").state_directory == directory / "own"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(Settings.model_fields)), value=st.text())
def test_any_text_for_any_setting_gives_settings_or_a_config_error(name: str, value: str) -> None:
    with suppress(ConfigError):
        load({name: value})


def test_an_operator_token_is_long_enough_not_to_be_guessed_and_is_not_repeated() -> None:
    assert "short-word" not in fault(operator_token="short-word")
    assert "--operator-token" in fault(operator_token="short-word")
    settings = load({"operator_token": "a-long-secret-word"}).settings
    assert "a-long-secret-word" not in repr(settings)


SHARED = '{"urls": "turn:turn.example", "secret": "shared-word"'


def test_a_turn_server_may_share_a_secret_instead_of_having_users() -> None:
    (by_default,) = load({"ice_servers": f"[{SHARED}}}]"}).settings.ice_servers
    assert by_default.to_server() == SharedSecretServer(("turn:turn.example",), "shared-word", 86400)
    (shorter,) = load({"ice_servers": f'[{SHARED}, "lifetime_s": 600}}]'}).settings.ice_servers
    assert shorter.to_server() == SharedSecretServer(("turn:turn.example",), "shared-word", 600)


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        (', "username": "u"', "takes the place of username and credential"),
        (', "credential": "c"', "takes the place of username and credential"),
        (', "lifetime_s": 59', "greater than or equal to 60"),
        (', "lifetime_s": "x"', "valid integer"),
    ],
)
def test_a_shared_secret_is_all_of_the_credentials_and_is_not_repeated(rest: str, reason: str) -> None:
    said = fault(ice_servers=f"[{SHARED}{rest}}}]")
    assert reason in said
    assert "shared-word" not in said


def test_a_lifetime_without_a_secret_is_a_mistake() -> None:
    assert "goes with secret only" in fault(ice_servers='[{"urls": "stun:stun.example", "lifetime_s": 600}]')
