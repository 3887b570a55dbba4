"""What the evidence page says was measured: every table and figure is that of a published run."""

import json
import re
from pathlib import Path
from types import ModuleType

import numpy as np
from script import load_script

from cxrcausal.data.source import FINDINGS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
EVIDENCE = DOCS / "evidence.md"
RESULTS = ROOT / "benchmarks" / "results"


def published(name: str) -> dict:
    """The numbers of a published run of a benchmark."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def tables(name: str) -> ModuleType:
    """A module of the benchmarks, which are no package."""
    return load_script(ROOT / "benchmarks" / f"{name}.py")


def words(page: str = "evidence") -> str:
    """A page on one line."""
    return " ".join((DOCS / f"{page}.md").read_text(encoding="utf-8").split())


def block(name: str) -> str:
    """What stands between two markers of the page."""
    after = EVIDENCE.read_text(encoding="utf-8").split(f"<!-- {name} -->\n")[1]
    return after.split(f"\n<!-- /{name} -->")[0]


def test_the_table_of_likelihoods_is_that_of_the_published_run():
    numbers = published("metadata_likelihood")
    assert block("metadata-likelihood") == tables("likelihood_tables").evidence_table(
        numbers["results"]
    )
    assert numbers["verdict"]["holds"]


def test_the_speeds_are_those_of_the_published_runs():
    assert block("scm-vs-peers") == tables("peers_table").evidence_table(published("scm_vs_peers"))
    said = words()
    models = published("scm_vs_peers")["models"]
    label, slower = tables("peers_table").fastest_valid(models)
    assert f"(`{label.split(', ')[1]}`), {slower:g} times slower here" in said
    ahead = models["DoWhy gcm, categories"]["ours ahead, nats"]["whole row"]
    assert f"(standard error by patient {ahead[1]:.4f})" in said
    assert abs(ahead[0]) < 2 * ahead[1]  # "no difference"
    training = published("training_speed")
    assert f"{training['eager']['ratio_median']:.2f} times the images/s".lstrip("0") in said
    assert f"at {training['compiled']['ratio_median']:.2f} times compiled" in said


def test_the_table_of_radiographs_is_that_of_the_published_run():
    numbers = published("image_soundness")
    assert block("image-soundness") == tables("soundness_tables").evidence_table(numbers)
    report = (RESULTS / "image_soundness.md").read_text(encoding="utf-8")
    assert f"{numbers['seconds']:.0f} s in all." in report  # one run wrote both


def test_the_published_run_is_of_the_shipped_model():
    """A model that is trained anew needs a new run before its figures may stand."""
    shipped = json.loads(
        (ROOT / "generative" / "cxr19-tiny" / "image.json").read_text(encoding="utf-8")
    )
    found = published("image_soundness")["models"]["cxr19-tiny"]
    assert found["training"] == shipped["training"]
    for key, value in shipped["recipe"]["solver"].items():
        assert found["solver"][key] == value


def test_what_is_said_of_phantoms_was_measured():
    said = words()
    found = published("phantom_findings")
    assert f"{found['per_second']['64']:.0f} a second at 64×64" in said
    auc = {q["target"]: q["value"] for q in found["quality"] if q["metric"] == "AUC"}
    findings = [auc[name] for name in FINDINGS.values() if name in auc]
    assert f"each finding with an AUC of {min(findings):.2f} " in said
    race = [value for name, value in auc.items() if name.startswith("race=")]
    low, high = (f"{v:.2f}".lstrip("0") for v in (min(race), max(race)))
    assert f"race with {low} to {high}" in said
    assert all(abs(value - 0.5) < 0.03 for value in race)


def test_what_is_said_of_decompositions_was_measured():
    said = words()
    report = published("decomposition")
    sex, effusion = (
        {x["part"]: x for x in report["lines"] if x["difference"].startswith(name)}
        for name in ("sex", "pleural_effusion")
    )

    def short(value: float, digits: int = 3) -> str:
        return f"{value:.{digits}f}".replace("0.", ".", 1)

    for parts, part, form in (
        (sex, "direct", "{} directly (true {})"),
        (sex, "indirect through finding", "{} through findings ({})"),
        (effusion, "direct", "{} directly ({})"),
        (effusion, "indirect through finding", "{} through findings ({})"),
    ):
        line = parts[part]
        assert form.format(short(line["value"]), short(line["truth"])) in said
    held = sorted(line["coverage"] for line in report["lines"])
    smallest = min(report["lines"], key=lambda line: abs(line["truth"]))
    assert smallest["coverage"] == held[0]
    assert f"over {report['repeats']} samples of {report['each']} phantoms" in said
    assert f"in {short(held[1] - 1e-9, 2)} to {short(held[-1], 2)}" in said
    assert f"in {short(held[0], 2)} where it is the smallest, {short(smallest['truth'])}" in said


def test_what_is_said_of_the_vae_beside_was_measured():
    said = words()
    error, made = {}, {}
    for line in published("phantom_counterfactuals_vae")["answers"]:
        if "relative" in line:
            error.setdefault(line["method"], {})[line["question"]] = line["relative"]["value"]
            made.setdefault(line["method"], []).append(line["effect"]["value"])
    middle = {
        method: f"{np.median(list(of.values())):.2f}".removeprefix("0")
        for method, of in error.items()
    }
    change = {method: f"{np.median(of):.2f}".removeprefix("0") for method, of in made.items()}
    ours, vae = "RadiT, no guidance", "conditional VAE"
    assert f"a median of {middle[ours]} of the error and the VAE {middle[vae]}" in said
    assert f"the VAE makes {change[vae]} of the change, RadiT {change[ours]}." in said
    ratio = {question: error[vae][question] / error[ours][question] for question in error[vae]}
    smaller = sum(x > 1 for x in ratio.values())
    twice = {question for question, x in ratio.items() if x >= 2}
    assert f"the smaller in {smaller} of {len(ratio)} questions" in said
    assert f"by a factor of two in {len(twice)} of them" in said
    assert twice == {"sex", "view", "edema", "enlarged_cardiomediastinum"}
    assert {q for q, x in ratio.items() if x < 1} == {"pneumonia", "pneumothorax"}
    (nested,) = (m for m in error if m.startswith("RadiT, nested"))
    (anchored,) = (m for m in error if m.startswith("RadiT, anchored"))
    (decoupled,) = (m for m in error if m.startswith("RadiT, decoupled"))
    (cfg,) = (m for m in error if m.startswith("RadiT, cfg"))
    assert middle[nested] == middle[anchored]
    assert f"({nested.split()[-1]}) leave {middle[nested]} of the error, a tie" in said
    assert f"`decoupled` ({decoupled.split()[-1]}) {middle[decoupled]}" in said
    assert f"does not get there ({middle[cfg]} at {cfg.split()[-1]})" in said


def test_what_is_said_of_counterfactual_phantoms_was_measured():
    said = words()
    answers = [x for x in published("phantom_counterfactuals")["answers"] if "relative" in x]
    error, made = {}, {}
    for line in answers:
        error.setdefault(line["method"], {})[line["question"]] = line["relative"]["value"]
        made.setdefault(line["method"], []).append(line["effect"]["value"])

    def short(value: float) -> str:
        return f"{value:.2f}".removeprefix("0")

    def middle(method: str) -> str:
        return short(np.median(list(error[method].values())))

    plain = error["RadiT, no guidance"]
    assert f"over {len(plain)} questions, a median of {middle('RadiT, no guidance')} of" in said
    shown = {"edema": "edema", "view": "view", "sex": "sex", "effusion": "pleural_effusion"}
    for word, name in {**shown, "fracture": "fracture"}.items():
        assert f"{short(plain[name])} {word}" in said
    assert min(plain.values()) == plain["edema"]
    assert max(plain.values()) == plain["fracture"]
    assert f"makes a median of {short(np.median(made['RadiT, no guidance']))} of the" in said
    guided = "RadiT, nested 3"
    assert f"makes {short(np.median(made[guided]))} of it, in worse places" in said
    assert f"places: {middle(guided)} of the error" in said
    assert f"abducted leaves {middle('RadiT, noise drawn anew')};" in said
    assert f"gains nothing ({middle('RadiT with transport, no guidance')})" in said


def test_what_is_said_of_audits_was_measured():
    said = words()
    lines = published("audit_coverage")["lines"]
    holds = [f"{line['interval_holds']:.3f}".lstrip("0") for line in lines]
    assert len(lines) == 7
    assert f"hold the truth in {min(holds)} to {max(holds)}" in said
    (fair,) = (line for line in lines if line["effect_left"] == 0)
    assert f"is accused in {fair['says_differs']:.3f}".replace(" 0.", " .") in said
    asked = {(x["classifier"], x["from"]): x for x in published("audit_models")["effects"]}
    there, back = (asked["shortcut", sex] for sex in ("Female", "Male"))
    shown = [f"{x['shift']:+.2f}".replace("0.", ".") for x in (there, back)]
    assert f"moves by {shown[0]} (woman to man) and {shown[1]}" in said
    assert f"{there['flip_rate']:.0%}".replace("%", " %") + " of its decisions flip" in said
    clean = [
        f"{asked['clean', sex]['shift']:+.3f}".replace("0.", ".") for sex in ("Female", "Male")
    ]
    assert f"a clean one moves by {clean[0]} and {clean[1]}" in said
    patients = there["patients"] + back["patients"]
    text = (RESULTS / "audit_models.md").read_text(encoding="utf-8")
    found = re.search(r"(\d+) radiographs of (\d+) patients", text)
    assert found
    assert f"On {found[1]} radiographs of {found[2]} test patients" in said
    phantoms = published("audit_models_phantom")["effects"]
    race = [x for x in phantoms if x["attribute"] == "race" and x["model"] != "exact"]
    most = f"{max(abs(x['shift']) for x in race):.3f}".lstrip("0")
    assert f"by up to {most} with race" in said
    assert f"{sum(x['differs'] for x in race)} of {len(race)} such questions" in said
    gives = {
        x["model"]: f"{x['shift']:+.3f}".replace("0.", ".")
        for x in phantoms
        if (x["classifier"], x["attribute"], x["from"]) == ("shortcut", "sex", "Male")
    }
    plain, guided, exact = (
        gives[name] for name in ("RadiT, no guidance", "RadiT, nested 1.5", "exact")
    )
    assert f"gives {plain} (guided {guided}) where the exact counterfactuals give {exact}" in said
    spread: dict[tuple, list[float]] = {}
    widths: dict[tuple, list[float]] = {}
    for x in published("audit_models_spread")["effects"]:
        asked_of = (x["classifier"], x["from"])
        spread.setdefault(asked_of, []).append(x["shift"])
        widths.setdefault(asked_of, []).append(x["shift_high"] - x["shift_low"])
    apart = max(max(values) - min(values) for values in spread.values())
    wide = [float(np.mean(values)) for values in widths.values()]
    least, most = (f"{w:.3f}".lstrip("0") for w in (min(wide), max(wide)))
    assert f"differ by up to {apart:.3f}".replace("0.", ".") in said
    assert f"an interval is {least} to {most} wide" in said
    assert int(found[2]) >= patients  # those whose radiographs did not come back are asked nothing


def test_what_is_said_of_unknown_cells_was_measured():
    said = words()
    parts = {part["part"]: part["lines"] for part in published("missing_data")["parts"]}
    for part in ("random", "pooled"):
        for line in parts[part]:
            if line["test"] != "30 % removed":
                assert f"{abs(line['gain']):.3f}".lstrip("0") in said
    for line in parts["everything"]:
        assert f"{line['seconds']['em']:.0f} s" in said
    million = published("million_rows")
    assert million["same_answer"]
    line = next(x for x in million["lines"] if x["rows"] == 1_000_000)
    assert f"{line['seconds']:.1f} s and {line['mib_beyond']:.0f} MiB" in said


def test_what_data_say_against_the_graphs_was_measured():
    said = words()
    found = published("falsify")
    assert f"{found['rows']:,} rows" in said
    assert f"in {found['seconds']:.1f} s" in said
    for graph, called in (
        ("cxr19", "of the published graph"),
        ("cxr19-extended", "of the extended one"),
    ):
        counts = found["counts"][f"{graph}, independence"]
        tested = counts["misfit"] + counts["excused"] + counts["holds"]
        assert f"{counts['misfit']} of {tested} {called}" in said
    assert f"{found['counts']['cxr19-extended, independence']['excused']} more are excused" in said


def test_what_is_said_of_verdicts_and_labels_was_counted():
    said = words()
    counts = published("selection_verdicts")["counts"]
    assert counts["false"] == counts["missed"] == counts["beyond"] == counts["given_false"] == 0
    assert f"{counts['claimed']:,} of {counts['questions']:,} effects" in said
    found = published("labels")["counts"]
    assert found["false label"] == found["false bounds"] == found["false figure"] == 0
    assert found["false formula"] == 0 < found["formula named"]
    assert f"Of {found['labels']:,} labels" in said


def test_the_coverage_of_intervals_is_that_of_the_published_run():
    report = json.loads((RESULTS / "interval_coverage.json").read_text())
    assert (report["studies"], report["confidence"]) == (200, 0.95)

    def between(key, interval, digits):
        values = [f[key] for f in report["found"] if f["interval"] == interval]
        assert len(values) == 9
        return " to ".join(f"{value:.{digits}f}" for value in (min(values), max(values)))

    said = words()
    held = between("coverage", "default", 3).replace("0.", ".")
    assert f"hold the truth in {held}, at {between('width_ratio', 'default', 2)} times" in said
    assert f"in {between('coverage', 'parameters fixed', 3).replace('0.', '.')}." in said


def test_what_is_said_of_scale_was_measured():
    said = words("scaling")
    line = next(x for x in published("million_rows")["lines"] if x["rows"] == 1_000_000)
    assert f"{line['seconds']:.1f} s and {line['mib_beyond']:.0f} MiB" in said
    parts = {part["part"]: part["lines"] for part in published("missing_data")["parts"]}
    for line in parts["everything"]:
        assert f"{line['seconds']['em']:.0f} s (`{line['graph']}`)" in said
    shown = published("training_speed")["eager"]["images_per_s"]["RadiT"]
    assert f"about {round(shown, -1):.0f} radiographs a second" in said


def test_what_is_said_of_malformed_input_was_measured():
    found = published("fuzz")
    assert not found["defects"]
    assert all(line[kind] == 0 for line in found["lines"] for kind in ("foreign", "slow", "code"))
    said = words()
    assert f"{found['cases']} of each" in said
    assert f"of {found['cases'] * len(found['lines']):,} none" in said
