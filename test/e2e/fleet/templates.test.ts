import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { domains, guest, Lab, virsh } from '../../support/lab.js';

describe('a template', () => {
  let golden: string;
  const lab = Lab.use(async () => {
    golden = await lab.golden('golden.qcow2', { ending: 'power-button' });
  });

  it('refuses a template that renders an invalid domain, before anything is created', async () => {
    const built = await readFile(new URL('../../../templates/domain.xml.hbs', import.meta.url), 'utf8');
    const fleet = lab.fleet('template');
    const cases: Array<[string, string, RegExp]> = [
      ['not well-formed', built.replace('</devices>', ''), /not well-formed at line \d+/],
      ['without the mark', built.replace('<metadata>{{{metadata}}}</metadata>', ''), /lacks cowherd's mark/],
      ['with a foreign name', built.replace('<name>{{name}}', '<name>x{{name}}'), /<name> is "x/],
      ['without the overlay', built.replace('<source file="{{overlay}}"/>', '<source file="/dev/null"/>'), /0 disks have the overlay/],
      [
        'with an open backing chain',
        built.replace(
          /^ {6}\{\{\{backing\}\}\}$/m,
          '<backingStore type="file"><format type="{{base.format}}"/><source file="{{base.path}}"/></backingStore>',
        ),
        /backing chain is not terminated/,
      ],
      ['with an unknown variable', built.replace('{{memoryMiB}}', '{{memry}}'), /"memry" not defined/],
      ['against the schema', built.replace('<vcpu>', '<vcpux>').replace('</vcpu>', '</vcpux>'), /schema|vcpux/],
      ['that libvirt refuses', built.replace('machine="{{machine}}"', 'machine="toaster"'), /toaster|machine|PCI/],
    ];
    for (const [what, template, message] of cases) {
      const path = join(lab.scratch, 'bad.xml.hbs');
      await writeFile(path, template);
      const { exitCode, json } = await lab.answer('spawn', fleet, '--base', golden, '--count', '3', ...guest, '--template', path);
      expect([what, exitCode]).toEqual([what, 2]);
      expect([what, json.error.message, ...(json.error.details ?? [])].join('\n')).toMatch(message);
      expect((await domains()).filter((name) => name.startsWith(fleet))).toEqual([]);
      expect(await readdir(lab.path('fleets'))).not.toContain(fleet);
    }
    expect((await lab.answer('status', fleet)).exitCode).toBe(5);
  });

  it('ejects a template, renders it with variables, and uses it', async () => {
    const path = join(lab.scratch, 'mine.xml.hbs');
    await lab.ok('template', 'eject', path);
    expect((await lab.answer('template', 'eject', path)).exitCode).toBe(2);
    await writeFile(path, (await readFile(path, 'utf8')).replace('<metadata>', '<title>{{vars.role}} {{index}}</title>\n  <metadata>'));
    const fleet = lab.fleet('mine');
    const missing = await lab.answer('spawn', fleet, '--base', golden, '--count', '1', ...guest, '--template', path);
    expect(missing.json.error.hint).toContain('--var role=VALUE');
    await lab.ok('spawn', fleet, '--base', golden, '--count', '2', ...guest, '--template', path, '--var', 'role=<db> & "web"');
    expect((await virsh('desc', '--title', `${fleet}-002`)).trim()).toBe('<db> & "web" 2');
    expect((await lab.ok('template', 'render', fleet, '2')).xml).toContain('&lt;db&gt;');
    // The fleet keeps its own copy of the template.
    await rm(path);
    expect((await lab.ok('spawn', fleet, '--count', '3')).counts).toMatchObject({ created: 1, unchanged: 2 });
    await lab.ok('teardown', fleet, '--yes');
  });
});
