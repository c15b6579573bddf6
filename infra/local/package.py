"""Packages template.yaml for the local engine, as `aws cloudformation package` does for an account.

The template itself is never edited: a `CodeUri` or `ContentUri` that names a folder becomes the URI of an
archive of that folder, and everything else goes to the engine as it was written. The archives hold what the
Makefiles beside the code put into an account's build, less third-party packages: those come from the
virtual environment that the engine's Python already runs in.
"""

from __future__ import annotations

import hashlib
import io
import py_compile
import shutil
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from infra.local import agent_wheel

_ZIP_TIME = (2020, 1, 1, 0, 0, 0)  # the same sources give the same archive, so its name can be its hash
_HANDS_OUT_THE_AGENT = "functions.api.handler.handler"
_NOT_CODE = {"Makefile", "requirements.txt"}


class _TemplateLoader(yaml.SafeLoader):
    """Reads CloudFormation's short forms (`!Ref x`) as their long ones (`{"Ref": "x"}`)."""


def _intrinsic(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)  # noqa: S101 - YAML has no fourth kind of node
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_TemplateLoader.add_multi_constructor("!", _intrinsic)


def load_template(path: Path) -> dict[str, Any]:
    """The template as plain data, with CloudFormation's short intrinsic forms spelled out.

    Raises `yaml.YAMLError` for a file that is not YAML and `OSError` for one that cannot be read.
    """
    template = yaml.load(path.read_text(encoding="utf-8"), Loader=_TemplateLoader)  # noqa: S506 - a SafeLoader
    if not isinstance(template, dict):
        raise yaml.YAMLError(f"{path} is not a template: its top level is not a mapping")
    return template


@dataclass(frozen=True)
class Archive:
    """One zip to upload: `key` is named after its content, `body` is the zip."""

    key: str
    body: bytes


@dataclass(frozen=True)
class Package:
    """A template whose code locations point into `bucket`, and the archives they name."""

    template: dict[str, Any]
    archives: list[Archive]


def package(template: dict[str, Any], root: Path, build: Path, bucket: str) -> Package:
    """Archive every function and layer of `template`, whose paths are relative to `root`.

    Archives are kept in `build` under a hash of their sources, so an unchanged one is only read. Each holds
    bytecode for the running interpreter beside the sources: every cold start would compile them again.
    Raises `FileNotFoundError` when the template names a function or layer folder that is not there.
    """
    build.mkdir(parents=True, exist_ok=True)
    archives: dict[str, Archive] = {}
    resources: dict[str, Any] = {}
    default_code = template.get("Globals", {}).get("Function", {}).get("CodeUri")
    for name, resource in template["Resources"].items():
        properties = dict(resource.get("Properties", {}))
        if resource["Type"] == "AWS::Serverless::Function":
            folder = root / properties.get("CodeUri", default_code)
            files, field = _function_files(folder, properties["Handler"]), "CodeUri"
            if properties["Handler"] == _HANDS_OUT_THE_AGENT:
                wheel = agent_wheel.write(root, build)
                files[f"functions/api/{wheel.name}"] = wheel
        elif resource["Type"] == "AWS::Serverless::LayerVersion":
            folder = root / properties["ContentUri"]
            files, field = _layer_files(folder), "ContentUri"
        else:
            resources[name] = resource
            continue
        archive = _archive(files, build)
        archives[archive.key] = archive
        properties[field] = f"s3://{bucket}/{archive.key}"
        resources[name] = {**resource, "Properties": properties}
    return Package({**template, "Resources": resources}, list(archives.values()))


def _function_files(folder: Path, handler: str) -> dict[str, Path]:
    """Archive path -> file, for `functions/__init__.py` and the one folder that `handler` names."""
    top, name = handler.split(".")[:2]
    if not (folder / name / "handler.py").is_file():
        raise FileNotFoundError(
            f"{folder / name / 'handler.py'} is missing: the template's {handler} needs it"
        )
    return {
        f"{top}/{file.relative_to(folder)}": file
        for file in [folder / "__init__.py", *_sources(folder / name)]
        if file.is_file()
    }


def _layer_files(folder: Path) -> dict[str, Path]:
    """Archive path -> file, for everything of a layer that is ours."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is missing: a layer of the template needs it")
    return {
        f"python/{file.relative_to(folder)}": file
        for file in _sources(folder)
        if file.parent != folder or file.name not in _NOT_CODE
    }


def _sources(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and not file.name.startswith(".")
    )


def _archive(files: dict[str, Path], build: Path) -> Archive:
    contents = {name: file.read_bytes() for name, file in files.items()}
    digest = hashlib.sha256(sys.implementation.cache_tag.encode())
    for name, content in contents.items():
        digest.update(f"\0{name}\0{len(content)}\0".encode())
        digest.update(content)
    key = f"{digest.hexdigest()[:32]}.zip"
    kept = build / key
    if not kept.is_file():
        scratch = build / f"{key}.new"
        scratch.write_bytes(_zip(files, contents, build))
        scratch.replace(kept)
    return Archive(key, kept.read_bytes())


def _zip(files: dict[str, Path], contents: dict[str, bytes], build: Path) -> bytes:
    """A zip of `contents` with bytecode that is never checked against its source: the archive never changes."""
    compiled = build / "compiled"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in contents.items():
            archive.writestr(_entry(name), content)
            if not name.endswith(".py"):
                continue
            bytecode = compiled / "module.pyc"
            py_compile.compile(
                str(files[name]),
                cfile=str(bytecode),
                dfile=name,
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
            path = Path(name)
            cached = path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc"
            archive.writestr(_entry(str(cached)), bytecode.read_bytes())
    shutil.rmtree(compiled, ignore_errors=True)
    return buffer.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _ZIP_TIME)
    entry.external_attr = 0o644 << 16
    return entry
