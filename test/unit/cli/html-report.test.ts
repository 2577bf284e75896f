import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { html } from '../../../src/cli/render/html/markup.js';
import { renderReportPage } from '../../../src/cli/render/html/page.js';
import { driftLevel, driftLevelLimits } from '../../../src/core/fleet/drift-levels.js';
import { countIndexes } from '../../../src/core/fleet/history.js';
import { escapeHtml } from '../../../src/core/quoting.js';
import { type PageOptions, reportPageOf } from '../../support/report-page.js';

const template = (name: string): string => readFileSync(new URL(`../../../templates/report/${name}`, import.meta.url), 'utf8');
const parts = { style: template('style.css'), script: template('script.js') };
const pageOf = (options?: PageOptions): string => renderReportPage(reportPageOf(options), parts);

/** Elements of HTML that have no end tag. */
const empty = new Set(['meta', 'input']);

/** Throws unless every element is closed in order. @returns names of all elements, outside style and script */
function elementsOf(page: string): string[] {
  const markup = page.replace(/<!--[\s\S]*?-->/g, '').replace(/<(style|script)>[\s\S]*?<\/\1>/g, '<$1></$1>');
  const open: string[] = [];
  const names: string[] = [];
  const rest = markup.replace(/<(\/?)([a-z][a-z0-9]*)((?: [a-zA-Z-]+(?:="[^"<>]*")?)*)(\/?)>/g, (_, end, name, _attributes, closed) => {
    if (end === '/') {
      if (open.pop() !== name) throw new Error(`</${name}> closes another element`);
    } else {
      names.push(name);
      if (closed === '' && !empty.has(name)) open.push(name);
    }
    return '';
  });
  if (open.length > 0) throw new Error(`not closed: ${open.join(', ')}`);
  if (/[<>]/.test(rest.replace(/^<!DOCTYPE html>/, ''))) throw new Error('a character of markup that is not escaped');
  return names;
}

describe('the page of a report', () => {
  it('is well-formed, loads nothing, and allows only its own script', () => {
    const page = pageOf({ fleets: { lab: 12, web: 3 } });
    const names = elementsOf(page);
    expect(names.filter((name) => ['link', 'img', 'iframe', 'object', 'base', 'form'].includes(name))).toEqual([]);
    expect(names.filter((name) => name === 'script')).toHaveLength(1);
    expect(page).not.toMatch(/\b(src|href)="(?!#)|url\(|@import|https?:/);
    const [, script = ''] = /<script>([\s\S]*?)<\/script>/.exec(page) ?? [];
    const [, policy = ''] = /Content-Security-Policy" content="([^"]*)"/.exec(page) ?? [];
    expect(policy.replaceAll('&#39;', "'")).toBe(
      `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${createHash('sha256').update(script).digest('base64')}'; img-src data:; base-uri 'none'; form-action 'none'`,
    );
    // Attributes that the policy would refuse.
    expect(page).not.toMatch(/<[^>]* (on[a-z]+|style)=/);
  });

  it('has every link, and a name for every cell of the heat map', () => {
    const page = pageOf({ fleets: { lab: 12 } });
    for (const [, id] of page.matchAll(/href="#([^"]*)"/g)) expect(page).toContain(` id="${id}"`);
    const cells = [...page.matchAll(/role="img" class="c [^"]*" title="([^"]+)" aria-label="([^"]+)">(.)</g)];
    expect(cells).toHaveLength(12);
    for (const [, title, label, digit] of cells) {
      expect(label).toBe(title);
      expect(label).toMatch(/^lab-\d{3}: \d/);
      expect(digit).toMatch(/[0-5]/);
    }
  });

  it('shows totals, members, base images and history', () => {
    const page = pageOf({ fleets: { lab: 12 } });
    expect(page).toContain('<tr><th scope="row">Full copies</th><td class="n">4.1 GiB</td>');
    expect(page).toContain('<td>lab</td><th scope="row">lab-001</th><td>running</td>');
    expect(page).toContain('<li>2 outdated members of lab: 5,10</li>');
    expect(page).toContain('<li>Promoted 2026-11-26 08:20:00 UTC from lab-003, which was on golden@ab12ab12ab12; layered</li>');
    expect(page).toContain(
      '<td>2026-11-26 08:20:00 UTC</td><td>reset</td><td class="n">12</td><td>1 NOT_READY</td><td class="n">60 s</td>',
    );
    expect(page).toContain('aria-label="lab. Disk use of the overlays: from 12 MiB');
  });

  it('of 1,000 members is smaller than 1 MB, and takes time in proportion', { timeout: 30_000 }, () => {
    const timed = (count: number): { milliseconds: number; size: number } => {
      const data = reportPageOf({ fleets: { lab: count } });
      const began = performance.now();
      const size = Buffer.byteLength(renderReportPage(data, parts));
      return { milliseconds: performance.now() - began, size };
    };
    timed(1_000);
    const [one, ten] = [timed(1_000), timed(10_000)];
    expect(one.size).toBeLessThan(1_000_000);
    expect(one.milliseconds).toBeLessThan(2_000);
    expect(ten.size).toBeLessThan(11 * one.size);
    expect(ten.milliseconds).toBeLessThan(2_000 + 30 * one.milliseconds);
  });

  it.each<Record<string, number>>([{}, { lab: 0 }])('of a store without members says so: %o', (fleets) => {
    const page = pageOf({ fleets });
    elementsOf(page);
    expect(page).toContain('There are no members.');
    expect(page).toContain('No member is running');
    expect(page.replace(/<script>[\s\S]*?<\/script>/, '')).not.toMatch(/NaN|Infinity|undefined|null/);
  });

  it('shows a broken member with its problems, beside the others', () => {
    const problems = ['the overlay is missing', 'no domain'];
    const data = reportPageOf({
      fleets: { lab: 3 },
      members: { 'lab-002': { state: 'broken', reason: 'no domain', problems, memory: null } },
    });
    const [fleet] = data.report.fleets;
    if (fleet !== undefined) fleet.perMember = fleet.perMember.filter(({ name }) => name !== 'lab-002');
    const page = renderReportPage(data, parts);
    elementsOf(page);
    expect(page).toContain(
      '<tr class="bad"><td>lab</td><th scope="row">lab-002</th><td>broken (no domain)</td><td class="n" data-v="">-</td><td class="n" data-v="">-</td><td class="n" data-v="">-</td><td>golden@ab12ab12ab12</td><td>the overlay is missing; no domain</td></tr>',
    );
    expect(page).toContain('aria-label="lab-002: drift unknown, broken (no domain)">!<');
    expect(page).toContain('Of 2 of 2 running members');
  });

  it('without libvirt shows what the files say', () => {
    const page = renderReportPage({ ...reportPageOf({ fleets: { lab: 3 } }), statuses: [], bases: new Map() }, parts);
    elementsOf(page);
    expect(page).toContain('<td>lab</td><th scope="row">lab-001</th><td>unknown</td>');
    expect(page).toContain('The use of memory is not known.');
  });
});

const hostile = [
  '<script>alert(1)</script>',
  '</script><script>alert(1)//',
  '</style><img src=x onerror=alert(1)>',
  '--><svg/onload=alert(1)>',
  `" onmouseover="alert(1)" x='`,
  "' onfocus='alert(1)",
  `\`\${alert(1)}\`{{constructor}}&lt;b&gt;&#60;i>`,
  'a\u2028b\u2029c',
  'nul\0 bell\u0007 escape\u001b[31m delete\u007f c1\u009b',
  'bidi \u202e\u2066\u200f\u061c end',
  '\ud800 lone, \u{1f404} pair',
];

describe('text from guests, files and tools', () => {
  it.each(hostile)('%j changes no markup', (text) => {
    const [tame, wild] = [pageOf({ text: 'tame' }), pageOf({ text })];
    expect(elementsOf(wild)).toEqual(elementsOf(tame));
    const names = (page: string): string[] => [...page.matchAll(/ ([a-z-]+)="/g)].map(([, name = '']) => name);
    expect(names(wild)).toEqual(names(tame));
    expect(wild).not.toMatch(/[\u2028\u2029]|(?!\n)\p{Cc}|\p{Bidi_Control}/u);
    // It is still shown.
    expect(wild).toContain(escapeHtml(text));
  });

  it('is escaped once', () => {
    expect(escapeHtml(`<a href="x" id='y'>&amp;`)).toBe('&#60;a href=&#34;x&#34; id=&#39;y&#39;&#62;&#38;amp;');
    expect(escapeHtml('\u202e\u001b')).toBe('\\u202e\\x1b');
    const inner = html`<b>${'<'}</b>`;
    expect(html`${[inner, '&']}${null}${undefined}${0}`.text).toBe('<b>&#60;</b>&#38;0');
  });
});

describe('levels of drift', () => {
  it('grow by one factor up to the largest drift', () => {
    expect(driftLevelLimits([]).map((limit) => limit / 65_536)).toEqual([1, 2, 4, 8, 16]);
    const limits = driftLevelLimits([10, 2 ** 30]);
    expect(limits.map((limit) => limit / 65_536)).toEqual([1, 8, 64, 512, 4096]);
    expect([0, 65_535, 65_536, 600_000, 2 ** 30].map((drift) => driftLevel(limits, drift))).toEqual([0, 0, 1, 2, 5]);
  });
});

it.each([
  ['', 0],
  ['7', 1],
  ['1-3,7', 4],
  ['9-1', 0],
  ['1-9999999', 9_999_999],
])('counts the indexes in %j', (text, count) => expect(countIndexes(text)).toBe(count));
