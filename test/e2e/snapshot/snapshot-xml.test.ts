import { writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { judgeDisks } from '../../../src/core/domain/foreign-domain.js';
import { parseXml, printXml } from '../../../src/core/domain/xml-tree.js';
import { overlayElement, switchDisks } from '../../../src/core/snapshot/xml.js';
import { domainFixtures, forThisHost } from '../../fixtures/domains.js';
import { Lab, virsh } from '../../support/lab.js';

/** Checked against libvirt: after the edit, its XML differs only in the covered disks. */
describe('the XML edit, as libvirt sees it', () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.open();
  });
  afterAll(() => lab.close());

  async function define(xml: string): Promise<void> {
    const path = `${lab.scratch}/domain.xml`;
    await writeFile(path, xml);
    await virsh('define', path);
  }

  it.each(domainFixtures)('$name', async ({ name: fixture, xml }) => {
    const name = `${lab.fleet('xml')}-${fixture}`;
    await define(forThisHost(xml, name));
    // libvirt appends controllers, and sorts them when it reads the XML again.
    await define(await virsh('dumpxml', '--inactive', '--security-info', name));
    const before = await virsh('dumpxml', '--inactive', '--security-info', name);
    const { disks } = judgeDisks(parseXml(before, name));
    expect(disks.length).toBeGreaterThan(0);
    const targets = disks.map(({ target }) => target);

    const overlays = disks.map(({ target, image, element }) => ({
      target,
      element: printXml(
        overlayElement(element, `/var/lib/libvirt/images/${name}/${target}.qcow2`, [
          image,
          { path: '/srv/deeper & lower.raw', format: 'raw' },
        ]),
      ),
    }));
    await define(switchDisks(before, overlays));
    const after = await virsh('dumpxml', '--inactive', '--security-info', name);
    for (const target of targets) expect(diskOf(after, target)).toContain(`<source file='/var/lib/libvirt/images/${name}/${target}.qcow2'`);
    for (const target of targets) expect(diskOf(after, target)).toMatch(/<driver [^>]*type='qcow2'/);
    for (const { target, image } of disks) expect(diskOf(after, target)).toContain(`<format type='${image.format}'/>`);
    expect(masked(after, targets)).toBe(masked(before, targets));

    await define(
      switchDisks(
        after,
        disks.map(({ target, element }) => ({ target, element: printXml(element) })),
      ),
    );
    expect(await virsh('dumpxml', '--inactive', '--security-info', name)).toBe(before);
    await virsh('undefine', name, '--nvram');
  });
});

function diskOf(xml: string, target: string): string {
  return xml.split(/(?=<disk )/).find((part) => part.includes(`<target dev='${target}'`)) ?? '';
}

/** The XML without the parts of disks that may change; text-based, to be independent of the code under test. */
function masked(xml: string, targets: readonly string[]): string {
  return xml
    .split(/(?=<disk )/)
    .map((part) => {
      if (!targets.some((target) => part.startsWith('<disk') && part.includes(`<target dev='${target}'`))) return part;
      const end = part.indexOf('<target ');
      const head = part
        .slice(0, end)
        .replace(/(<driver [^>]*?) type='\w+'/, '$1')
        .replace(/<source[\s\S]*(?=$)/, '');
      return `${head.trimEnd()}\n${part.slice(end)}`;
    })
    .join('');
}
