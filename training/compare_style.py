"""How compare.html looks, on a phone, a wide screen and paper, by day and by night."""

from training import charts

DASHES = ("none", "7 3", "2 2.5", "10 3 2 3", "5 2")
N_COLOURS = 7


def style(n_methods: int, n_rules: int) -> str:
    """The style sheet of a page."""
    return charts.STYLE + _STYLE + _methods(n_methods) + _rules(n_rules)


def _methods(n: int) -> str:
    """Colour and dashes of each method: ink for the first; of 35 others no two are alike, neighbours differ in both."""
    baseline = ".m0{--c:var(--ink);--d:none}.lines .m0:not(.thin,.points){stroke-width:2.3}"
    return baseline + "".join(
        f".m{i}{{--c:var(--c{(i - 1) % N_COLOURS});--d:{DASHES[(i - 1) % len(DASHES)]}}}" for i in range(1, n)
    )


def _rules(n: int) -> str:
    """Figures of a rule are shown while it is chosen."""
    return "".join(f'[data-rule="{r}"] .by-rule:not(.r{r}){{display:none}}' for r in range(n))


# `--c0` to `--c6` are Okabe and Ito's colours, which colour-blind readers tell apart; on light paper some are darker,
# since graphics need a contrast of 3:1 with it.
_STYLE = """
/* Colours */
:root {
  color-scheme: light dark;
  --paper: #fff; --ink: #16191d; --muted: #565d66; --accent: #0a5ea8;
  --faint: #8b929c; --line: #e7e9ec; --axis: #a9afb8;
  --up: #d8f0e7; --up-ink: #00694c; --down: #fae3d3; --down-ink: #a04400;
  --c0: #0072b2; --c1: #c98600; --c2: #009e73; --c3: #d55e00; --c4: #2f9bdc; --c5: #b9629a; --c6: #8c7a00;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #14171a; --ink: #e8eaed; --muted: #a3abb5; --accent: #74b8f2;
    --faint: #7c848e; --line: #2a2f35; --axis: #59616b;
    --up: #10382d; --up-ink: #5fd3ae; --down: #44250f; --down-ink: #f3a26d;
    --c0: #4a9be0; --c1: #e69f00; --c2: #1fb98c; --c3: #ee7a2e; --c4: #86cdf7; --c5: #dd92bb; --c6: #f0e442;
  }
}

/* Words */
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: .75rem; max-width: 100rem; font: 15px/1.45 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); overflow-wrap: anywhere; font-variant-numeric: tabular-nums;
}
h1 { font-size: 1.5rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.15rem; margin: 0 0 .5rem; }
section { margin: 2rem 0 0; scroll-margin-top: 4.5rem; }
p { margin: .5rem 0; max-width: 52rem; }
.lead { font-size: 1.05rem; }
.note { color: var(--muted); font-size: .87rem; }
ul { margin: .5rem 0; padding: 0 0 0 1.2rem; }
.missing { border-left: 3px solid var(--down-ink); padding-left: .6rem; }
a { color: var(--accent); }
nav { display: flex; flex-wrap: wrap; gap: .1rem 1rem; font-size: .87rem; }
nav a { padding: .3rem 0; text-decoration: none; }
summary { cursor: pointer; }
small { color: var(--muted); }

/* Head and definitions */
.facts { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; margin: .8rem 0; }
.facts div { min-width: 0; }
dt { color: var(--muted); font-size: .8rem; }
dd { margin: 0; }
.classes ol {
  display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; list-style: none; padding: 0; margin: .4rem 0; font-size: .87rem;
  color: var(--muted);
}
.classes b { font-weight: 600; color: var(--ink); white-space: nowrap; }
.words { columns: 22rem auto; column-gap: 2rem; font-size: .87rem; }
.words div { break-inside: avoid; padding: .2rem 0; }

/* Table */
.scroll { overflow: auto; max-height: 85vh; border: 1px solid var(--line); border-width: 1px 0; }
table { border-collapse: separate; border-spacing: 0; font-size: .82rem; width: 100%; }
th, td { padding: .28rem .5rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { font-weight: 500; }
td i { font-style: normal; font-size: .6rem; vertical-align: .1em; }
thead th {
  position: sticky; top: 0; z-index: 2; background: var(--paper); vertical-align: bottom; padding: 0;
  border-bottom-color: var(--axis);
}
tr > th:first-child {
  position: sticky; left: 0; z-index: 1; text-align: left; background: var(--paper); white-space: normal;
  min-width: 8rem; max-width: 16rem; overflow-wrap: break-word;
}
thead tr > th:first-child { z-index: 3; }
tr.rule > th:first-child { max-width: none; padding-top: 1rem; color: var(--muted); }
tr.rule b { color: var(--ink); }
tr.rule span { position: sticky; left: .5rem; display: inline-block; max-width: min(40rem, calc(100vw - 3rem)); }
th button {
  all: unset; cursor: pointer; display: block; width: 100%; padding: .5rem; box-sizing: border-box; white-space: normal;
  min-width: 5.2rem; color: var(--accent);
}
th button:focus-visible { outline: 2px solid; }
[aria-sort=ascending] button::after { content: " ↑"; }
[aria-sort=descending] button::after { content: " ↓"; }
.up { background: var(--up); }
.down { background: var(--down); }
.up i { color: var(--up-ink); }
.down i { color: var(--down-ink); }
p .up, p .down { padding: 0 .3rem; white-space: nowrap; }

/* Figures and legends */
.off { display: none !important; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(21rem, 100%), 1fr)); gap: 1.2rem 1.5rem; }
.beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(21rem, 100%), 1fr)); gap: .5rem 1.5rem; }
figure { margin: 0; min-width: 0; break-inside: avoid; }
figcaption { font-size: .87rem; margin-bottom: .3rem; }
figcaption small { margin-left: .3rem; }
.key { width: 30px; height: 12px; margin-right: .4rem; vertical-align: -1px; flex: none; }
.key[viewBox="0 0 12 12"] { width: 12px; margin: 0; }
.legend {
  list-style: none; padding: 0; margin: .6rem 0; display: grid; gap: .1rem 1.2rem; font-size: .87rem;
  grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr)); align-content: start;
}
.legend li { display: flex; align-items: center; min-height: 1.6rem; }
.legend b { margin-left: auto; font-weight: 500; padding-left: .6rem; white-space: nowrap; }
.better { --c: var(--c2); }
.worse { --c: var(--c3); }
.even { --c: var(--faint); }

/* Controls */
.controls {
  position: sticky; top: 0; z-index: 5; background: var(--paper); border-bottom: 1px solid var(--axis); display: grid;
  grid-template-columns: 5.3rem 1fr 1.15fr; gap: .5rem; align-items: end; padding: .4rem 0 .5rem; margin-top: 2rem;
}
.controls > * { min-width: 0; font-size: .8rem; color: var(--muted); }
summary::marker { color: var(--muted); }
.methods summary { list-style: none; }
.methods summary::-webkit-details-marker { display: none; }
.methods summary span, select {
  height: 2.3rem; border: 1px solid var(--axis); border-radius: 6px; padding: 0 .4rem; background: var(--paper);
  color: var(--ink); font: inherit; font-size: .82rem; width: 100%; white-space: nowrap;
}
.methods summary span { display: flex; align-items: center; gap: .3em; }
select { text-overflow: ellipsis; }
.methods summary span::after { content: "▾"; margin-left: auto; }
.menu p { display: flex; flex-wrap: wrap; gap: .4rem; }
.menu button {
  font: inherit; padding: .35rem .6rem; border: 1px solid var(--axis); border-radius: 6px; cursor: pointer;
  color: var(--accent); background: var(--paper);
}
.boxes { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(13rem, 100%), 1fr)); gap: 0 1rem; }
.boxes label { display: flex; align-items: center; min-height: 2.2rem; font-size: .87rem; cursor: pointer; }
.boxes span, .legend span { min-width: 0; overflow-wrap: break-word; }
.boxes input { margin: 0 .5rem 0 .1rem; width: 1.1rem; height: 1.1rem; accent-color: var(--accent); flex: none; }
.menu {
  position: absolute; left: 0; right: 0; top: 100%; background: var(--paper); color: var(--ink);
  border-bottom: 1px solid var(--axis); max-height: 60vh; overflow: auto; padding: .2rem .1rem .6rem;
  box-shadow: 0 8px 14px -8px #0006;
}

/* Wide screens: the controls stand beside the figures */
@media (min-width: 64rem) {
  body { padding: 1rem 2rem; }
  section { scroll-margin-top: 1rem; }
  .explore { display: grid; grid-template-columns: 15rem minmax(0, 1fr); gap: 2.5rem; }
  .controls {
    align-self: start; max-height: 100vh; overflow: auto; grid-template-columns: 1fr; border: 0; padding: .6rem .2rem;
  }
  .field { order: -1; }
  .boxes label { min-height: 1.7rem; }
  .menu { position: static; max-height: none; overflow: visible; border: 0; box-shadow: none; }
}
@media (min-width: 75rem) {
  .scroll { overflow: visible; max-height: none; }
}

/* Paper */
@media print {
  html { font-size: 10.5px; }
  body { font-size: 1rem; }
  .controls, nav { display: none; }
  .explore { display: block; }
  .scroll { overflow: visible; max-height: none; }
  thead th, tr > th:first-child { position: static; }
  .up, .down { print-color-adjust: exact; }
  th, td { padding: .15rem .25rem; }
  th button { min-width: 0; padding: 0; }
}
"""
