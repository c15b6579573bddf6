"""Packaging for the engine: short forms, archives by content, bytecode that is used."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.local.package import Archive, load_template, package

TEMPLATE: dict[str, Any] = {
    "Globals": {"Function": {"CodeUri": "functions/"}},
    "Resources": {
        "OneFunction": {
            "Type": "AWS::Serverless::Function",
            "Properties": {"Handler": "functions.one.handler.handler"},
        },
        "Layer": {"Type": "AWS::Serverless::LayerVersion", "Properties": {"ContentUri": "layer/"}},
        "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"CodeUri": "not mine"}},
    },
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = {
        "functions/__init__.py": "",
        "functions/Makefile": "",
        "functions/one/__init__.py": "",
        "functions/one/handler.py": "from greeting import WORD\n\ndef handler(event, context):\n    return WORD\n",
        "functions/two/handler.py": "raise SystemExit\n",
        "layer/Makefile": "",
        "layer/requirements.txt": "",
        "layer/greeting/__init__.py": "WORD = 'hello'\n",
        "layer/greeting/words.txt": "hello\n",
    }
    for name, content in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path / "root"


def packaged(root: Path) -> dict[str, Archive]:
    made = package(TEMPLATE, root, root.parent / "build", "bucket")
    archives = {archive.key: archive for archive in made.archives}
    uris = {
        name: resource["Properties"].get("CodeUri") or resource["Properties"]["ContentUri"]
        for name, resource in made.template["Resources"].items()
    }
    assert uris.pop("Queue") == "not mine"
    return {name: archives[uri.removeprefix("s3://bucket/")] for name, uri in uris.items()}


def names(archive: Archive) -> set[str]:
    return {n for n in zipfile.ZipFile(io.BytesIO(archive.body)).namelist() if not n.endswith(".pyc")}


def test_a_function_carries_itself_and_a_layer_everything_that_is_ours(root: Path) -> None:
    made = packaged(root)
    assert names(made["OneFunction"]) == {
        "functions/__init__.py",
        "functions/one/__init__.py",
        "functions/one/handler.py",
    }
    assert names(made["Layer"]) == {"python/greeting/__init__.py", "python/greeting/words.txt"}


def test_unpacked_it_runs_from_its_bytecode(root: Path, tmp_path: Path) -> None:
    made = packaged(root)
    for name in ("OneFunction", "Layer"):
        zipfile.ZipFile(io.BytesIO(made[name].body)).extractall(tmp_path / name)
    # The bytecode is never checked against the source, so it alone can give this answer.
    source = tmp_path / "Layer" / "python" / "greeting" / "__init__.py"
    source.write_text("WORD = 'changed'\n")
    script = "from functions.one.handler import handler; print(handler({}, None))"
    environment = {"PYTHONPATH": f"{tmp_path / 'OneFunction'}:{tmp_path / 'Layer' / 'python'}"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd="/", capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("hello\n", "")


def test_the_same_sources_give_the_same_archive_and_a_change_gives_another(root: Path) -> None:
    first = packaged(root)
    (root.parent / "build").rename(root.parent / "old-build")
    again = packaged(root)
    assert first == again
    (root / "functions/one/handler.py").write_text("def handler(event, context):\n    return 2\n")
    changed = packaged(root)
    assert changed["OneFunction"].key != first["OneFunction"].key
    assert changed["Layer"] == first["Layer"]


def test_a_missing_handler_is_named(root: Path) -> None:
    (root / "functions/one/handler.py").unlink()
    with pytest.raises(FileNotFoundError, match=r"one/handler\.py is missing"):
        packaged(root)


def test_short_forms_are_spelled_out(tmp_path: Path) -> None:
    path = tmp_path / "template.yaml"
    path.write_text('a: !Ref X\nb: !GetAtt Q.Arn\nc: !If [Local, !Sub "${A}-b", {d: !Ref X}]\n')
    assert load_template(path) == {
        "a": {"Ref": "X"},
        "b": {"Fn::GetAtt": ["Q", "Arn"]},
        "c": {"Fn::If": ["Local", {"Fn::Sub": "${A}-b"}, {"d": {"Ref": "X"}}]},
    }
    path.write_text("- a list\n")
    with pytest.raises(yaml.YAMLError, match="not a template"):
        load_template(path)
