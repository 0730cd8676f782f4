"""The page holds all it shows, lets nothing in, and opens in a real browser without a complaint."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
from array import array
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ramify.report import page, sections
from ramify.report.markup import data, tag
from ramify.report.page import page_data, render, write
from ramify.report.series import Series
from ramify.report.summary import summary
from ramify.runs.lab import Lab

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)  # fmt: skip
browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
HOSTILE = (
    "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
)
VENDOR = Path(page.__file__).parent / "vendor"


class Reader(HTMLParser):
    """Collects the elements of a page, their attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self.open: str | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in self.inside:
            self.open = tag
            self.inside[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self.open = None

    def handle_data(self, data: str) -> None:
        if self.open is not None:
            self.inside[self.open][-1] += data

    def count(self, name: str) -> int:
        """Return how many elements of a name there are."""
        return sum(tag == name for tag, _ in self.elements)


@pytest.fixture(scope="module")
def hostile(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Return the lab with markup wherever a person's or a model's words come in."""
    home = tmp_path_factory.mktemp("hostile") / "<img src=x onerror=alert(1)>"
    copy = Path(shutil.copytree(lab.folder, home))
    edit(copy / "text/words/record.json", lambda r: r["facts"].update(dropped={HOSTILE: 1}))
    for name in ("late", "cosine", "left"):
        edit(copy / "evals" / name / "record.json", rename_a_domain)
    said = [{"prompt": HOSTILE, "completion": f"]]>{HOSTILE}\u2028<!--"}]
    (copy / "mean" / "completions.json").write_text(json.dumps(said))
    journal = copy / "trunk" / "journal.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        for key in {"bits_per_byte", "standard_error"} & line.keys():
            line[key][HOSTILE] = 1.0
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Lab(copy)


def edit(path: Path, change: Any) -> None:
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))


def rename_a_domain(record: dict[str, Any]) -> None:
    scores = record["facts"]["scores"]
    scores[HOSTILE] = scores.pop("sums")


def test_the_page_loads_nothing(lab: Lab, tmp_path: Path) -> None:
    text = write(lab, tmp_path / "deep" / "report.html").read_text()
    for name, attributes in Reader(text).elements:
        assert name not in {"link", "iframe", "object", "embed", "base", "img"}
        assert "style" not in attributes  # the policy would refuse it
        for key, value in attributes.items():
            assert not key.startswith("on")
            if key in {"src", "href", "action", "srcset", "data"}:
                assert value is not None
                assert value.startswith("#")
    assert not re.search(r"url\(|@import", text.split("</style>")[0])


def test_the_policy_lets_only_the_pages_own_script_and_style_in(lab: Lab) -> None:
    read = Reader(render(lab))
    (policy,) = [a["content"] or "" for _, a in read.elements if a.get("http-equiv")]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    _, script = read.inside["script"]
    for kind, text in (("script", script), ("style", read.inside["style"][0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_hostile_words_stay_words(lab: Lab, hostile: Lab) -> None:
    fair, read = Reader(render(lab)), Reader(render(hostile))
    assert read.count("script") == fair.count("script") == 2
    assert read.count("img") == 0
    told = json.loads(read.inside["script"][0])
    assert HOSTILE in told["domains"]
    trunk = next(run for run in told["runs"] if run["name"] == "trunk")
    assert HOSTILE in trunk["probes"]["bits"]


def test_markup_escapes_what_is_plain() -> None:
    assert tag("b", HOSTILE, title='"><i>') == (
        '<b title="&quot;&gt;&lt;i&gt;">' + tag("i", HOSTILE)[3:-4] + "</b>"
    )
    assert "<" not in tag("i", HOSTILE)[3:-4]
    told = data({"</script>": "<!-- & \u2028 ]]>"})
    assert not set("<>&\u2028") & set(told)
    assert json.loads(told) == {"</script>": "<!-- & \u2028 ]]>"}


def test_the_same_lab_gives_the_same_page(lab: Lab) -> None:
    assert render(lab, command="ramify run tiny") == render(lab, command="ramify run tiny")


def test_the_page_names_every_step_and_its_decay(lab: Lab) -> None:
    text = render(lab, command="ramify run tiny --set budget=1M")
    told = summary(lab)
    for row in told.rows:
        assert row.name in text
        assert (row.fingerprint or "")[:12] in text
    assert "Decayed: the rate came to the end of its descent" in text
    assert "Constant rate: not decayed, so not to be compared with the above" in text
    assert "cool-late @ 12.8K, decayed" in text
    assert "trunk @ 10.24K, constant" in text
    assert "ramify run tiny --set budget=1M" in text


def test_only_a_decayed_model_is_called_the_best(lab: Lab) -> None:
    told = summary(lab)
    best = sections.best_of(told)
    assert best is not None
    assert best.decay == "decayed"
    shown = sections.results(told)
    groups = shown.split("<tbody>")
    assert all("<strong>" not in group for group in groups if "Decayed:" not in group)
    assert sum(group.count("<strong>") for group in groups) == 2  # one a domain


def test_a_long_journal_makes_a_small_page(lab: Lab) -> None:
    told = summary(lab)
    steps = 1_000_000
    for run in told.runs.values():
        tokens = array("q", range(256, 256 * (steps + 1), 256))
        loss = array("d", (1 + (i * 7919 % 1000) / 333 for i in range(steps)))
        flat = array("d", [0.1]) * steps
        probe = {
            "tokens": 0,
            "bits_per_byte": {"words": 1.234567},
            "standard_error": {"words": 0.1},
        }
        probes = [{**probe, "tokens": 256 * i} for i in range(20_000)]
        run.__dict__["series"] = Series(tokens, loss, flat, flat, probes=probes)
    text = data(page_data(told))
    assert len(text) < 1_000_000
    curve = json.loads(text)["runs"][0]
    assert min(x for x in curve["low"] if x is not None) == pytest.approx(1.0)
    assert max(x for x in curve["high"] if x is not None) == pytest.approx(4.0)


def test_a_lab_where_nothing_was_trained_has_a_page(tmp_path: Path) -> None:
    text = render(Lab(tmp_path / "none").create())
    assert "Every step" in text
    assert "nothing yet" in text


def test_what_is_vendored_is_what_its_readme_says() -> None:
    told = dict(
        re.findall(r"\| `(\S+)` \| `([0-9a-f]{64})` \|", (VENDOR / "README.md").read_text())
    )
    assert set(told) == {path.name for path in VENDOR.iterdir() if path.suffix in {".js", ".css"}}
    for name, digest in told.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest


def test_the_report_needs_neither_torch_nor_daft() -> None:
    code = "import sys, ramify.report.page, ramify.report.terminal; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "daft", "scipy", "tokenizers"} & set(ran.stdout.split())


def opened(url: str, home: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Open a page in Chromium; what its console says comes on standard error."""
    assert BROWSER is not None
    quiet = ("--no-first-run", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", "--disable-quic", "--disable-gpu", "--no-sandbox")  # fmt: skip
    profile = f"--user-data-dir={home / 'profile'}"
    command = [BROWSER, "--headless", *quiet, profile, "--enable-logging=stderr", *flags, url]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@browser
def test_the_page_opens_and_draws_without_a_complaint(hostile: Lab, tmp_path: Path) -> None:
    out = write(hostile, tmp_path / "report.html")
    seen = opened(out.as_uri(), tmp_path, "--virtual-time-budget=3000", "--dump-dom")
    assert "CONSOLE" not in seen.stderr
    assert "<canvas" in seen.stdout
    domains = len(page_data(summary(hostile))["domains"])
    assert f'data-drawn="{3 + domains}"' in seen.stdout
    assert "<title>taken" not in seen.stdout


@browser
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (500, "light")])
def test_the_page_can_be_looked_at(lab: Lab, tmp_path: Path, width: int, scheme: str) -> None:
    out, picture = write(lab, tmp_path / "report.html"), tmp_path / "page.png"
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    flags = (f"--window-size={width},4000", f"--screenshot={picture}", "--hide-scrollbars", *dark)
    seen = opened(out.as_uri(), tmp_path, *flags)
    assert "CONSOLE" not in seen.stderr
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert picture.stat().st_size > 50_000
