"""The page on which visitors try the models: its words, and the page itself in a headless Chromium.

The page is built, served under a sub-path as a project's page on GitHub is, and used with mouse,
keyboard and files. Images of it go to build/screenshots.
"""

import base64
import io
import re
import shutil
import threading
import urllib.request
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from browser import chromium
from nbformat.v4 import new_notebook
from PIL import Image
from torch.nn.functional import interpolate

from helpers.images import load_image
from helpers.inference import load_labels, load_model, pixel_values_of, predicting, segment
from helpers.profiles import REPOSITORY
from scripts.onnx_segmenter import resized
from tools.course import try_page
from tools.course.pages import write_index

SCREENSHOTS = REPOSITORY / "build" / "screenshots"
TIED = 1e-3  # logits of two classes that are closer than this


# --- what needs no browser ------------------------------------------------------------------------


def test_every_language_has_every_text_with_its_placeholders() -> None:
    english = try_page.TEXTS["en"]
    sources = [try_page.SOURCES / name for name in ("index.html", "try.js")]
    source = "".join(file.read_text(encoding="utf-8") for file in sources)
    assert "<!-- server -->" in source
    wanted = {*re.findall(r'data-(?:text|label)="([^"]+)"', source)}
    wanted |= {*re.findall(r'(?:say|tell)\("(\w+)"', source)}
    wanted |= {"server", *try_page.MODELS, *try_page.EXAMPLES}
    wanted |= {f"examples of {name}" for name in try_page.MODELS}
    assert wanted <= english.keys()
    for texts in try_page.TEXTS.values():
        assert texts.keys() == english.keys()
        for key in english.keys() - {"classes"}:
            placeholders = [set(re.findall(r"{\w+}", one[key])) for one in (english, texts)]
            assert placeholders[0] == placeholders[1], key


def test_a_runtime_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "onnxruntime-web-1.30.0.tgz"
    other.write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"onnxruntime-web-1.30.0.tgz has the SHA-512 .*expected"):
        try_page.unpack_runtime(other, tmp_path)
    assert [*tmp_path.iterdir()] == [other]


def test_without_npm_the_command_says_so(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("PATH", "")
    assert try_page.main(["--output", str(tmp_path)]) == 1
    assert "npm, which fetches it, is missing" in capsys.readouterr().err
    assert not (tmp_path / "index.html").exists()


def test_indexes_link_the_page_once_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "zh").mkdir()
    notebooks = {"01_sky": new_notebook()}
    assert "try/" not in write_index(notebooks, tmp_path).read_text("utf-8")
    (tmp_path / "try").mkdir()
    (tmp_path / "try" / "index.html").touch()
    link = '<p><a href="{}try/index.html?lang={}">{}</a></p>'
    page = write_index(notebooks, tmp_path).read_text("utf-8")
    assert link.format("", "en", try_page.TEXTS["en"]["title"]) in page
    page = write_index(notebooks, tmp_path / "zh", "zh").read_text("utf-8")
    assert link.format("../", "zh", try_page.TEXTS["zh"]["title"]) in page


# --- the page in a browser ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory):
    with chromium(tmp_path_factory.mktemp("chromium"), 1280, 1000) as context:
        yield context


@pytest.fixture(scope="module")
def served(browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[str]]]:
    """The page's address, and the requests that its server has got so far."""
    if not shutil.which("npm"):
        pytest.skip("no npm on this machine: the page to try models on is not tested")
    root = tmp_path_factory.mktemp("site")
    assert try_page.main(["--output", str(root / "course" / "try")]) == 0
    requests: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_) -> None:
            requests.append(self.requestline)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=root))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/course/try/", requests
    server.shutdown()


@pytest.fixture(scope="module")
def page(browser, served):
    """The page, which must not fail unseen, nor ask any other server for anything."""
    opened, errors, requested = browser.new_page(), [], []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text))
    browser.on("request", lambda request: requested.append(request.url))
    opened.goto(served[0])
    opened.evaluate("async () => { window.script = await import('./try.js') }")
    yield opened
    assert not errors
    addresses = {url.partition("/course/")[0] for url in requested if url.startswith("http")}
    assert addresses == {served[0].partition("/course/")[0]}


@pytest.fixture
def segmented(page):
    """A function that does something on the page, waits for a new result and returns it."""

    def do(action) -> SimpleNamespace:
        page.evaluate("() => { window.before = script.shown }")
        action()
        failed = "document.getElementById('status').className === 'error'"
        page.wait_for_function(f"() => script.shown !== before || {failed}")
        assert page.locator("#status").get_attribute("class") != "error", status(page)
        found = SimpleNamespace(**page.evaluate(SHOWN))
        size = found.height, found.width
        for name, kind, shape in (
            ("pixels", np.uint8, (*size, 3)),
            ("labels", np.uint8, size),
            ("confidences", np.float32, size),
        ):
            values = np.frombuffer(base64.b64decode(getattr(found, name)), kind)
            setattr(found, name, values.reshape(shape))
        return found

    return do


SHOWN = """async () => {
    const { image, labels, confidences, asked } = script.shown;
    const inBase64 = (array) => new Promise((done) => {
        const reader = new FileReader();
        reader.onload = () => done(reader.result.split(",")[1]);
        reader.readAsDataURL(new Blob([array]));
    });
    const pixels = await inBase64(image.data);
    return {
        width: image.width, height: image.height, model: asked.model.name, pixels,
        labels: await inBase64(labels), confidences: await inBase64(confidences),
    };
}"""


def status(page) -> str:
    return page.locator("#status").inner_text()


def rows_of(page) -> dict[str, str]:
    """Class to its share, as the legend has them."""
    rows = page.locator("#legend tr").all()
    return {
        row.locator("td").first.inner_text(): row.locator("td").last.inner_text() for row in rows
    }


def slide(page, name: str, value: int) -> None:
    slider = page.locator(f"#{name}")
    slider.focus()
    page.keyboard.press("Home")
    for _ in range(value // int(slider.get_attribute("step"))):
        page.keyboard.press("ArrowRight")


def compare(found: SimpleNamespace, image: Image.Image) -> None:
    """The page's label map is that of `segment`, but for ties; and its confidences are softmax."""
    assert np.array_equal(found.pixels, np.asarray(image))
    model, image_processor = load_model(try_page.MODELS[found.model])
    expected = segment(image, model, image_processor)
    with predicting(model):
        logits = model(pixel_values_of(image, image_processor)).logits
    logits = interpolate(logits, size=expected.shape, mode="bilinear")[0]
    best, second = logits.topk(2, dim=0).values
    tied = (best - second < TIED).numpy()
    assert tied.mean() < 0.01
    assert np.array_equal(found.labels[~tied], expected[~tied])
    softmax = logits.softmax(dim=0).amax(dim=0).numpy()
    np.testing.assert_allclose(found.confidences, softmax, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", try_page.EXAMPLES)
def test_an_example_gets_the_label_map_that_torch_gives(page, segmented, served, name: str) -> None:
    example = try_page.EXAMPLES[name]
    button = page.get_by_role("button", name=try_page.TEXTS["en"][name])
    found = segmented(button.click)
    assert found.model == example.model
    with urllib.request.urlopen(f"{served[0]}examples/{example.file}") as response:
        compare(found, load_image(response.read()))
    if credit := try_page.credit_of(example.file):
        assert credit in button.inner_text()
    screenshot(page, name)


@pytest.mark.slow
def test_a_large_photograph_on_its_side_is_shown_upright_and_scaled(
    page, segmented, tmp_path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    note = Image.Exif()
    note[0x0112] = 6  # orientation: to be turned by 90 degrees
    file = tmp_path / "mine.jpg"
    Image.fromarray(pixels).resize((1501, 1003)).save(file, quality=95, exif=note)
    found = segmented(lambda: page.locator("#file").set_input_files(file))
    assert found.model == next(iter(try_page.MODELS))
    upright = np.asarray(load_image(file))
    assert upright.shape == (1501, 1003, 3)
    compare(found, Image.fromarray(resized(upright, (640, 427))))
    assert "mine.jpg" in page.locator("#caption").inner_text()


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 1), (33, 47), (300, 90)])
def test_a_dropped_image_of_any_size(page, segmented, size: tuple[int, int]) -> None:
    image = Image.effect_mandelbrot(size, (-2, -1, 1, 1), 90).convert("RGB")
    file = io.BytesIO()
    image.save(file, "PNG")
    found = segmented(lambda: drop(page, "drawn.png", file.getvalue()))
    compare(found, image)


def drop(page, name: str, content: bytes) -> None:
    """Drop a file onto the page's footer, since all of the page takes it."""
    transfer = page.evaluate_handle(
        """([name, content]) => {
            const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name));
            return transfer;
        }""",
        [name, base64.b64encode(content).decode()],
    )
    page.dispatch_event("footer", "drop", {"dataTransfer": transfer})


@pytest.mark.slow
def test_scaling_is_pytorchs_to_the_bit(page) -> None:
    generator = np.random.default_rng(1)
    for size in ((128, 128), (75, 100), (7, 300), (1, 1)):
        pixels = generator.integers(0, 256, (131, 97, 3), np.uint8)
        found = page.evaluate(
            """async ([data, width, height]) => {
                const { resized } = await import("./segment.js");
                const image = { data: Uint8ClampedArray.from(data), width: 97, height: 131 };
                return Array.from(resized(image, width, height).data);
            }""",
            [pixels.ravel().tolist(), size[1], size[0]],
        )
        image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
        options = {"size": size, "mode": "bilinear", "antialias": True}
        expected = interpolate(image, **options)[0].permute(1, 2, 0).numpy()
        assert np.array_equal(np.array(found).reshape(*size, 3), expected)


@pytest.mark.slow
def test_legend_sliders_and_languages(page, segmented) -> None:
    found = segmented(page.get_by_role("button", name=try_page.TEXTS["en"]["street"]).click)
    labels = load_labels(try_page.MODELS["segformer-toy"])
    counts = np.bincount(found.labels.ravel(), minlength=labels.num_labels)
    names = {labels.short_names[label]: count for label, count in enumerate(counts) if count}
    expected = {name: f"{count / found.labels.size:.1%}" for name, count in names.items()}
    assert rows_of(page) == expected
    swatches = page.locator("#legend .swatch")
    painted = [one.evaluate("e => getComputedStyle(e).backgroundColor") for one in swatches.all()]
    colors = dict(zip(labels.short_names, labels.palette.tolist(), strict=True))
    assert painted == ["rgb({}, {}, {})".format(*colors[name]) for name in rows_of(page)]
    # Above the threshold, pixels have the palette's color, and none below it.
    slide(page, "confidence", 80)
    canvas = page.evaluate(
        """() => {
            const canvas = document.getElementById("colors");
            const context = canvas.getContext("2d");
            return Array.from(context.getImageData(0, 0, canvas.width, canvas.height).data);
        }"""
    )
    canvas, sure = np.array(canvas).reshape(*found.labels.shape, 4), found.confidences >= 0.8
    assert 0.1 < sure.mean() < 1
    assert np.array_equal(canvas[..., 3], np.where(sure, 255, 0))
    assert np.array_equal(canvas[sure, :3], labels.palette[found.labels[sure]])
    *_, below = rows_of(page).items()
    assert below == ("below the lowest confidence", f"{1 - sure.mean():.1%}")
    described = page.locator("#picture").get_attribute("aria-label")
    assert described.endswith(f"below the lowest confidence {1 - sure.mean():.1%}")
    slide(page, "opacity", 35)
    assert page.locator("#colors").evaluate("e => e.style.opacity") == "0.35"
    # Another language leaves all of that as it is.
    shares = [*rows_of(page).values()]
    for code in ("zh", "ja", "en"):
        texts = try_page.TEXTS[code]
        page.get_by_role("button", name=texts["self"]).click()
        assert page.locator("html").get_attribute("lang") == texts["tag"]
        assert page.url.endswith(f"?lang={code}")
        assert page.get_by_role("heading", level=1).inner_text() == texts["title"] == page.title()
        assert [*rows_of(page).values()] == shares
        sky = texts["classes"].get("sky", "sky")
        assert sky in page.get_by_role("img", name=texts["street"]).get_attribute("aria-label")
        assert page.get_by_label(texts["confidence"], exact=True).input_value() == "80"
        assert page.get_by_label(texts["opacity"]).input_value() == "35"
        screenshot(page, f"street_{code}")


@pytest.mark.slow
def test_a_file_that_is_no_image_is_named_and_leaves_the_result(page, segmented) -> None:
    segmented(page.get_by_role("button", name=try_page.TEXTS["en"]["avenue"]).click)
    caption = page.locator("#caption").inner_text()
    drop(page, "letter.txt", b"Dear reader")
    page.wait_for_function("() => document.getElementById('status').className === 'error'")
    assert status(page).startswith("letter.txt cannot be read as an image")
    assert page.locator("#caption").inner_text() == caption


@pytest.mark.slow
def test_the_keyboard_reaches_everything_and_narrow_screens_need_no_scrolling_aside(page) -> None:
    page.locator("#languages button").first.focus()
    reached = ["button"]
    while reached[-1] != "confidence":
        page.keyboard.press("Tab")
        reached.append(page.evaluate("() => document.activeElement.id || 'button'"))
        outline = "() => getComputedStyle(document.activeElement.closest('label') ?? "
        outline += "document.activeElement).outlineStyle"
        assert page.evaluate(outline) == "solid"
        assert len(reached) < 30
    buttons = len(try_page.TEXTS) + len(try_page.EXAMPLES)
    assert reached.count("button") == buttons
    assert [one for one in reached if one != "button"] == ["file", "model", "opacity", "confidence"]
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("() => document.documentElement.scrollWidth") == 400
    screenshot(page, "narrow")


@pytest.mark.slow
def test_nothing_leaves_the_browser(page, segmented, served, tmp_path: Path) -> None:
    file = tmp_path / "secret.png"
    Image.linear_gradient("L").convert("RGB").save(file)
    before = len(served[1])
    segmented(lambda: page.locator("#file").set_input_files(file))
    assert len(served[1]) == before  # the model is there already
    assert all(re.match(r"GET /course/try/[^?]* ", line) for line in served[1])


def screenshot(page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"try_{name}.png", full_page=True)
