import { describe, expect, it } from 'vitest';
import { type GuestFacts, hygieneWarnings } from '../../../../src/core/image/hygiene.js';

const clean: GuestFacts = { machineId: undefined, sshHostKeys: [], cloudInitInstance: undefined };
const warned = (facts: Partial<GuestFacts>) => hygieneWarnings({ ...clean, ...facts });

describe('image hygiene', () => {
  it('finds nothing in a clean image', () => {
    expect(warned({})).toEqual([]);
    // Both mean: generate one at the next boot.
    expect(warned({ machineId: '' })).toEqual([]);
    expect(warned({ machineId: 'uninitialized' })).toEqual([]);
  });

  it('warns of a machine-id, with commands for the guest and for the image', () => {
    const [warning, ...others] = warned({ machineId: '0123456789abcdef0123456789abcdef' });
    expect(others).toEqual([]);
    expect(warning?.what).toMatch(/machine-id.*DHCP/);
    expect(warning?.hint).toContain('"truncate -s 0 /etc/machine-id"');
    expect(warning?.hint).toContain('"virt-sysprep -a IMAGE --operations machine-id"');
    // The operation "customize" would write a new one.
    expect(warning?.hint).not.toContain('customize');
  });

  it('names the ssh host keys', () => {
    const [warning] = warned({ sshHostKeys: ['ssh_host_ed25519_key', 'ssh_host_rsa_key'] });
    expect(warning?.what).toContain('(ssh_host_ed25519_key, ssh_host_rsa_key)');
    expect(warning?.hint).toContain('"rm -f /etc/ssh/ssh_host_*"');
    expect(warning?.hint).toContain('"virt-sysprep -a IMAGE --operations ssh-hostkeys"');
    expect(warning?.hint).toContain('ssh-keygen -A');
  });

  it('detects that cloud-init has run, and keeps its seed', () => {
    const [warning] = warned({ cloudInitInstance: 'i-golden' });
    expect(warning?.what).toContain('(instance i-golden)');
    expect(warning?.hint).toContain('"cloud-init clean --logs"');
    expect(warning?.hint).toContain('rm-rf /var/lib/cloud/instances : ');
    expect(warning?.hint).not.toContain('seed');
    expect(warned({ cloudInitInstance: '' })[0]?.what).toMatch(/^cloud-init has run in it: /);
  });

  it('gives one warning for each finding', () => {
    expect(warned({ machineId: 'x', sshHostKeys: ['ssh_host_rsa_key'], cloudInitInstance: 'i' })).toHaveLength(3);
  });
});
