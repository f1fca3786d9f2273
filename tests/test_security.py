"""What this package never does, wherever in it: run code that came with data, or talk without checking to whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("mmu", "surveys", "crossmatch", "training")
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "telnetlib", "ftplib"}
CALLS = set("eval exec compile __import__ os.system os.popen yaml.load yaml.unsafe_load yaml.full_load".split())
KEYWORDS = {"shell": True, "allow_pickle": True, "trust_remote_code": True, "verify": False, "weights_only": False}


def wrongs(source: str) -> Iterator[str]:
    """What a module does that it may not."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (f"imports {one.name}" for one in node.names if one.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module.split(".")[0] in MODULES:
                yield f"imports {node.module}"
            yield from (f"imports {one.name}" for one in node.names if f"{node.module}.{one.name}" in CALLS)
        elif isinstance(node, ast.Call):
            if (name := ast.unparse(node.func)) in CALLS:
                yield f"calls {name}"
            yield from _keywords(node)


def _keywords(node: ast.Call) -> Iterator[str]:
    for keyword in node.keywords:
        wrong = KEYWORDS.get(keyword.arg or "")
        if wrong is not None and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is not wrong):
            yield f"gives {keyword.arg}={ast.unparse(keyword.value)}"


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_dangerous_is_called(room: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {wrong}"
        for path in (ROOT / room).rglob("*.py")
        for wrong in wrongs(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "from os import system",
        "eval(text)",
        "os.system(line)",
        "subprocess.run(line, shell=True)",
        "subprocess.run(line, shell=flag)",
        "np.load(path, allow_pickle=True)",
        "load_dataset(path, trust_remote_code=True)",
        "yaml.load(text, Loader=yaml.Loader)",
        "requests.get(url, verify=False)",
        "torch.load(path, weights_only=False)",
    ],
)
def test_each_of_them_would_be_found(line: str) -> None:
    assert len(list(wrongs(line))) == 1


def test_harmless_lines_are_let_pass() -> None:
    assert not list(wrongs("np.load(p, allow_pickle=False); re.compile(x); yaml.safe_load(t); import json"))
