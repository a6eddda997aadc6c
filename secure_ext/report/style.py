# SPDX-License-Identifier: Apache-2.0
"""The page's style sheet. It holds no ``&``, ``<`` or ``>``: the page writes it like any other text, escaped."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #1d2430; --quiet: #566070; --line: #d5dae2; --panel: #f4f6f9; --link: #0b57b0;
  --safe-ink: #135c36; --safe: #dff3e7; --final-ink: #8f1d1d; --final: #fbe4e2; --note-ink: #6a4a00; --note: #fbeecb;
  --signed-encrypted: #14705f; --encrypted: #2d66c4; --signed: #8d55b8; --plain: #c97a1c; --over: #c22828;
  --room: #ffffff; --room-encrypted: #d8e5fa; --unused: #e9ecf1; --edge: #4d5767;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #14181f; --ink: #e4e8ee; --quiet: #a3adbb; --line: #343c49; --panel: #1d232d; --link: #8cbcff;
    --safe-ink: #9be0b8; --safe: #163524; --final-ink: #ffb4ab; --final: #45201f; --note-ink: #f2cf7a; --note: #3a2f10;
    --signed-encrypted: #3fae97; --encrypted: #5c92ec; --signed: #b58ade; --plain: #e0993d; --over: #f06a6a;
    --room: #14181f; --room-encrypted: #22375c; --unused: #262d38; --edge: #98a3b3;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; max-width: 58rem; padding: 2.5rem 1.25rem 5rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", Arial, sans-serif;
  overflow-wrap: break-word;
}
p, ul, ol, dl { margin: 0 0 0.9rem; }
ul, ol { padding-left: 1.5rem; }
li { margin-bottom: 0.35rem; }
p, li, dd { max-width: 44rem; }
h1, h2, h3, h4 { line-height: 1.25; margin: 0; text-wrap: balance; }
h1 { font-size: 2rem; letter-spacing: -0.01em; margin-bottom: 0.6rem; }
h2 { font-size: 1.4rem; margin-bottom: 0.8rem; scroll-margin-top: 1rem; }
h3 { font-size: 1.08rem; margin: 1.6rem 0 0.6rem; }
h4 { font-size: 0.95rem; margin: 1.2rem 0 0.5rem; color: var(--quiet); }
section { border-top: 1px solid var(--line); margin-top: 2.6rem; padding-top: 1.8rem; }
a { color: var(--link); text-underline-offset: 0.15em; }
a:focus-visible { outline: 3px solid var(--link); outline-offset: 3px; border-radius: 2px; }
code { font: 0.88em/1.4 ui-monospace, "SF Mono", Consolas, "Liberation Mono", monospace; }
h1, figcaption, .hashes td, .block dd, .source, .finding { overflow-wrap: anywhere; }
.cards code, .cards:not(.prose) td:nth-child(4) { white-space: nowrap; }
.command { display: inline-block; max-width: 100%; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: 1rem; background: var(--paper); padding: 0.4rem 0.8rem; }
.kind { color: var(--quiet); margin-bottom: 0.2rem; }
nav ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 0.3rem 1.3rem; margin: 1.4rem 0 0; }
nav a { display: inline-block; padding: 0.3rem 0; }
.badge {
  display: inline-block; padding: 0.05rem 0.6rem; border-radius: 1rem; font-size: 0.84rem; font-weight: 600;
  line-height: 1.6; print-color-adjust: exact; -webkit-print-color-adjust: exact;
}
.badge.safe { background: var(--safe); color: var(--safe-ink); }
.badge.final { background: var(--final); color: var(--final-ink); }
.badge.note { background: var(--note); color: var(--note-ink); }
h3 .badge { margin-left: 0.3rem; vertical-align: 0.1em; }
.key-fact { border-left: 4px solid var(--final-ink); padding: 0.1rem 0 0.1rem 1rem; }
.doors { background: var(--note); color: var(--note-ink); padding: 0.9rem 1.1rem; border-radius: 0.5rem; }
.doors p, .doors ul { margin: 0 0 0.3rem; }
.stages li { margin-bottom: 0.7rem; padding-left: 0.3rem; }
.stages p { margin: 0.2rem 0 0; }
.legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 0.3rem 1.6rem; font-size: 0.9rem; }
.legend li { display: flex; gap: 0.5rem; margin: 0; }
.swatch {
  flex: none; width: 1rem; height: 1rem; margin-top: 0.22rem;
  border: 1px solid var(--edge); print-color-adjust: exact; -webkit-print-color-adjust: exact;
}
.maps { display: flex; flex-wrap: wrap; gap: 1.4rem 2.4rem; align-items: flex-start; margin: 1.4rem 0; }
figure { margin: 0; max-width: 100%; break-inside: avoid; }
figcaption { font-weight: 600; margin-bottom: 0.4rem; }
figure svg { display: block; max-width: 100%; height: auto; overflow: hidden; }
svg text { font-size: 13px; fill: var(--ink); }
svg .address { font-family: ui-monospace, "SF Mono", Consolas, "Liberation Mono", monospace; font-size: 12px; }
svg .address { fill: var(--quiet); }
svg .name { font-weight: 600; }
.hatching { stroke: var(--edge); stroke-width: 1; opacity: 0.3; }
.end { stroke: var(--edge); stroke-width: 1; }
.bracket { fill: none; stroke: var(--edge); stroke-width: 1.5; }
.leader { fill: none; stroke: var(--quiet); stroke-width: 1; opacity: 0.65; }
rect { stroke: var(--edge); stroke-width: 1; vector-effect: non-scaling-stroke; }
rect.image { stroke: none; }
rect.signed-encrypted { fill: var(--signed-encrypted); }
rect.encrypted { fill: var(--encrypted); }
rect.signed { fill: var(--signed); }
rect.plain { fill: var(--plain); }
rect.overhang { fill: var(--over); }
rect.room { fill: var(--room); }
rect.room-encrypted { fill: var(--room-encrypted); }
rect.unused { fill: var(--unused); }
.swatch.signed-encrypted { background: var(--signed-encrypted); }
.swatch.encrypted { background: var(--encrypted); }
.swatch.signed { background: var(--signed); }
.swatch.plain { background: var(--plain); }
.swatch.overhang { background: var(--over); }
.swatch.room {
  background-color: var(--room);
  background-image: repeating-linear-gradient(-45deg, var(--line) 0 1px, transparent 1px 4px);
}
.swatch.room-encrypted { background: var(--room-encrypted); }
.swatch.unused { background: var(--unused); }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem; line-height: 1.45; margin: 1.2rem 0; }
caption { text-align: left; font-weight: 600; padding-bottom: 0.5rem; }
th, td { text-align: left; vertical-align: top; padding: 0.5rem 0.9rem 0.5rem 0; }
th, td { border-bottom: 1px solid var(--line); }
thead th { color: var(--quiet); font-weight: 600; font-size: 0.85rem; }
.hashes thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
.hashes, .hashes tbody, .hashes tr, .hashes th, .hashes td, .hashes caption { display: block; }
.hashes tr { padding: 0.6rem 0; border-bottom: 1px solid var(--line); }
.hashes th { padding: 0; border: 0; }
.hashes td { display: grid; align-items: baseline; grid-template-columns: 8.5rem 1fr; padding: 0.1rem 0; border: 0; }
td::before { color: var(--quiet); }
.hashes td::before { content: attr(data-head); }
.blocks { list-style: none; padding: 0; display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); align-items: start;
}
.block { border: 1px solid var(--line); border-radius: 0.5rem; padding: 1rem 1.1rem; break-inside: avoid; }
.block { background: var(--panel); }
.block.empty { grid-column: 1 / -1; padding: 0.6rem 1.1rem; }
.block.empty { background: none; border-style: dashed; color: var(--quiet); }
.block.empty p { margin: 0; }
.block h3 { margin: 0 0 0.5rem; }
.block p { margin: 0 0 0.4rem; }
.block dd code { font-size: 0.73rem; }
.block { margin: 0; }
.block dl { margin: 0.6rem 0 0; font-size: 0.92rem; }
.block dl div { margin-bottom: 0.35rem; }
.block div + div { border-top: 1px solid var(--line); margin-top: 0.8rem; padding-top: 0.8rem; }
.block dl div + div { border: 0; margin-top: 0; padding-top: 0; }
.block dt { color: var(--quiet); font-size: 0.86rem; }
dd { margin: 0; }
.lock { vertical-align: -0.1rem; margin-right: 0.4rem; }
.lock .shackle { fill: none; stroke: var(--ink); stroke-width: 1.5; }
.lock .body { fill: var(--ink); }
.stage ol { padding-left: 2rem; }
.step { margin-bottom: 0.8rem; break-inside: avoid; }
.step p { margin: 0; }
.source { color: var(--quiet); font-size: 0.92rem; }
.findings { list-style: none; padding: 0; }
.finding { margin-bottom: 1.1rem; break-inside: avoid; }
.finding p { margin: 0 0 0.2rem; }
.log li { margin: 0; max-width: none; }
.log { font: 0.86rem/1.55 ui-monospace, "SF Mono", Consolas, "Liberation Mono", monospace; padding-left: 2.2rem; }
.glossary div { display: grid; grid-template-columns: 9.5rem 1fr; gap: 0 1rem; padding: 0.3rem 0; break-inside: avoid; }
.glossary dt { font-weight: 600; }
@media screen and (max-width: 40rem) {
  body { padding: 1.5rem 1.1rem 3rem; }
  h1 { font-size: 1.6rem; }
  .cards thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
  .cards, .cards tbody, .cards tr, .cards th, .cards td, .cards caption { display: block; }
  .cards tr { padding: 0.6rem 0; border-bottom: 1px solid var(--line); }
  .cards th { padding: 0; border: 0; }
  .cards td { display: grid; align-items: baseline; grid-template-columns: 8.5rem 1fr; padding: 0.1rem 0; border: 0; }
  .cards td::before { content: attr(data-head); }
  .hashes td { grid-template-columns: 6.5rem 1fr; }
  .glossary div { grid-template-columns: 1fr; }
}
@media print {
  @page { margin: 16mm; }
  body { max-width: none; padding: 0; font-size: 10.5pt; line-height: 1.45; }
  nav, .skip { display: none; }
  section { margin-top: 1.4rem; padding-top: 1rem; }
  h2, h3, h4 { break-after: avoid; }
  tr, .stages li, .doors { break-inside: avoid; }
  .blocks { grid-template-columns: repeat(3, 1fr); }
  .maps { gap: 1rem 5%; }
  figure { width: 47%; }
  figcaption { font-size: 9pt; }
  a { color: inherit; }
}
"""
