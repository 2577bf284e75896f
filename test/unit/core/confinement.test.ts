import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { confinementsOf, sharingAdvice } from '../../../src/core/host/confinement.js';
import type { Ports } from '../../../src/ports/index.js';
import { checkSharedMemory } from '../../../src/services/preflight/host-checks.js';

const model = (name: string): string => `<secmodel>\n      <model>${name}</model>\n      <doi>0</doi>\n    </secmodel>`;

describe('security drivers that confine QEMU', () => {
  it('are those of the host that can deny files', () => {
    for (const release of ['debian-12', 'debian-13'])
      expect(confinementsOf(readFileSync(new URL(`../../fixtures/releases/${release}/secmodels.xml`, import.meta.url), 'utf8'))).toEqual(
        [],
      );
    expect(confinementsOf(['none', 'apparmor', 'dac'].map(model).join('\n'))).toEqual(['apparmor']);
    expect(confinementsOf(['selinux', 'dac'].map(model).join('\n'))).toEqual(['selinux']);
  });

  it.each([
    ['apparmor', 'QEMU 7.2.22', '"/srv/store/bases/** rwk,"'],
    ['apparmor', 'QEMU 10.0.2', '"/srv/store/bases/** rk,"'],
    ['selinux', 'QEMU 7.2.22', 'svirt_image_t /srv/store/bases/*/*.ram'],
    ['selinux', 'QEMU 8.2.0', 'virt_content_t /srv/store/bases/*/*.ram'],
  ])('get a line of advice in doctor: %s, %s', async (name, hypervisor, advice) => {
    const ports = {
      hypervisor: { versions: async () => ({ libvirt: '9.0.0', hypervisor }), confinements: async () => [name] },
      fleets: { root: '/srv/store' },
    } as unknown as Ports;
    const [check] = await checkSharedMemory(ports);
    expect(check).toMatchObject({ status: 'ok', message: expect.stringContaining(`${name} confines QEMU`) });
    expect(check?.hint).toContain(advice);
  });

  it('are told the same as in the documentation', () => {
    const page = readFileSync(new URL('../../../docs/warm.md', import.meta.url), 'utf8').replaceAll(/\s+/g, ' ');
    for (const isReadOnly of [true, false]) {
      expect(page).toContain(/\*\* (\w+,)/.exec(sharingAdvice('apparmor', '/s', isReadOnly))?.[1]);
      expect(page).toContain(/-t (\w+)/.exec(sharingAdvice('selinux', '/s', isReadOnly))?.[1]);
    }
  });
});
