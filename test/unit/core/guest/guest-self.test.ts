import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { parseIdentityReport, whatIsStillGolden } from '../../../../src/core/guest/identity-report.js';
import { type Reidentification, reidentifyAssignments } from '../../../../src/core/guest/reidentify.js';
import { shellQuote } from '../../../../src/core/quoting.js';

const machineId = '0123456789abcdef0123456789abcdef';
const macs = [{ from: '52:54:00:00:00:01', to: '52:54:00:00:00:02' }];
const identity = { hostname: 'lab-001', machineId, macs, hostKeys: 'renew' as const };
const given = { now: new Date(1_700_000_000_250), entropy: Buffer.from('00ff', 'hex') };
const all: Reidentification = { clock: true, entropy: true, renew: true, identity };

describe('the lines before the script', () => {
  it('are empty if there is nothing to do', () => {
    const text = reidentifyAssignments({ clock: false, entropy: false, renew: false }, given);
    expect(text.split('\n').filter((line) => line !== '' && !line.endsWith("=''"))).toEqual([]);
  });

  it.each(['echo plain', `it's "quoted" $HOME \`id\` $(id)`, "'; touch /tmp/cwt-never; '", 'two\nlines \\ and \\n a backslash\\', "''''"])(
    'is what a shell reads back: %s',
    (hook) => {
      const text = reidentifyAssignments({ ...all, hook }, given);
      const read = execFileSync('/bin/sh', {
        input: `${text}printf '%s|' "$clock" "$entropy" "$renew" "$hostname" "$machine_id" "$macs" "$host_keys" "$hook"`,
        encoding: 'utf8',
      });
      const pair = '52:54:00:00:00:01=52:54:00:00:00:02';
      expect(read).toBe(`1700000000.250|00ff|yes|lab-001|${machineId}|${pair}|renew|${hook}|`);
      expect(execFileSync('/bin/sh', ['-c', `printf %s ${shellQuote(hook)}`], { encoding: 'utf8' })).toBe(hook);
    },
  );

  it.each([
    ...['', '-a', 'a-', 'a b', "a';reboot;'", 'a\nb', '$(id)', 'a..b', 'ä', 'a'.repeat(64)].map((hostname) => ({ hostname })),
    ...['', '0'.repeat(32), `${machineId}\n`, machineId.toUpperCase(), machineId.slice(1)].map((id) => ({ machineId: id })),
    { macs: [{ from: '52:54:00:00:00:01', to: '53:54:00:00:00:02' }] },
    { macs: [{ from: '52:54:00:00:00:01', to: '52:54:00:00:00:02 x' }] },
    { macs: [{ from: '52:54:00:00:00:01=', to: '52:54:00:00:00:02' }] },
    { macs: [...macs, { from: '52:54:00:00:00:03', to: '52:54:00:00:00:02' }] },
    { macs: [...macs, { from: '52:54:00:00:00:02', to: '52:54:00:00:00:04' }] },
    { hostKeys: 'reboot' as 'keep' },
  ])('is never %j', (bad) => {
    const act = () => reidentifyAssignments({ ...all, identity: { ...identity, ...bad } }, given);
    expect(act).toThrow(expect.objectContaining({ code: 'BAD_SPEC', hint: expect.any(String) }));
  });

  it.each(['a\0b', 'x'.repeat(20_000)])('is no such hook', (hook) => {
    expect(() => reidentifyAssignments({ ...all, hook }, given)).toThrow(expect.objectContaining({ code: 'BAD_SPEC' }));
  });
});

describe('the identity report of a guest', () => {
  const renewed = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f';
  const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOuKrymgaeyjOvcjZ0jHUX2BcVt0vgbHoqhOvDXMy8Rt';
  const lines = [
    'cowherd-self 1',
    'hostname lab-001',
    `machine-id ${machineId}`,
    'mac 52:54:00:00:00:02',
    'address 10.0.2.16',
    'card-address 10.0.2.16 lasting',
    'card-address 10.0.3.16 dynamic',
    'card-address 10.0.3.300 lasting',
    'dhcp-client networkd',
    `former-key ${key}`,
    `key ${renewed}`,
    'hook 3',
    'clock 1700000001.500000000',
    'note no lease',
    'no-link eth1',
    'no-link \u001b[2J',
    'cowherd-end',
  ];
  const said = lines.join('\n');
  const without = (word: string) => lines.filter((line) => !line.startsWith(word)).join('\n');

  it('is parsed, with other output around it', () => {
    expect(parseIdentityReport('lab-001', `noise\n${said}\nnoise`)).toEqual({
      self: {
        hostname: 'lab-001',
        machineId,
        macs: ['52:54:00:00:00:02'],
        addresses: ['10.0.2.16'],
        cardAddresses: ['10.0.2.16', '10.0.3.16'],
        staticAddresses: ['10.0.2.16'],
        dhcpClients: ['networkd'],
        hostKeys: [renewed],
        clockMs: 1_700_000_001_500,
        withoutLink: ['eth1'],
        notes: ['no lease'],
      },
      formerHostKeys: [key],
      hookCode: 3,
    });
    expect(parseIdentityReport('g', said.replace('.500000000', '.%N')).self.clockMs).toBe(1_700_000_001_000);
    expect(parseIdentityReport('g', without('machine-id')).self.machineId).toBeUndefined();
    // Its script sets addresses without a lifetime.
    expect(parseIdentityReport('g', said.replace('client networkd', 'client udhcpc')).self.staticAddresses).toEqual([]);
  });

  it.each([
    '',
    'cowherd-self 1\n',
    said.replace('cowherd-end', ''),
    without('hostname'),
    without('clock'),
    said.replace('hostname lab-001', 'hostname \u001b[2J'),
  ])('is refused if it is incomplete', (output) => {
    expect(() => parseIdentityReport('lab-001', output)).toThrow(expect.objectContaining({ code: 'NOT_READY' }));
  });

  it('is bounded, and plain text', () => {
    const hostile = [
      ...Array.from({ length: 50_000 }, (_, at) => `note ${at}\u001b[31m${'x'.repeat(1_000)}`),
      ...Array.from({ length: 50_000 }, (_, at) => `word${at} x`),
      'address 999.1.1.1',
      'address 10.0.0.1; reboot',
      'mac zz',
      `key ssh-ed25519 ${'A'.repeat(10_000)}`,
      `key ${renewed}\u001b[31m`,
      // The inner type differs.
      `key ssh-rsa ${renewed.split(' ')[1]}`,
      'key $(id) AAAA',
      'machine-id ../../etc/passwd',
    ].join('\n');
    const began = performance.now();
    const { self } = parseIdentityReport('lab-001', said.replace('hook 3', hostile));
    expect(performance.now() - began).toBeLessThan(15_000);
    expect(self).toMatchObject({ machineId, macs: ['52:54:00:00:00:02'], addresses: ['10.0.2.16'], hostKeys: [renewed] });
    expect(self.notes).toHaveLength(64);
    expect(self.notes.join('')).toMatch(/^[\x20-\x7e…]{1,19200}$/);
  });

  it('shows what is still the same as in the source VM', () => {
    const account = parseIdentityReport('g', said);
    expect(whatIsStillGolden(account, identity)).toEqual([]);
    expect(whatIsStillGolden(account, { ...identity, formerAddresses: ['10.0.2.15', '10.0.3.16'] })).toEqual(['address 10.0.3.16']);
    expect(whatIsStillGolden(account, { ...identity, hostname: 'lab-002', machineId: machineId.replace('0', '1') })).toEqual([
      'host name lab-001',
      `machine-id ${machineId}`,
    ]);
    const golden = parseIdentityReport(
      'g',
      said.replace('mac 52:54:00:00:00:02', 'mac 52:54:00:00:00:01').replace(`key ${renewed}\n`, `key ${key}\n`),
    );
    expect(whatIsStillGolden(golden, identity)).toEqual(['MAC 52:54:00:00:00:01', 'ssh host key ssh-ed25519']);
    expect(whatIsStillGolden(golden, { ...identity, hostKeys: 'keep', macs: [] })).toEqual([]);
    expect(whatIsStillGolden(parseIdentityReport('g', without('key')), identity)).toEqual(['ssh host key: none is left']);
  });
});
