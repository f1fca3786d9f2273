"""The page in a browser: whole, quiet, offline, no wider than a phone; and what is written on it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mmu
from mmu.report import write_report
from tests.build.toy import Toy, installed
from tests.report.browser import Browser, browser, chromium

HOSTILE = "<img src=x onerror=document.title=1>"


@pytest.fixture(scope="module", autouse=True)
def toy_survey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with installed(tmp_path_factory.mktemp("plugin")):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two datasets that share a sky, one with failures that quote a hostile file, and their match; and an empty one."""
    folder = tmp_path_factory.mktemp("data")
    toy = Toy(folder / "archive", units=4, per=9)
    toy.rows[3] = (*toy.rows[3][:3], HOSTILE, 4.5)
    toy.write()
    toy.spoil("u1", "WRONG")
    toy.spoil(HOSTILE, "WRONG")
    toy.build(folder / "data")
    Toy(folder / "other archive", units=4, per=9).build(folder / "elsewhere")
    (folder / "elsewhere" / "toy").rename(folder / "data" / "other")
    Toy(folder / "nothing").build(folder / "empty", regions=("cone:200,40,0.1",))
    mmu.crossmatch(folder / "data" / "toy", folder / "data" / "other", out=folder / "data" / "match", how="outer")
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Path:
    return write_report([folder / "data"], folder / "report.html", folder / "pictures")


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = chromium()
    if program is None:
        pytest.skip("no Chromium: install one, or name it in MMU_CHROMIUM")
    with browser(program, tmp_path_factory.mktemp("browser")) as tab:
        yield tab


class Text(HTMLParser):
    """The words of a page, the elements it has, and what its attributes refer to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.words, self.tags, self.headings = "", [], []
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.feed(page.read_text(encoding="utf-8"))

    tags: list[str]
    headings: list[int]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        self.links += [str(found[name]) for name in ("src", "href") if name in found]
        if tag == "img":
            self.images.append(found)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_data(self, data: str) -> None:
        self.words += data


# -- in a browser -------------------------------------------------------------------------------------------------

WIDER = """(() => [...document.querySelectorAll("body *")].filter(one => !one.closest(".scroll, .skip, .unseen")
  && one.getBoundingClientRect().right > innerWidth + 0.5).map(one => one.tagName + "." + one.className))()"""


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_all_of_it_and_asks_for_nothing(chrome: Browser, page: Path, width: int, dark: bool) -> None:
    seen = chrome.open(page, width, dark)
    assert seen.console == []
    assert [url for url in seen.requests if not url.startswith("data:")] == [page.resolve().as_uri()]
    assert chrome.run("document.documentElement.scrollWidth") == width
    assert chrome.run(WIDER) == []
    sizes = chrome.run("[...document.images].map(one => [one.complete, one.naturalWidth])")
    assert len(sizes) >= 3
    assert all(complete and natural > 0 for complete, natural in sizes)
    assert chrome.run("document.title") == "data: report"


CONTRAST = """(() => {
  const parts = text => text.match(/[\\d.]+/g).map(Number);
  const linear = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * linear(r / 255) + .7152 * linear(g / 255) + .0722 * linear(b / 255);
  const ground = one => {
    for (; one; one = one.parentElement) {
      const colour = parts(getComputedStyle(one).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const low = [];
  const kinds = "p, a, li, dt, dd, th, td, h1, h2, h3, h4, small, summary, strong, .badge, figcaption, code, svg text";
  for (const one of document.querySelectorAll(kinds)) {
    const style = getComputedStyle(one);
    const a = light(parts(one.tagName == "text" ? style.fill : style.color)), b = light(ground(one));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) low.push([one.tagName, one.textContent, ratio]);
  }
  return low;
})()"""


@pytest.mark.parametrize("dark", [False, True])
def test_words_stand_out_from_their_ground(chrome: Browser, page: Path, dark: bool) -> None:
    chrome.open(page, 1280, dark)
    assert chrome.run(CONTRAST) == []


def test_it_prints(chrome: Browser, page: Path) -> None:
    chrome.open(page)
    pdf = chrome.pdf()
    assert pdf.startswith(b"%PDF")
    assert 2 < pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") + pdf.count(b"/Type /Page/") < 40


# -- what it says -------------------------------------------------------------------------------------------------


def test_one_file_without_scripts_or_addresses_to_load(page: Path) -> None:
    text = Text(page)
    assert not {"script", "link rel=stylesheet", "iframe", "object", "embed"} & set(text.tags)
    assert page.stat().st_size < 5_000_000
    loaded = [link for link in text.links if not link.startswith(("#", "data:", "https://"))]
    assert loaded == []
    assert "url(" not in page.read_text(encoding="utf-8")
    assert [image["alt"] for image in text.images if not image["alt"]] == []


def test_pictures_are_kept_as_files_too(folder: Path, page: Path) -> None:
    kept = {path.name for path in (folder / "pictures").iterdir()}
    assert kept == {"toy.png", "other.png", "sky.png", "match-object.png"}
    assert len(Text(page).images) == len(kept)


def test_headings_are_in_order(page: Path) -> None:
    headings = Text(page).headings
    assert headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))


def test_the_numbers_are_the_ledgers(folder: Path, page: Path) -> None:
    pattern = r'<tr class="(\w+)"><th scope="row">.*?</span> (.*?)</th><td class="num">([\d,]+)'
    rows = re.findall(pattern, page.read_text())
    for survey in ("other", "toy"):
        counts = json.loads((folder / "data" / survey / "v1" / "_mmu" / "build.json").read_text())["counts"]
        expected = {("read", counts["read"]), ("selected", counts["selected"]), ("written", counts["written"])}
        expected |= {(kind, number) for kind in ("cut", "excluded", "failed") for number in counts[kind].values()}
        assert expected <= {(kind, int(number.replace(",", ""))) for kind, _, number in rows}
        words = f"{counts['selected']:,} = {counts['written']:,} written + "
        assert words in Text(page).words


def test_failures_come_first(folder: Path, page: Path) -> None:
    text = Text(page).words
    counts = json.loads((folder / "data" / "toy" / "v1" / "_mmu" / "build.json").read_text())["counts"]
    failed = sum(counts["failed"].values())
    words = f"toy v1: {failed} of {counts['selected']} selected objects failed."
    assert failed > 0
    assert 0 <= text.index(words) < text.index("read from the archive's catalogues")
    assert "u1: not as the data model says" in text


def test_hostile_words_are_words(folder: Path, chrome: Browser, page: Path) -> None:
    assert f"{HOSTILE}: not as the data model says" in Text(page).words
    chrome.open(page)
    assert chrome.run("document.title") == "data: report"
    assert chrome.run("document.querySelectorAll('script, [onerror], [src=x]').length") == 0


def test_a_match_counts_what_its_table_holds(folder: Path, page: Path) -> None:
    found = mmu.open(folder / "data" / "match", "association")
    text = page.read_text()
    assert f"{len(found):,} rows" in text
    ids = found.table(["other_id", "toy_id"])
    for name in ("other", "toy"):
        own = len(ids) - ids[f"{name}_id"].null_count
        assert f'<td class="num own">{own:,}</td>' in text
    assert "expected by chance" in text


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where matplotlib is not installed: faster."""
    monkeypatch.setattr("mmu.report.pictures.find_spec", lambda name: None)


@pytest.mark.usefixtures("no_pictures")
class TestWithoutPictures:
    def test_an_empty_dataset_says_so(self, folder: Path, tmp_path: Path) -> None:
        text = Text(write_report([folder / "empty" / "toy"], tmp_path / "empty.html")).words
        assert "holds no objects" in text
        assert "42 = 42 cut + 0 selected" in text

    def test_what_was_only_begun_is_told(self, tmp_path: Path) -> None:
        Toy(tmp_path / "archive").build(tmp_path / "data")
        root = tmp_path / "data" / "toy"
        (root / "v1").rename(root / ".building-v1")
        assert "unfinished" in Text(write_report([tmp_path / "data"], tmp_path / "report.html")).words

    def test_files_that_are_gone_do_not_end_the_report(self, tmp_path: Path) -> None:
        Toy(tmp_path / "archive").build(tmp_path / "data")
        next((tmp_path / "data").rglob("Npix=*.parquet")).unlink()
        text = Text(write_report([tmp_path / "data"], tmp_path / "report.html")).words
        assert "mmu verify" in text
        assert "36 = 36 written" in text

    def test_a_ledger_that_does_not_balance_is_told(self, tmp_path: Path) -> None:
        """Nor is a reason that a file made up taken for anything but words."""
        Toy(tmp_path / "archive").build(tmp_path / "data")
        path = tmp_path / "data" / "toy" / "v1" / "_mmu" / "units.parquet"
        units = pq.read_table(path)
        rows = [{**row, "read": row["read"] + 2, "cut": [(HOSTILE, 1)]} for row in units.to_pylist()]
        pq.write_table(pa.Table.from_pylist(rows, schema=units.schema), path)
        page = write_report([tmp_path / "data"], tmp_path / "report.html")
        text = Text(page).words
        assert "This does not add up" in text
        assert "It adds up" not in text
        assert f"cut: {HOSTILE}" in text
        assert "<img" not in page.read_text()
