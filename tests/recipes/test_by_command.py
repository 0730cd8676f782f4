"""The curation recipes as they are typed, on real pages and code, with a server process that labels by rule."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

SHARED = Path(__file__).parents[3] / "shared" / "data"
MANY, NO = (3).__le__, (0).__eq__  # of the word by which the server judges
ENTRY = "from ramify.cli import main; main()"


def typed(*words: object) -> subprocess.CompletedProcess[str]:
    """Type a command, and return what it said."""
    command = [sys.executable, "-c", ENTRY, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def settings(llm: Any, **asked: object) -> list[str]:
    told = {"server": llm.url, "model": "rule", "vocab": 300, "max_context": 64, **asked}
    words = [f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in told.items()]
    return [each for word in words for each in ("--set", word)]


def shared(name: str) -> Iterator[dict[str, Any]]:
    path = SHARED / name
    if not path.is_file():
        pytest.skip("no shared data")
    with pa.input_stream(str(path), compression="zstd") as stream:
        yield from map(json.loads, io.TextIOWrapper(stream))


def pages() -> Iterator[dict[str, str]]:
    """Yield real pages under names of columns of somebody's own: modules of textbooks, and articles."""
    modules = [*shared("web/openstax_cnxml_mathml.jsonl.zst")]
    reasons = [each["cnxml"][:15_000].count("because") for each in modules]
    some = [
        [x for x, n in zip(modules, reasons, strict=True) if wanted(n)] for wanted in (MANY, NO)
    ]
    for module in (*some[0][:60], *some[1][:60]):
        markup = f"<html><body><main>{module['cnxml']}</main></body></html>"
        address = f"https://{module['repo'].split('/')[1]}.org/{module['path']}"
        yield {"address": address, "page": markup, "key": module["path"]}
    for number, article in enumerate(shared("web/article_extraction_benchmark.jsonl.zst")):
        if number < 25:
            yield {"address": article["url"], "page": article["html"], "key": article["id"]}


@pytest.mark.shared
def test_finemath_as_typed_makes_two_corpora_of_somebody_elses_columns(
    llm: Any, tmp_path: Path
) -> None:
    (tmp_path / "crawl.jsonl").write_text("\n".join(map(json.dumps, pages())))
    asked = settings(
        llm, pages=str(tmp_path / "crawl.jsonl"), sample=200, least_pages=5, group="document",
        html_column="page", url_column="address", id_column="key",
    )  # fmt: skip
    lab = ["--lab", tmp_path / "lab"]
    done = typed("run", "finemath", *asked, *lab)
    assert done.returncode == 0, done.stdout + done.stderr
    urls = pq.read_table(tmp_path / "lab/math/good/documents")["url"].to_pylist()
    assert urls
    assert all("bundle.org" in url for url in urls)
    assert "finemath-4plus" in typed("show", "finemath-4plus", *lab).stdout
    assert "low_score" in typed("look", "math/good", "--dropped", "--count", 1, *lab).stdout
    traced = typed("trace", urls[0], *lab).stdout
    assert "pages/read: kept" in traced
    assert (tmp_path / "lab" / "finemath-4plus.samples.html").is_file()
    again = typed("run", "finemath", *asked, *lab)
    assert "nothing to do" in again.stdout


def test_of_a_language_that_cannot_be_made_the_others_do_not_hear(llm: Any, tmp_path: Path) -> None:
    """Python teaches, Go has not a file, and of Ruby every label is 0."""
    code = tmp_path / "code"
    modules = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    fit = [path for path in modules if 1_000 < path.stat().st_size < 20_000][:64]
    for language in ("python", "ruby"):
        (code / language).mkdir(parents=True)
    for number, path in enumerate(fit):
        text = path.read_text("utf-8", "replace").replace("because", "as")
        reasons = "# it is so because of that\n" * (4 * (number // 2 % 2))
        (code / "python" / path.name).write_text(reasons + text)
        (code / "ruby" / path.name).write_text(text)
    tokenizer = tmp_path / "tokenizer.json"
    asked = ["run", "stack_edu", *settings(llm, code=str(code), sample=100)]
    lab = ["--lab", tmp_path / "lab"]
    done = typed(*asked, *lab, "--set", 'languages=["python", "ruby"]')
    assert done.returncode == 1
    assert [*(tmp_path / "lab" / "stack-edu-python" / "shards").glob("*.bin")]
    assert (tmp_path / "lab" / "stack-edu-python.samples.html").is_file()
    told = re.search(r"^not made: (.*); waiting for it: (.*)$", done.stdout, re.MULTILINE)
    assert told is not None
    assert told[1] == "ruby/classifier"
    assert told[2].endswith("stack-edu-ruby")
    assert re.match(r"ramify: all \d+ labels are 0: there is nothing to tell apart", done.stderr)
    assert done.stderr.count("\n") == 1
    tokenizer.write_bytes((tmp_path / "lab" / "tokenizer" / "tokenizer.json").read_bytes())
    brought = ["--set", f"tokenizer={tokenizer}", "--set", 'languages=["python", "go"]']
    lab = ["--lab", tmp_path / "other"]
    done = typed(*asked, *lab, *brought)
    assert done.returncode == 1
    assert "note: go/read will want " in done.stdout
    assert "code/go is not there" in done.stderr
    assert [*(tmp_path / "other" / "stack-edu-python" / "shards").glob("*.bin")]
