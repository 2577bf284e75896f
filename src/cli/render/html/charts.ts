import { type Html, html } from './markup.js';

export interface Bar {
  label: string;
  value: number;
  /** The value in words. */
  text: string;
  /** A part of the bar above it. */
  isPart?: boolean;
}

/** Bars within a table, which is also their text alternative. */
export function barTable(caption: string, bars: readonly Bar[], { label, value }: { label: string; value: string }): Html {
  const whole = bars.reduce((most, bar) => Math.max(most, bar.value), 0);
  return html`<table class="bars"><caption>${caption}</caption>
<thead><tr><th scope="col">${label}</th><th scope="col" class="n">${value}</th><td></td></tr></thead>
<tbody>${bars.map(
    (bar) => html`<tr${bar.isPart ? html` class="part"` : ''}><th scope="row">${bar.label}</th><td class="n">${bar.text}</td>
<td class="b">${barSvg(bar.value, whole)}</td></tr>
`,
  )}</tbody></table>
`;
}

function barSvg(value: number, whole: number): Html {
  const width = whole === 0 ? 0 : (100 * Math.max(0, value)) / whole;
  return html`<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" focusable="false"><rect class="track" width="100" height="10"/><rect class="fill" width="${round(width)}" height="10"/></svg>`;
}

export interface Point {
  x: number;
  y: number;
  title: string;
}

const [width, height, margin] = [600, 150, 8];

/** A line through points, from 0 upwards. */
export function lineChart(label: string, points: readonly Point[]): Html {
  const [least, most] = points.reduce(([low, high], { x }) => [Math.min(low, x), Math.max(high, x)], [Infinity, -Infinity]);
  const top = points.reduce((high, { y }) => Math.max(high, y), 0);
  const placed = points.map(({ x, y, title }, position) => ({
    // A clock that was set back may give all points the same time.
    x: round(margin + (width - 2 * margin) * (most > least ? (x - least) / (most - least) : position / Math.max(1, points.length - 1))),
    y: round(height - margin - (height - 2 * margin) * (top === 0 ? 0 : y / top)),
    title,
  }));
  return html`<svg class="line" viewBox="0 0 ${width} ${height}" role="img" aria-label="${label}">
<path class="axis" d="M${margin} ${margin}H${width - margin}M${margin} ${height - margin}H${width - margin}"/>
<polyline points="${placed.map(({ x, y }) => `${x},${y}`).join(' ')}"/>
${placed.map(({ x, y, title }) => html`<circle cx="${x}" cy="${y}" r="4"><title>${title}</title></circle>`)}</svg>
`;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
