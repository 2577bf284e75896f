import { describe, expect, it } from 'vitest';
import { compileTemplate } from '../../../../src/core/domain/template.js';
import { CowherdError } from '../../../../src/core/errors.js';

const context = {
  name: 'lab-001',
  macs: Array(16).fill('m'),
  vars: Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`v${n}`, n])),
};

function render(source: string): string {
  return compileTemplate(source, { origin: 'x.hbs', escape: 'xml', ejectCommand: 'cowherd template eject' })(context);
}

/** Why it is refused. */
function refusal(source: string): string {
  const began = performance.now();
  try {
    render(source);
  } catch (error) {
    if (!(error instanceof CowherdError)) throw error;
    expect([error.code, performance.now() - began < 3000]).toEqual(['BAD_TEMPLATE', true]);
    return error.details.join('\n');
  }
  return 'none';
}

const nested = (name: string, depth: number): string => `${`{{#each ${name}}}`.repeat(depth)}x${'{{/each}}'.repeat(depth)}`;

describe('an untrusted template', () => {
  it.each([
    ['loops in loops', nested('@root.vars', 9), /blocks run more than 20000 times/],
    ['loops in loops by the short form', `${'{{#@root.macs}}'.repeat(9)}x${'{{/@root.macs}}'.repeat(9)}`, /blocks run more/],
    ['much text from few loops', `{{#each vars}}{{#each @root.vars}}${'x'.repeat(10_000)}{{/each}}{{/each}}`, /more than 4 MiB/],
    ['partials of itself', '{{#*inline "a"}}{{> a}}{{> a}}{{/inline}}{{> a}}', /not allowed \(line 1\)/],
    ['a file as a partial', '\n{{> "/etc/passwd"}}', /not allowed \(line 2\)/],
    ['a block partial', '{{#> layout}}x{{/layout}}', /not allowed/],
    ['a huge indent', '{{indent 500000000 name}}', /width of 0 to 200/],
    ['its constructor', '{{name.constructor.constructor}}', /constructor/],
    ['its prototype', '{{#with __proto__}}x{{/with}}', /./],
    ['a getter of its own', '{{#with this as |o|}}{{o.__defineGetter__ "x" o}}{{/with}}', /./],
    ['the log', '{{log "x" level="info"}}', /log/],
    ['deep blocks', '{{#if name}}'.repeat(20_000) + '{{/if}}'.repeat(20_000), /100 levels deep/],
    ['a long chain of else-ifs', `{{#if name}}${'{{else if name}}'.repeat(20_000)}{{/if}}`, /levels deep/],
    ['deep expressions', `{{json ${'(json '.repeat(20_000)}name${')'.repeat(20_000)}}}`, /./],
  ])('that wants %s is refused', (_what, source, reason) => {
    expect(refusal(source)).toMatch(reason);
  });

  it('cannot use lookup to read anything', () => {
    for (const key of ['constructor', '__proto__', 'toString', '__lookupGetter__']) expect(render(`{{lookup vars "${key}"}}`)).toBe('');
  });

  it.each([
    ['else branches', '{{#if name}}a{{^}}b{{/if}}', 'a'],
    ['else branches with tildes', '{{#if name}}a{{~^~}}b{{/if}}', 'a'],
    ['comments on blocks', '{{! not {{#if name}}a', 'a'],
    ['long comments on blocks', '{{!-- {{#each vars}} {{#if name}} --}}a', 'a'],
    ['blocks that are text', '\\{{#if name}}a', '{{#if name}}a'],
    ['brackets in comments', `{{!-- ${'('.repeat(200)} --}}a`, 'a'],
  ])('may have many %s', (_what, part, text) => {
    expect(render(part.repeat(150))).toBe(text.repeat(150));
  });

  it('cannot hide depth behind text that looks like a comment', () => {
    expect(refusal(`{{json "{{!--"}}${nested('vars', 101)}{{json "--}}"}}`)).toContain('100 levels deep');
    expect(refusal(`{{!-- --}}${nested('vars', 101)}{{!-- --}}`)).toContain('100 levels deep');
    expect(refusal(`{{^name}}`.repeat(101) + '{{/name}}'.repeat(101))).toContain('100 levels deep');
    expect(refusal(`{{json ${'(json '.repeat(101)}name${')'.repeat(101)}}}`)).toContain('100 brackets');
  });

  it('may loop as much as real ones do', () => {
    expect(render('{{#each vars}}{{#each @root.macs}}{{@index}}{{/each}}{{/each}}')).toHaveLength(100 * 22);
    expect(render('x{{name}}')).toContain('lab-001');
  });
});
