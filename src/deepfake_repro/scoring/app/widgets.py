"""The upload door as a widget: choose a detector, upload a video, read its page.

The uploaded file lies in a temporary folder while it is scored and is deleted before the page is
shown. Nothing is sent anywhere.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ipywidgets
import numpy as np
from safetensors import SafetensorError

from ...crops.isolation import ProgramError
from ...detectors.scorers import Scores
from ...project.params import root
from ..inputs import printable
from ..model import Model, read_model
from ..page import iframe, video_page
from ..score import Scored, score_videos
from .choice import LIMIT, find_detectors

NOTICE = """
<style>
.door, .door p, .door li { font-size: 15px; line-height: 1.45; white-space: normal; }
.door { max-width: 900px; overflow-wrap: anywhere; }
.door ul { margin: .3em 0; padding-left: 1.3em; }
.door a { color: #00538a; text-decoration: underline; }
.door progress { width: 12em; vertical-align: middle; }
.door-page iframe { box-sizing: border-box; }
</style>
<div class="door">
<p><strong>Before you upload a face</strong></p>
<ul>
<li>Use your own face, or that of somebody who has agreed to exactly this.</li>
<li>Nothing leaves this machine. The upload is deleted as soon as it is scored; the page disappears
when you close it. A page that you save shows every face of the clip: delete it yourself.</li>
<li>A score is not a verdict. Never tell or write that a real person's video is fake because of
it.</li>
</ul>
</div>
"""
WITHOUT_KERNEL = "An upload button is here while a kernel runs."


class Door(ipywidgets.VBox):
    """A button for one video at a time, the choice of a detector, and the page of the result.

    ``detectors``: folder by label; ``scratch``: an existing folder for the upload.
    """

    def __init__(self, detectors: Mapping[str, Path], scratch: Path) -> None:
        self._folders = dict(detectors)
        self._scratch = scratch
        self._models: dict[str, Model] = {}
        wide = ipywidgets.Layout(width="100%", max_width="900px")
        self._choice = ipywidgets.Dropdown(
            options=list(detectors), description="Detector", layout=wide
        )
        self._upload = ipywidgets.FileUpload(
            accept="video/*,image/*",
            icon="",
            description="Upload a video or a picture",
            layout=ipywidgets.Layout(width="auto", max_width="300px", margin="8px 2px"),
        )
        self._status = ipywidgets.HTML()
        self._page = ipywidgets.HTML(layout=wide)
        self._page.add_class("door-page")
        self._upload.observe(self._uploaded, "value")
        self._say(f"Up to {LIMIT >> 20} MB.")
        notice = ipywidgets.HTML(NOTICE)
        super().__init__([notice, self._choice, self._upload, self._status, self._page])

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """Show the widget; where no kernel runs (book, nbviewer), a line instead."""
        return {**super()._repr_mimebundle_(**options), "text/plain": WITHOUT_KERNEL}

    def _uploaded(self, change: Mapping[str, Any]) -> None:
        if not change["new"]:
            return  # emptied below
        (file,) = change["new"]
        self._upload.disabled = True
        self._page.value = ""
        try:
            self._score(safe_name(file["name"]), file["size"], file["content"])
        except (ValueError, OSError, ProgramError) as error:
            self._say(printable(str(error)))
        finally:
            self._upload.value = ()
            self._upload.disabled = False

    def _score(self, name: str, size: int, content: bytes) -> None:
        """Score an upload and show its page, or the reason why there is none."""
        if size > LIMIT:
            raise ValueError(
                f"{name}: has {size >> 20} MB, more than the {LIMIT >> 20} MB allowed here; "
                f"use deepfake-repro score"
            )
        self._say("The detector is being loaded", busy=True)
        model = self._model()
        self._say(f"{name}: faces are being searched", busy=True)
        with TemporaryDirectory(prefix="upload-", dir=self._scratch) as folder:
            path = Path(folder, name)
            path.write_bytes(content)
            (scored,) = score_videos([path], self._watched(model, name), scratch=Path(folder))
            page = video_page(scored, model)
        if scored.p_fake is None:
            self._say(f"{name}: {scored.verdict}")
        else:
            self._show(scored, page)

    def _model(self) -> Model:
        label = self._choice.value
        if label not in self._models:
            try:
                self._models[label] = read_model(self._folders[label])
            except SafetensorError as error:
                raise ValueError(f"{label}: its model.safetensors is damaged ({error})") from None
        return self._models[label]

    def _watched(self, model: Model, name: str) -> Model:
        """Return the model with a scorer that reports the number of faces scored."""
        faces = 0

        def scorer(crops: Sequence[np.ndarray]) -> Scores:
            nonlocal faces
            scores = model.scorer(crops)
            faces += len(crops)
            self._say(f"{name}: {faces} faces scored", busy=True)
            return scores

        return replace(model, scorer_of_others=scorer)

    def _show(self, scored: Scored, page: str) -> None:
        address = f"data:text/html;base64,{b64encode(page.encode()).decode()}"
        self._say(
            f"{scored.name} is scored, the upload is deleted.",
            f'<a download="{scored.slug}.html" href="{address}">Save this page</a>',
        )
        self._page.value = iframe(page)

    def _say(self, text: str, link: str = "", busy: bool = False) -> None:
        """Show one line below the button; ``link``: HTML after it."""
        bar = "<progress></progress> " if busy else ""
        self._status.value = f'<p class="door" role="status">{bar}{escape(text)} {link}</p>'


def safe_name(name: str) -> str:
    """Return a file name that stays in its folder, from what a browser says."""
    last = printable(name.replace("\\", "/").rpartition("/")[2]).lstrip(".")
    return last[-100:] or "video"


def application(named: Iterable[str | Path]) -> Door:
    """Return the door of the application, which runs in its own folder of the repository.

    ``named``: detectors as for ``find_detectors``.
    """
    return Door(find_detectors(root(), map(Path, named)), Path.cwd())
