"""How the HTML report looks: colours of both themes, kept apart so that a test can compute their contrast, and the rules."""

from __future__ import annotations

LIGHT = {
    "page": "#f4f6f8",
    "sheet": "#ffffff",
    "text": "#1a2027",
    "muted": "#525d69",
    "line": "#d3d9e0",
    "code": "#eef1f5",
    "focus": "#0a58ca",
    "ok": "#18733a",
    "ok-tint": "#e5f4ea",
    "doubtful": "#835300",
    "doubtful-tint": "#fdf1d3",
    "broken": "#b3261e",
    "broken-tint": "#fcebe9",
    "unknown": "#525d69",
    "unknown-tint": "#eef1f5",
}
DARK = {
    "page": "#0e1217",
    "sheet": "#161c23",
    "text": "#e7ebf0",
    "muted": "#a3afbb",
    "line": "#35404c",
    "code": "#0b0f14",
    "focus": "#7fb6ff",
    "ok": "#5bcb80",
    "ok-tint": "#13291c",
    "doubtful": "#e6b94a",
    "doubtful-tint": "#2f2710",
    "broken": "#ff9387",
    "broken-tint": "#381b18",
    "unknown": "#a3afbb",
    "unknown-tint": "#222a33",
}
# What is read on what: (letters, ground).
PAIRS = (
    *((ink, ground) for ink in ("text", "muted") for ground in ("page", "sheet", "code")),
    *(("text", f"{state}-tint") for state in ("ok", "doubtful", "broken", "unknown")),
    *(("muted", f"{state}-tint") for state in ("ok", "doubtful", "broken", "unknown")),
    *((state, f"{state}-tint") for state in ("ok", "doubtful", "broken", "unknown")),
    *((state, "sheet") for state in ("ok", "doubtful", "broken", "unknown", "focus")),
)
# Below this width the chain is drawn from top to bottom.
NARROW = 760

_RULES = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--text);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",
"Noto Sans CJK SC",sans-serif;overflow-wrap:anywhere}
main,header,footer{max-width:66rem;margin:0 auto;padding:0 1.25rem}
header{padding-top:1.75rem}
h1,h2,h3,p,ul,ol,pre,figure{margin:0}
h1{font-size:1.75rem;line-height:1.2;display:flex;gap:.6rem;align-items:center}
h2{font-size:1.15rem;margin-bottom:.75rem}
h3{font-size:1rem;line-height:1.4}
ul,ol{padding-left:1.25rem}
.brand{color:var(--muted);font-size:.875rem;margin-bottom:.75rem}
.lead{margin-top:.35rem;font-size:1.05rem}
.muted,.source{color:var(--muted)}
.source{font-size:.875rem}
section{background:var(--sheet);border:1px solid var(--line);border-radius:12px;padding:1.25rem;margin-top:1rem}
section>*+*{margin-top:.75rem}
section>h2+*{margin-top:0}
footer{color:var(--muted);font-size:.875rem;padding-top:1rem;padding-bottom:2rem}
footer p+p{margin-top:.35rem}
h1>.sign,h3>.sign,li>.sign{width:1.4em;height:1.4em;flex:none}
h1>.sign{width:1.1em;height:1.1em}
.ok{--ink:var(--ok);--tint:var(--ok-tint)}
.doubtful{--ink:var(--doubtful);--tint:var(--doubtful-tint)}
.broken{--ink:var(--broken);--tint:var(--broken-tint)}
.unknown,.absent{--ink:var(--unknown);--tint:var(--unknown-tint)}
.sign .disc{fill:var(--ink)}
.sign .mark{stroke:var(--sheet);stroke-width:2.2;fill:none;stroke-linecap:round;stroke-linejoin:round}
.sign .dot{fill:var(--sheet)}
.state{color:var(--ink);font-weight:600}
svg text{fill:var(--text);font-family:inherit}
.picture{display:block;width:100%;height:auto}
.picture.tall{display:none;max-width:26rem}
.picture .box{fill:var(--tint);stroke:var(--ink);stroke-width:1.5}
.picture .absent .box{stroke-dasharray:5 4}
.picture .name{font-weight:650}
.picture .word{fill:var(--ink);font-weight:600}
.picture .arrow{stroke:var(--muted);fill:none;stroke-width:1.75}
.picture .gap{stroke-dasharray:3 4}
.picture .head{fill:var(--muted)}
.links{list-style:none;padding:0}
.links li{display:grid;grid-template-columns:1.4em minmax(0,17rem) minmax(0,1fr);
gap:.15rem .6rem;padding:.5rem 0;border-top:1px solid var(--line)}
.links li:first-child{border-top:0}
a{color:var(--focus)}
.finding{border:1px solid var(--line);border-left:4px solid var(--ink);border-radius:8px;padding:.9rem 1rem}
.finding>*+*{margin-top:.6rem}
.finding h3{display:flex;gap:.6rem}
.finding .meta{color:var(--muted);font-size:.875rem;margin-top:.15rem}
.because{padding-left:1.1rem}
.remedy+.remedy{margin-top:.5rem}
pre{background:var(--code);border:1px solid var(--line);border-radius:6px;padding:.5rem .65rem;margin-top:.35rem;
white-space:pre-wrap;font:.875rem/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;
user-select:all;-webkit-user-select:all}
code{font:.875em ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
pre code{font:inherit}
details>summary{cursor:pointer;font-weight:600;border-radius:6px}
details>*+*{margin-top:.6rem}
section>details>summary h2{display:inline;margin:0}
:focus-visible{outline:3px solid var(--focus);outline-offset:2px}
table{width:100%;border-collapse:collapse;font-size:.9375rem}
th,td{text-align:left;vertical-align:top;padding:.4rem .75rem .4rem 0;border-top:1px solid var(--line)}
th{overflow-wrap:normal}
thead th{border-top:0;color:var(--muted);font-weight:600;font-size:.875rem}
tbody th{font-weight:600;white-space:nowrap}
.bar{display:block;width:100%;height:24px;border:1px solid var(--muted);border-radius:5px;margin:.4rem 0}
.bar .ground{fill:var(--sheet)}
.bar .others,.key .others{fill:var(--text)}
.bar .yours,.key .yours{fill:var(--focus)}
.bar .own,.key .own{fill:var(--muted)}
.bar .hatch{stroke:var(--sheet);stroke-width:2}
.key{display:flex;flex-wrap:wrap;gap:.25rem 1.1rem;list-style:none;padding:0;font-size:.875rem}
.key svg{width:1.6em;height:.95em;vertical-align:-.1em;margin-right:.4em}
.key .ground{fill:var(--sheet);stroke:var(--muted)}
.key .hatch{stroke:var(--sheet);stroke-width:2}
.card+.card{margin-top:1.25rem}
.group>h2{display:flex;gap:.6rem}
h2>.sign{width:1.4em;height:1.4em;flex:none}
caption{text-align:left;color:var(--muted);font-size:.875rem;padding-bottom:.5rem}
.scroll{overflow-x:auto}
.matrix{min-width:58rem;table-layout:fixed}
.matrix td,.matrix th{padding:.6rem .6rem .6rem 0}
.matrix tr>:first-child{position:sticky;left:0;background:var(--sheet);width:11rem}
.matrix tbody th,.values tbody th{white-space:normal;overflow-wrap:anywhere}
.values{table-layout:fixed}
.matrix p{margin:0}
.matrix .state{display:flex;gap:.35rem;align-items:center;overflow-wrap:normal}
.matrix caption span{display:inline-block;position:sticky;left:0;max-width:calc(100vw - 4.5rem)}
.matrix .sign{width:1.15em;height:1.15em;flex:none}
@media (max-width:NARROWpx){
h1{font-size:1.4rem}
main,header,footer{padding-left:.75rem;padding-right:.75rem}
section{padding:1rem .85rem}
.picture.wide{display:none}
.matrix tr>:first-child{width:7.5rem}
.links li{grid-template-columns:1.4em minmax(0,1fr)}
.links .why{grid-column:2}
.picture.tall{display:block}
}
@media print{:root{color-scheme:light}body{background:none}section{break-inside:avoid}}
"""


def css() -> str:
    """The style sheet: colours by theme, then the rules."""
    light = f":root{{color-scheme:light dark;{_colours(LIGHT)}}}"
    dark = f"@media screen and (prefers-color-scheme:dark){{:root{{{_colours(DARK)}}}}}"
    return f"{light}\n{dark}{_RULES.replace('NARROW', str(NARROW))}"


def _colours(theme: dict[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in theme.items())
