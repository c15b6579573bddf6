"""Settings: where they come from, what is refused and how that is said."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from collector_agent import config
from collector_agent.config import BY_KEY, DEFAULTS, SETTINGS, Config, ConfigError


def write(folder: Path, text: str) -> Path:
    path = folder / "agent.toml"
    path.write_text(text)
    return path


def test_without_file_and_environment_the_defaults_hold(tmp_path: Path) -> None:
    assert config.load(write(tmp_path, ""), {}) == Config()


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, 'interval_s = 10\nmounts = ["/"]\n[labels]\nenv = "prod"\n')
    environ = {"FARWATCH_AGENT_INTERVAL_S": "30", "FARWATCH_AGENT_INTERFACES": "eth*, -eth9"}
    loaded = config.load(path, environ)
    assert loaded.interval_s == 30
    assert loaded.mounts == ("/",)
    assert loaded.labels == {"env": "prod"}
    assert loaded.interfaces == ("eth*", "-eth9")


def test_labels_can_be_given_in_the_environment(tmp_path: Path) -> None:
    loaded = config.load(write(tmp_path, ""), {"FARWATCH_AGENT_LABELS": "env=prod, role=web"})
    assert loaded.labels == {"env": "prod", "role": "web"}


@pytest.mark.parametrize(
    ("key", "bad"),
    [
        ("server", '"farwatch.example.org"'),
        ("server", '"ftp://x"'),
        ("server", '"https://user:secret@x"'),
        ("server", '"https://[::1"'),
        ("state_dir", "5"),
        ("interval_s", "0"),
        ("interval_s", "true"),
        ("interval_s", "nan"),
        ("interval_s", "1" + 400 * "0"),
        ("flush_s", '"often"'),
        ("top_processes", "2.5"),
        ("spool_max_batches", "1"),
        ("mounts", "[1]"),
        ("labels", '["env"]'),
        ("labels", '{ env = "" }'),
        ("per_core", '"maybe"'),
        ("log_level", '"chatty"'),
        ("ca_file", "1"),
    ],
)
def test_a_bad_value_names_its_key_and_shows_a_good_one(tmp_path: Path, key: str, bad: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(write(tmp_path, f"{key} = {bad}"), {})
    assert str(caught.value).startswith(f"{key}: ")
    assert f"{key} = {BY_KEY[key].example}" in str(caught.value)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s.key)
def test_every_example_is_accepted(tmp_path: Path, setting: config.Setting) -> None:
    config.load(write(tmp_path, f"{setting.key} = {setting.example}"), {})


def test_an_unknown_key_is_refused_with_the_nearest_known_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean interval_s"):
        config.load(write(tmp_path, "intervals = 5"), {})


def test_a_broken_or_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not valid TOML"):
        config.load(write(tmp_path, "interval_s 5"), {})
    for beyond in ("interval_s = " + 5000 * "1", "mounts = " + 5000 * "["):
        with pytest.raises(ConfigError, match=r"agent\.toml: is not valid TOML"):
            config.load(write(tmp_path, beyond), {})
    with pytest.raises(ConfigError, match=r"missing\.toml: cannot be read"):
        config.load(tmp_path / "missing.toml", {})
    with pytest.raises(ConfigError, match=r"other\.toml"):
        config.load(None, {"FARWATCH_AGENT_CONFIG": str(tmp_path / "other.toml")})


def test_a_usual_file_that_cannot_be_reached_is_named_and_one_that_is_not_there_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after ``sudo -u somebody`` without ``-H``: the home folder is still root's."""
    monkeypatch.setattr(config, "default_config_file", lambda: tmp_path / "agent.toml")
    assert config.load(None, {}) == Config()

    def closed(self: Path, *_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_text", closed)
    monkeypatch.setattr(Path, "stat", closed)
    with pytest.raises(ConfigError, match=r"agent\.toml: cannot be read \(Permission denied\)"):
        config.load(None, {})


def test_every_setting_has_a_row_and_every_row_a_setting() -> None:
    assert [s.key for s in SETTINGS] == [f.name for f in dataclasses.fields(Config)] == list(DEFAULTS)
