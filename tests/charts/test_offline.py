"""The renderer and the theme: what a chart becomes on a page, in a notebook, and without its optional packages."""

import base64
import builtins
import json
import re
import subprocess
import sys
from typing import Any

import altair as alt
import pandas as pd
import pytest

from moelaws import charts
from moelaws.charts import offline, theme


@pytest.fixture(autouse=True)
def _restore_altair():
    renderer, look = alt.renderers.active, alt.theme.active
    yield
    alt.renderers.enable(renderer)
    alt.theme.enable(look)


@pytest.fixture
def chart() -> alt.Chart:
    table = pd.DataFrame({"n_experts": [1, 2, 64], "loss": [4.2, 4.1, 4.0]})
    return (
        alt.Chart(table)
        .mark_point()
        .encode(x="n_experts:Q", y="loss:Q")
        .properties(width="container", description='Loss </script> "falls" with E.')
    )


def test_a_page_gets_a_specification_and_a_static_image_with_words(chart: alt.Chart):
    charts.enable("book")
    bundle = chart._repr_mimebundle_()
    html = bundle["text/html"]
    inert = re.search(r'<script type="application/json" class="chart-spec">(.*?)</script>', html, re.DOTALL)
    assert json.loads(inert[1])["description"] == 'Loss </script> "falls" with E.'
    assert 'alt="Loss &lt;/script&gt; &quot;falls&quot; with E."' in html
    image = re.search(r'<noscript><img[^>]+src="data:image/svg\+xml;base64,([^"]+)"', html)
    svg = base64.b64decode(image[1]).decode()
    assert svg.startswith("<svg")
    assert float(re.search(r'width="([\d.]+)"', svg)[1]) > offline.STATIC_WIDTH
    assert "http" not in html.replace("https://vega.github.io/schema", "").replace("http://www.w3.org", "")
    assert bundle.keys() == {"text/html", offline.MIME_TYPE, "text/plain"}, "a page shows one picture, not two"


def test_a_chart_of_many_points_is_sent_as_png():
    many = pd.DataFrame({"x": range(3000), "y": range(3000)})
    spec = alt.Chart(many).mark_point().encode(x="x:Q", y="y:Q").to_dict()
    assert offline.static_image(spec).startswith("data:image/png;base64,")


def test_the_same_chart_gives_the_same_page(chart: alt.Chart):
    charts.enable("book")
    assert chart._repr_mimebundle_()["text/html"] == chart._repr_mimebundle_()["text/html"]


def test_a_notebook_gets_html_that_draws_itself(chart: alt.Chart):
    charts.enable("notebook")
    bundle = chart._repr_mimebundle_()
    assert "vegaEmbed" in bundle["text/html"]
    assert bundle[offline.MIME_TYPE]["description"].startswith("Loss")
    assert offline.MIME_TYPE.endswith("+json")
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")


VEGA = """var vegaEmbed = (box, spec) => {
  box.innerHTML = "drawn"; box.classList.add("vega-embed"); return Promise.resolve() }"""


@pytest.mark.parametrize("network", [True, False], ids=["with a network", "without"])
def test_where_vega_cannot_be_loaded_a_notebook_shows_a_picture(network: bool, chart: alt.Chart, browser: Any):
    charts.enable("notebook")
    page = browser.new_page()
    page.route("**/*", lambda to: to.fulfill(body=VEGA) if network else to.abort())
    page.set_content(f"<div>{chart._repr_mimebundle_()['text/html']}</div>")
    drawn, picture = page.get_by_text("drawn", exact=True), page.locator(".chart-still img")
    (drawn if network else picture).wait_for()
    assert drawn.is_visible() == network
    assert picture.is_visible() != network
    assert picture.evaluate("image => image.naturalWidth") > offline.STATIC_WIDTH
    assert picture.get_attribute("alt") == 'Loss </script> "falls" with E.'
    assert not page.get_by_text("Error").is_visible()
    page.close()


def test_charts_that_bring_vega_along_are_drawn_side_by_side_without_a_network(chart: alt.Chart, browser: Any):
    charts.enable("inline")
    htmls = [chart._repr_mimebundle_()["text/html"] for _ in range(2)]
    page, wrong = browser.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.append(request.url))
    page.set_content("".join(f"<div>{html}</div>" for html in htmls))
    page.locator(".vega-embed svg, .vega-embed canvas").nth(1).wait_for()
    assert wrong == []
    page.close()


def test_the_environment_decides_the_place(chart: alt.Chart, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MOELAWS_CHARTS", "book")
    charts.enable()
    assert 'class="chart"' in chart._repr_mimebundle_()["text/html"]
    with pytest.raises(ValueError, match="expected one of book, later, notebook, inline, found 'paper'"):
        charts.enable("paper")


def test_a_chart_that_is_drawn_later_is_the_same(chart: alt.Chart):
    charts.enable("later")
    late = chart._repr_mimebundle_()
    assert set(late) == {offline.MIME_TYPE, "text/plain"}
    offline.draw_output(late)
    charts.enable("book")
    assert late == chart._repr_mimebundle_()
    table = {"text/html": "<table>", "text/plain": "a"}
    offline.draw_output(table)
    assert table == {"text/html": "<table>", "text/plain": "a"}


def test_without_vl_convert_charts_still_show(chart: alt.Chart, monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "vl_convert":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    for place in ("book", "notebook"):
        charts.enable(place)
        bundle = chart._repr_mimebundle_()
        assert "image/png" not in bundle
        assert "<noscript>" not in bundle["text/html"]
        assert bundle[offline.MIME_TYPE]["mark"]["type"] == "point"


def test_charts_import_neither_torch_nor_vl_convert():
    code = (
        "import sys; sys.modules.update(torch=None, vl_convert=None); from moelaws.charts import offline, theme;"
        "print('torch' in sys.modules and sys.modules['torch'] is not None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr


def test_charts_write_numbers_and_letters_as_the_text_around_them_does():
    table = pd.DataFrame({"N_a": [1e10, 1e12], "size": ["N_a", "N"], "loss": [3.0, 2.5]})
    plot = alt.Chart(table, title="At 1e+12 FLOPs").mark_point()
    spec = plot.encode(x=alt.X("N_a:Q").axis(format="~e"), y="loss:Q", color="size:N").to_dict()
    said = theme.lettered(spec)
    assert said["title"] == "At 1e12 FLOPs"
    x = said["encoding"]["x"]
    assert (x["field"], x["axis"]["labelExpr"]) == ("Nₐ", "replace(datum.label, 'e+', 'e')")
    (rows,) = said["datasets"].values()
    assert rows == [{"Nₐ": 1e10, "size": "Nₐ", "loss": 3.0}, {"Nₐ": 1e12, "size": "N", "loss": 2.5}]
    assert spec["encoding"]["x"]["field"] == "N_a", "the chart itself stays as it is"
    drawn = offline.book_bundle(spec)
    assert "1e12" in drawn["text/html"]
    assert "N_a" not in drawn["text/html"]


def test_a_crowded_logarithmic_axis_keeps_its_powers_of_ten():
    table = pd.DataFrame({"size": [2e7, 6e10], "loss": [3.0, 2.5]})
    drawn = alt.Chart(table).mark_line().encode(x=alt.X("size:Q").scale(type="log").axis(format="~s"), y="loss:Q")
    bare = drawn.encode(y=alt.Y("loss:Q", axis=None).scale(type="log"))
    own = drawn.encode(x=alt.X("size:Q").scale(type="log").axis(labelOverlap="parity", labelExpr="datum.value"))
    said = theme.lettered((drawn | bare | own).to_dict())
    first, second, third = (each["encoding"] for each in said["hconcat"])
    assert first["x"]["axis"] == {"format": "~s", "labelOverlap": "greedy"}
    assert "labelOverlap" not in first["y"].get("axis", {}), "a linear axis leaves out every other label"
    assert second["y"]["axis"] is None
    assert third["x"]["axis"]["labelOverlap"] == "parity", "what a chart says of its axis stays"
    assert third["x"]["axis"]["labelExpr"] == "datum.label === '' ? '' : (datum.value)"


def test_still_panels_stand_side_by_side_and_a_long_title_in_lines():
    table = pd.DataFrame(
        {"x": [1, 2] * 4, "loss": [3.0, 2.5] * 4, "panel": [name for name in "abcd" for _ in range(2)]}
    )
    long = "What a reader of a picture without scripts should know, in more words than a line of it holds, to the end"
    base = alt.Chart(table).mark_line().encode(x="x:Q", y="loss:Q").properties(width=150, height=90)
    spec = base.facet(facet="panel:N", columns=2).properties(title=long).to_dict()
    still = offline.static_spec(spec)
    assert (still["columns"], spec["columns"]) == (4, 2)
    assert 4 * still["spec"]["width"] < offline.STATIC_WIDTH
    apart = base.properties(width=200).facet(facet="panel:N").resolve_scale(y="independent").to_dict()
    assert offline.static_spec(apart)["columns"] == 2
    drawn = offline.static_image(spec)
    assert drawn is not None
    picture = base64.b64decode(drawn.split(",")[1]).decode()
    assert picture.count("<tspan") > 1
    assert "to the end" in re.sub(r"<[^>]+>", "", picture)


def test_vega_lite_version_is_the_one_altair_writes():
    major, minor = alt.SCHEMA_VERSION.lstrip("v").split(".")[:2]
    assert offline.vegalite_version(["5.8", f"{major}.{minor}", f"v{major}.99"]) == f"{major}.{minor}"
    assert offline.vegalite_version(["5.8", f"{major}.98", f"v{major}.99"]) == f"{major}.99"
    with pytest.raises(ValueError, match=r"vl-convert carries 4\.1; install a newer"):
        offline.vegalite_version(["4.1"])


def test_a_number_of_experts_has_one_colour():
    assert charts.expert_colour(1) == theme.DENSE
    assert [charts.expert_colour(2**power) for power in range(1, 9)] == list(theme.ROUTED)
    assert charts.expert_colour(4096) == theme.ROUTED[-1]
    scale = charts.expert_scale([64, 1, 8, 8]).to_dict()
    assert scale["domain"] == [1, 8, 64]
    assert scale["range"] == [charts.expert_colour(e) for e in (1, 8, 64)]
    with pytest.raises(ValueError, match="expected at least 1, found 0"):
        charts.expert_colour(0)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_darken_with_experts_and_stand_out_from_the_paper():
    fine = [charts.expert_colour(1.5**power) for power in range(2, 14)]
    assert [luminance(c) for c in fine] == sorted((luminance(c) for c in fine), reverse=True)
    assert all(1.05 / (luminance(c) + 0.05) > 2.4 for c in (theme.DENSE, *theme.ROUTED))
