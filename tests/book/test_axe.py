"""The browser's look at pages is shown broken ones and must complain; a sound page passes."""

import pytest

import axe
import chromium

try:
    chromium.find()
except chromium.ChromiumMissing as missing:
    pytest.skip(str(missing), allow_module_level=True)

SOUND = """<!doctype html><html lang="en"><head><title>Home</title>
<meta name="viewport" content="width=device-width, initial-scale=1"/></head>
<body><main><h1>Home</h1><p>Text.</p></main></body></html>"""
FAULTS = {
    "color-contrast": '<p style="color: #ccc; background: #fff">pale</p>',
    "button-name": "<button></button>",
    "image-alt": "<details><summary>More</summary><img src='data:,'/></details>",
    "console: broken script": "<script>console.error('broken script')</script>",
    "error: thrown": "<script>throw new Error('thrown')</script>",
    "request: http://127.0.0.1:9/x.js": "<script src='http://127.0.0.1:9/x.js'></script>",
    "px wider than the screen": '<p style="width: 900px">wide</p>',
}


def test_each_fault_is_seen_and_a_sound_page_passes(tmp_path):
    broken = SOUND.replace("</main>", "\n".join(FAULTS.values()) + "</main>")
    for name, text in {"broken": broken, "sound": SOUND}.items():
        (tmp_path / f"{name}.html").write_text(text)
    found = axe.complaints(tmp_path, [tmp_path / "broken.html", tmp_path / "sound.html"])
    assert all(line.startswith("broken.html") for line in found), found
    for complaint in FAULTS:
        assert any(complaint in line for line in found), (complaint, found)
    (wide,) = [line for line in found if "wider" in line]
    assert "phone" in wide and "desktop" not in wide


def test_what_all_pages_share_is_looked_at_once_in_every_window(tmp_path):
    frame = '<div class="bd-header"><button></button><p style="color: #ccc; background: #fff">pale</p></div>'
    pages = [tmp_path / f"{name}.html" for name in "abcd"]
    for page in pages:
        page.write_text(SOUND.replace("<main>", f"{frame}<main>"))
    found = axe.complaints(tmp_path, pages)
    first = [page.name for page in pages[: axe.BROWSERS]]
    for fault in ("button-name", "color-contrast"):
        seen = [line for line in found if f": {fault}" in line]
        assert [line.split()[0] for line in seen] == first, (fault, found)
        assert all(str(window) in line for line in seen for window in axe.WINDOWS), seen


def test_an_allowance_hides_its_fault_and_is_missed_when_not_needed(tmp_path, monkeypatch):
    (tmp_path / "index.html").write_text(SOUND.replace("</main>", "<button></button></main>"))
    (tmp_path / "search.html").write_text(SOUND)
    monkeypatch.setattr(axe, "ALLOWED", {("button-name", "<button>"): "a test", ("region", "<hr>"): "not needed"})
    found = axe.complaints(tmp_path)
    assert not any("button-name" in line for line in found)
    assert "allowed and not needed any more: region, <hr>" in found
    assert "search.html: finds nothing for 'calibration'" in found


def test_a_folder_without_pages_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no page"):
        axe.complaints(tmp_path)
