"""The page in a browser: it loads, asks, shows what changed, and says what was refused."""

import base64
import io
import re
import shutil
import subprocess
import threading

import pytest
from PIL import Image

from cxrcausal.cli.explore import phantom_explorer
from cxrcausal.explore import make_server

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium to open the page")


@pytest.fixture(scope="module")
def address():
    both = {"other": phantom_explorer(32), "phantom": phantom_explorer(48)}
    server = make_server(both, port=0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def page(address, folder):
    """The page's content once it has done what its address asks."""
    done = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
            f"--user-data-dir={folder}", "--virtual-time-budget=60000", address,
        ],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    return done.stdout


def source(text, name):
    found = re.search(rf'<img id="{name}"[^>]*src="data:image/png;base64,([^"]+)"', text)
    return found and found[1]


def test_it_shows_a_changed_radiograph(address, tmp_path):
    text = page(f"{address}/?source=phantom&seed=3&do=cardiomegaly:positive", tmp_path)
    assert 'data-answered="yes"' in text
    assert source(text, "factual") != source(text, "counterfactual")
    assert source(text, "difference")
    assert re.search(r'<tr id="row-cardiomegaly" class="set">', text)
    assert re.search(r'<td class="answer" id="answer-cardiomegaly">positive', text)
    assert "Not for diagnosis" in text
    assert re.search(r'<g class="set"><rect[^>]*></rect><text[^>]*>cardiomegaly', text)
    assert "negative → positive</text>" in text
    assert re.search(r'id="error" role="alert" hidden', text)
    image = Image.open(io.BytesIO(base64.b64decode(source(text, "counterfactual"))))
    assert image.size == (48, 48)  # of the model that the address names, not of the first


def test_it_waits_for_a_question(address, tmp_path):
    text = page(f"{address}/", tmp_path)
    assert source(text, "factual")
    assert not source(text, "counterfactual")
    assert "data-answered" not in text


def test_it_says_what_was_refused(address, tmp_path):
    text = page(f"{address}/?seed=3&do=age:500", tmp_path)
    assert "data-answered" not in text
    assert re.search(r'<p id="error" role="alert">[^<]*500', text)
