import { describe, expect, it } from 'vitest';
import { renderBase } from '../../../src/cli/render/bases.js';
import { listedContents, listedDefaults } from '../../../src/core/image/listed-contents.js';
import type { Contents, ImageDefaults } from '../../../src/core/image/origin.js';
import type { BaseListing } from '../../../src/services/base/bases.js';

describe('base inspect', () => {
  const listing = (contents: Contents, defaults: ImageDefaults): BaseListing => ({
    ...{ name: 'golden', ref: 'golden@1', digest: 'ab'.repeat(32), hash: 'sha256', format: 'qcow2', virtualBytes: 1, allocatedBytes: 1 },
    ...{
      importedAt: '2026-11-27T00:00:00.000Z',
      path: '/store/golden',
      depth: 1,
      layers: [],
      promotedFrom: null,
      pulled: null,
      prepared: null,
      memory: null,
    },
    ...{ contents: listedContents(contents), defaults: listedDefaults(defaults), fleets: [], problems: [] },
  });
  const rows = (contents: Contents, defaults: ImageDefaults = {}, more: { source?: string } = { source: '/golden.qcow2' }): string[] =>
    renderBase({ ...listing(contents, defaults), ...more })
      .split('\n')
      .filter((line) => /^(os|contains|boots with|defaults) /.test(line))
      .map((line) => line.replace(/ {2,}/, ': '));

  it('shows what was found in the image, and the defaults', () => {
    const os = { id: 'debian', version: '12', name: 'Debian GNU/Linux 12 (bookworm)' };
    expect(rows({ os, cloudInit: true, agent: true, firmware: 'both' }, { seed: 'nocloud', wait: 'agent', memoryMiB: 700 })).toEqual([
      'os: Debian GNU/Linux 12 (bookworm)',
      'contains: cloud-init, guest agent',
      'boots with: bios, uefi',
      'defaults: seed nocloud, memory 700 MiB, wait agent',
    ]);
    expect(rows({ os: { id: 'arch' }, cloudInit: false, agent: false, firmware: 'uefi' })).toEqual([
      'os: arch',
      'contains: neither cloud-init nor a guest agent',
      'boots with: uefi',
    ]);
  });

  it('shows no row of what could not be found out', () => {
    expect(rows({})).toEqual([]);
    expect(rows({ firmware: 'bios' })).toEqual(['boots with: bios']);
  });

  it('never passes control characters of a record on', () => {
    expect(rows({ os: { id: 'x', name: '\u001b[2Jx' } }).join()).not.toContain('\u001b');
  });

  it('alone shows it: base add and promote stay short', () => {
    expect(rows({ cloudInit: true }, { seed: 'nocloud' }, {})).toEqual([]);
  });
});
