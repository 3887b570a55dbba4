"""The page's server: right answers, polite refusals, and nothing for strangers."""

import base64
import http.client
import io
import json
import threading

import numpy as np
import pytest
from PIL import Image

from cxrcausal.cli.explore import phantom_explorer
from cxrcausal.data.phantom import PhantomMechanism, phantom_scm, sample
from cxrcausal.errors import ImageError, OptionError
from cxrcausal.explore import Explorer, make_server
from cxrcausal.explore.server import LARGEST, answers_to

SIZE = 48


@pytest.fixture(scope="module")
def port():
    server = make_server(phantom_explorer(SIZE), port=0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def request(port, method, path, body=None, **headers):
    """Status, headers and content of what the server says."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    content = json.dumps(body).encode() if isinstance(body, dict) else body
    named = {"Content-Type": "application/json"} if body is not None else {}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, content, named)
    reply = connection.getresponse()
    found = reply.status, dict(reply.getheaders()), reply.read()
    connection.close()
    return found


def ask(port, **question):
    status, _, content = request(port, "POST", "/api/ask", question)
    assert status == 200, content
    return json.loads(content)


def refused(port, path="/api/ask", **question):
    status, _, content = request(port, "POST", path, question)
    assert status == 422, content
    return json.loads(content)["error"]


def pixels(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize("path", ["/", "/page.css", "/page.js", "/?do=sex:Male"])
def test_the_page_comes_with_a_policy(port, path):
    status, headers, content = request(port, "GET", path)
    assert status == 200
    assert content
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"
    assert b"://" not in content.replace(b"http://www.w3.org/2000/svg", b"")  # nothing from afar


def test_it_says_what_may_be_asked(port):
    known = json.loads(request(port, "GET", "/api/describe")[2])
    graph = phantom_scm().graph
    assert [v["name"] for v in known["variables"]] == list(graph.variables)
    assert set(known["places"]) == {v for e in graph.edges for v in (e.source, e.target)}
    assert {(a["from"], a["to"]) for a in known["arrows"]} == {
        (e.source, e.target) for e in graph.edges
    }
    assert known["exact"]


def test_an_answer_is_the_models_own(port):
    """The true counterfactual of that phantom, bit for bit of its PNG."""
    found = ask(port, seed=3, do={"cardiomegaly": "positive"})
    explorer = phantom_explorer(SIZE)
    images, table = explorer.model.sample(1, seed=3)
    table = table.set_axis(["synthetic patient"])
    out = explorer.model.counterfactual(
        images.clamp(0, 1), table, {"cardiomegaly": "positive"}, seed=0
    )
    truth = (out.images[0, 0].clamp(0, 1) * 255).round().byte().numpy()
    assert np.array_equal(pixels(found["counterfactual"]), truth)
    assert not np.array_equal(pixels(found["counterfactual"]), pixels(found["radiograph"]))
    assert found["states"]["cardiomegaly"] == "set"
    changed = {n for n, state in found["states"].items() if state == "changed"}
    assert changed == set(out.changes().query("why == 'descendant'")["variable"])
    assert found["answer"]["cardiomegaly"] == "positive"
    odds = found["probabilities"]["pleural_effusion"]
    assert sum(odds.values()) == pytest.approx(1)
    assert "cardiomegaly" not in found["probabilities"]
    assert "age" not in found["probabilities"]


def test_every_counterfactual_says_that_it_is_synthetic(port):
    question = {"seed": 1, "do": {"sex": "Male"}}
    image = Image.open(io.BytesIO(base64.b64decode(ask(port, **question)["counterfactual"])))
    assert "not for diagnosis" in image.text["Synthetic"]
    for kind, start in (("png", b"\x89PNG"), ("dcm", b"\0"), ("json", b"{")):
        status, headers, content = request(port, "POST", "/api/download", question | {"as": kind})
        assert status == 200
        assert content.startswith(start)
        assert f'filename="counterfactual.{kind}"' in headers["Content-Disposition"]
        said = content.upper().replace(b"\\", b"")
        assert b"SYNTHETIC" in said or b"GENERATED" in said


def test_every_generated_picture_says_so_and_ones_own_does_not(port):
    def marked(text):
        return "Synthetic" in Image.open(io.BytesIO(base64.b64decode(text))).text

    found = ask(port, seed=1, do={"sex": "Male"})
    assert all(marked(found[name]) for name in ("radiograph", "counterfactual", "difference"))
    status, _, content = request(port, "POST", "/api/patient", {"seed": 1})
    assert status == 200
    assert marked(json.loads(content)["radiograph"])
    own = {"radiograph": png(np.zeros((64, 64), np.uint8)), "values": {"sex": "Male"}}
    assert not marked(json.loads(request(port, "POST", "/api/patient", own)[2])["radiograph"])


def test_an_age_of_zero_is_an_age(port):
    own = {"radiograph": png(np.zeros((64, 64), np.uint8))}
    for age, known in ((0, 0.0), (None, None), ("", None), ("7", 7.0)):
        content = request(port, "POST", "/api/patient", own | {"values": {"age": age}})[2]
        assert json.loads(content)["values"]["age"] == known


def test_a_question_chooses_its_model():
    """Both answer from one server; the first one where none is named."""
    small, large = phantom_explorer(SIZE), phantom_explorer(2 * SIZE)
    server = make_server({"small": small, "large": large}, port=0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    try:
        for source, size in (({}, SIZE), ({"source": "large"}, 2 * SIZE)):
            found = ask(port, seed=1, do={"sex": "Male"}, **source)
            assert pixels(found["counterfactual"]).shape == (size, size)
        known = json.loads(request(port, "GET", "/api/describe?source=large")[2])
        assert (known["source"], known["sources"]) == ("large", ["small", "large"])
        for wrong in ("../large", 3, None, ["small"]):
            assert "is not one of this server's: small, large" in refused(
                port, seed=1, source=wrong
            )
        assert request(port, "GET", "/api/describe?source=none")[0] == 422
    finally:
        server.shutdown()
        server.server_close()


def test_the_same_question_has_the_same_answer(port):
    question = {"seed": 2, "do": {"sex": "Male", "age": 70}}
    assert ask(port, **question) == ask(port, **question)
    assert ask(port, **question | {"seed": 4}) != ask(port, **question)


def test_no_intervention_changes_nothing(port):
    found = ask(port, seed=2)
    assert set(found["states"].values()) <= {"same", "unknown"}
    assert np.array_equal(pixels(found["counterfactual"]), pixels(found["radiograph"]))


def test_a_radiograph_of_ones_own_is_answered_and_not_kept(port, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    study = sample(1, seed=5, size=SIZE)
    image = (study.images[0, 0].clamp(0, 1) * 255).round().byte().numpy()
    row = study.table.iloc[0]
    values = {n: row[n] for n in phantom_scm().graph.variables if isinstance(row[n], str)}
    values["age"] = float(row["age"])
    found = ask(port, radiograph=png(image), values=values, do={"cardiomegaly": "positive"})
    assert found["values"]["sex"] == row["sex"]
    assert np.abs(pixels(found["radiograph"]).astype(int) - image.astype(int)).max() <= 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ({}, "give the seed"),
        ({"seed": "a"}, "whole number"),
        ({"seed": 0, "do": {"sexx": "Male"}}, "did you mean 'sex'"),
        ({"seed": 0, "do": {"sex": "man"}}, "'man'"),
        ({"seed": 0, "do": {"age": "old"}}, "'old' is no number"),
        ({"seed": 0, "do": {"age": 1e400}}, "no finite number"),
        ({"seed": 0, "do": {"age": 500}}, "age"),
        ({"seed": 0, "do": {"no_finding": "positive"}}, "no_finding"),
        ({"seed": 0, "do": ["sex"]}, "by variable"),
        ({"seed": 0, "weight": 2}, "paints without guidance"),
        ({"seed": 0, "form": "cfg"}, "paints without guidance"),
        ({"radiograph": "%%%"}, "not base64"),
        ({"radiograph": base64.b64encode(b"<svg>").decode()}, "neither PNG nor JPEG nor DICOM"),
        ({"radiograph": base64.b64encode(b"\x89PNG\r\n\x1a\nno").decode()}, "the upload"),
        ({"radiograph": png(np.zeros((64, 64), np.uint8)), "values": {"x": 1}}, "no variable"),
        ({"radiograph": png(np.zeros((64, 64), np.uint8)), "values": {"sex": 7}}, "sex"),
        ({"radiograph": png(np.zeros((64, 64), np.uint8)), "values": [1]}, "by variable"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(port, question, words):
    assert words in refused(port, **question)
    assert "/tmp" not in refused(port, **question)


def test_an_answer_is_saved_in_known_ways(port):
    assert "allowed: png, dcm, json" in refused(port, "/api/download", seed=0, **{"as": "exe"})


def test_a_question_is_json_of_a_known_size(port):
    for body, headers, status in (
        (b"{", {}, 400),
        (b"[1]", {}, 400),
        (b"[" * 100_000, {}, 400),
        (b'{"seed": 0, "do": {"sex": "\\ud800"}}', {}, 400),  # half a character
        (b"", {"Content_Length": "9" * 5000}, 413),
        (b"{}", {"Content_Type": "text/plain"}, 415),
        (b"", {"Content_Length": str(LARGEST + 1)}, 413),
        (b"", {"Content_Length": "-1"}, 411),
    ):
        found, _, content = request(port, "POST", "/api/ask", body, **headers)
        assert found == status
        assert json.loads(content)["error"]


@pytest.mark.parametrize("path", ["/nothing", "/../explorer.py", "/page.html", "/api/ask"])
def test_there_are_no_other_files(port, path):
    assert request(port, "GET", path)[0] == 404
    assert request(port, "POST", "/api/other", {})[0] == 404


def test_other_methods_are_refused_in_json(port):
    for method in ("PUT", "DELETE", "OPTIONS"):
        status, _, content = request(port, method, "/api/ask", b"{}")
        assert status >= 400
        assert json.loads(content)["error"]


def test_a_fault_is_told_without_its_details(monkeypatch, caplog):
    explorer = phantom_explorer(SIZE)
    monkeypatch.setattr(Explorer, "describe", lambda self: 1 / 0)
    server = make_server(explorer, port=0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        status, _, content = request(server.server_address[1], "GET", "/api/describe")
    finally:
        server.shutdown()
        server.server_close()
    assert status == 500
    assert "division" not in json.loads(content)["error"]
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("192.168.0.7:80", True),
        ("[fe80::1]:8765", True),
        ("radiology.example:8765", True),
        ("evil.example:8765", False),
        ("192.168.0.7.evil.example", False),
        ("[::1", False),
        ("", False),
    ],
)
def test_shown_to_others_it_answers_to_its_name_and_to_numbers(host, ours):
    """Only a name can be made to point here by a page from afar."""
    assert answers_to("radiology.example", host) is ours


def test_strangers_are_refused(port):
    """A name that points here from afar, and a question from another site's page."""
    assert request(port, "GET", "/", Host="evil.example")[0] == 403
    question = {"seed": 0}
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{port + 1}"):
        assert request(port, "POST", "/api/ask", question, Origin=origin)[0] == 403
    own = f"http://127.0.0.1:{port}"
    assert request(port, "POST", "/api/patient", question, Origin=own)[0] == 200


def test_another_address_is_warned_of_and_a_taken_port_refused(port, caplog):
    explorer = Explorer(phantom_explorer(SIZE).model)
    with caplog.at_level("WARNING", "cxrcausal"):
        make_server(explorer, "0.0.0.0", 0).server_close()
    assert "whoever reaches that address" in caplog.text
    for host, taken in (("127.0.0.1", port), ("no such host.invalid", 0), ("127.0.0.1", 99999)):
        with pytest.raises(OptionError, match="cannot listen on"):
            make_server(explorer, host, taken)


def test_a_model_of_metadata_alone_has_nothing_to_show():
    from cxrcausal.counterfactual import CounterfactualModel

    with pytest.raises(ImageError, match="metadata alone"):
        Explorer(CounterfactualModel(phantom_scm()))
    assert PhantomMechanism(SIZE).image_shape == (1, SIZE, SIZE)
