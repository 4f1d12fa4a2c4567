"""What a reader can choose on compare.html: the controls, the script that obeys them, and the data it draws from."""

import base64
import hashlib
import json
from collections.abc import Iterable
from html import escape
from typing import Any

import numpy as np

from training.compare_curves import FPR, RECALL, mean_chance
from training.compare_view import BEST, View, area

SCRIPT = """"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const all = (query, root = document) => [...root.querySelectorAll(query)];
const boxes = all(".methods input"), rule = document.getElementById("rule"), of = document.getElementById("class");

function show() {
  for (const box of boxes) for (const e of all(`.charts .m${box.value}`)) e.classList.toggle("off", !box.checked);
  document.getElementById("shown").textContent = boxes.filter(box => box.checked).length;
}

function pick(which) {
  const best = data.best[rule.value];
  for (const box of boxes) box.checked = which === "all" || (which === "best" && best.includes(+box.value));
  show();
}

function draw() {
  for (const svg of all("svg[data-curve]")) {
    const [left, top, width, height] = svg.dataset.box.split(" ").map(Number), high = +svg.dataset.high;
    const {x, y} = data[svg.dataset.curve], down = v => (top + height * (1 - v / 1000)).toFixed(1);
    boxes.forEach((_, m) => {
      const points = y[of.value][m].map((v, j) => [x[j], v]).filter(([at]) => at <= high)
        .map(([at, v]) => `${(left + width * at / high).toFixed(1)} ${down(v)}`);
      svg.querySelector(`.lines .m${m}`).setAttribute("d", points.length ? "M" + points.join(" ") : "");
    });
    svg.querySelector(".chance")?.setAttribute("d", `M${left} ${down(data.chance[of.value])}h${width}`);
  }
  for (const legend of all("[data-area]")) boxes.forEach((_, m) => {
    const item = legend.querySelector(`.m${m}`), area = data[legend.dataset.area].area[of.value][m];
    item.querySelector("b").textContent = area;
    item.style.order = -Math.round(1e4 * parseFloat(area)) || 0;
  });
  for (const e of all(".of")) e.textContent = of.selectedOptions[0].textContent;
}

function sort(head) {
  const table = head.closest("table"), column = head.cellIndex, was = head.getAttribute("aria-sort");
  const up = was === "none" ? head.dataset.falling === "1" : was === "descending";
  for (const other of head.parentNode.cells) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const value = row => parseFloat(row.cells[column].dataset.v ?? (up ? "Infinity" : "-Infinity"));
  for (const body of table.tBodies)
    body.append(...[...body.rows].slice(1).sort((a, b) => up ? value(a) - value(b) || 0 : value(b) - value(a) || 0));
}

const hot = document.head.appendChild(document.createElement("style"));
document.addEventListener("pointerover", event => {
  const near = event.target.closest?.(".legend li, .shared .lines path, .shared .dots > g");
  const key = near && [...near.classList].find(name => /^m\\d+$/.test(name));
  hot.textContent = key ? `.shared :is(.lines path, .dots > g):not(.${key}, .reference) { opacity: .13; }` : "";
});
for (const box of boxes) box.addEventListener("change", show);
for (const button of all("[data-pick]")) button.addEventListener("click", () => pick(button.dataset.pick));
for (const button of all("th button")) button.addEventListener("click", () => sort(button.parentNode));
rule.addEventListener("change", () => { document.querySelector(".explore").dataset.rule = rule.value; });
of.addEventListener("change", draw);
if (matchMedia("(min-width: 64rem)").matches) document.querySelector(".methods").open = true;
"""


def content_policy() -> str:
    """Only the script above may run, whatever else should ever get into the page."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    return (f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; "
            "base-uri 'none'; form-action 'none'")  # fmt: skip


def controls(view: View) -> str:
    """Which methods the charts show, under which rule, and curves of which class."""
    boxes = "".join(
        f'<label class="m{i}"><input type="checkbox" value="{i}"{" checked" * (i in view.first)}>{view.legend(i)}'
        "</label>"
        for i in range(len(view.methods))
    )
    rules = "".join(f'<option value="{r}">{rule}</option>' for r, rule in enumerate(view.rules))
    classes = "".join(f'<option value="{i}">{escape(view.comparison.classes[k])}</option>'
                      for i, k in enumerate(view.kept, start=1))  # fmt: skip
    return (
        f'<details class="methods"><summary>Methods<span><b id="shown">{len(view.first)}</b> of {len(view.methods)}'
        '</span></summary><div class="menu"><p><button data-pick="all">all</button>'
        f'<button data-pick="none">none</button><button data-pick="best">baseline and the best {BEST}</button></p>'
        f'<div class="boxes">{boxes}</div></div></details>'
        f'<label class="field">Rule<select id="rule">{rules}</select></label>'
        f'<label class="field">ROC, PR of<select id="class"><option value="0">mean over classes</option>{classes}'
        "</select></label>"
    )


def data(view: View) -> str:
    """What the script draws other curves from, as JSON that may stand in a script element: no text in it can end that.

    Whole thousandths, by class (0 is the mean), then by method.
    """
    rows = [0, *(k + 1 for k in view.kept)]
    curves = [view.curves[m] for m in view.methods]
    held: dict[str, Any] = {
        "best": [[view.methods.index(m) for m in view.initial(rule)] for rule in view.rules],
        "chance": _thousandths([mean_chance(view.mix), *view.mix[view.kept]]),
        "roc": {"x": FPR.round(4).tolist(), "y": [[_thousandths(c.roc[r]) for c in curves] for r in rows],
                "area": [[area(c.auc[:, r]) for c in curves] for r in rows]},
        "pr": {"x": RECALL.round(4).tolist(), "y": [[_thousandths(c.precision[r]) for c in curves] for r in rows],
               "area": [[area(c.average_precision[:, r]) for c in curves] for r in rows]},
    }  # fmt: skip
    return json.dumps(held, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _thousandths(values: Iterable[float]) -> list[int]:
    """Nothing where a curve is undefined."""
    x = np.array(list(values))
    return [] if np.isnan(x).any() else np.round(1000 * x).astype(int).tolist()
