import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { CowherdError } from '../../../../src/core/errors.js';
import { memberIdentity } from '../../../../src/core/fleet/identity.js';
import {
  clientKey,
  compileSeed,
  coveredValues,
  coverHostKey,
  hostKey,
  newInstanceId,
  type SeedSources,
} from '../../../../src/core/guest/seed.js';
import { defaultDomainSpec } from '../../../../src/core/spec/spec.js';

const read = (name: string): string => readFileSync(new URL(`../../../../templates/cloud-init/${name}.hbs`, import.meta.url), 'utf8');
const builtIn: SeedSources = {
  userData: { text: read('user-data'), origin: 'built-in' },
  metaData: { text: read('meta-data'), origin: 'built-in' },
};
const secrets = { key: Buffer.alloc(32, 5), values: { password: 'hunter2 "quoted"\nline' } };
const member = memberIdentity('lab', '8b0c3a52-3a0f-4c5e-9f5e-0d6f0c1b2a33', 3);
const personal = `ssh-ed25519 ${'A'.repeat(68)} "me" & co`;
const record = {
  name: 'lab',
  spec: { ...defaultDomainSpec, seed: 'nocloud' as const, sshKeys: [personal], variables: { role: 'a: b # c' } },
};
const render = (sources: Partial<SeedSources> = {}, instanceId = 'lab-003-12345678') =>
  compileSeed(record, { ...builtIn, ...sources }, secrets)(member, instanceId);
const userData = (text: string) => render({ userData: { text, origin: 'mine.hbs' } });

describe('the built-in seed', () => {
  it('sets the identity of the member, and the keys that can log in', () => {
    const { files, hasHostKey } = render();
    expect(parse(files['meta-data'] ?? '')).toEqual({ 'instance-id': 'lab-003-12345678', 'local-hostname': 'lab-003' });
    expect(files['user-data']).toMatch(/^#cloud-config\n/);
    const config = parse(files['user-data'] ?? '');
    expect(config).toMatchObject({ hostname: 'lab-003', disable_root: false });
    expect(config.ssh_authorized_keys).toEqual([`${clientKey(secrets).publicKey} cowherd-lab`, personal]);
    expect(config.ssh_keys.ed25519_private).toBe(hostKey(secrets, member).privateKey);
    expect(config.ssh_keys.ed25519_public).toBe(hostKey(secrets, member).publicKey);
    expect(files['network-config']).toBeUndefined();
    expect(hasHostKey).toBe(true);
  });

  it('is the same for the same member and instance-id, and differs otherwise', () => {
    expect(render().digest).toBe(render().digest);
    expect(render({}, 'lab-003-ffffffff').digest).not.toBe(render().digest);
    expect(newInstanceId(member, 'abcdefgh-1')).toBe('lab-003-abcdefgh');
    const other = memberIdentity('lab', '8b0c3a52-3a0f-4c5e-9f5e-0d6f0c1b2a33', 4);
    expect(hostKey(secrets, other).publicKey).not.toBe(hostKey(secrets, member).publicKey);
    expect(clientKey(secrets).publicKey).not.toBe(clientKey({ ...secrets, key: Buffer.alloc(32, 6) }).publicKey);
  });
});

describe('a custom seed template', () => {
  it('quotes any value', () => {
    const { files, hasHostKey } = userData('#cloud-config\nrole: {{json vars.role}}\npassword: {{json secrets.password}}\n');
    expect(parse(files['user-data'] ?? '')).toEqual({ role: 'a: b # c', password: 'hunter2 "quoted"\nline' });
    expect(hasHostKey).toBe(false);
  });

  it('may be a script', () => {
    expect(userData('#!/bin/sh\nhostname {{name}}: [\n').files['user-data']).toContain('hostname lab-003: [');
  });

  const refused: Array<[string, Partial<SeedSources>, RegExp]> = [
    [
      'that is not YAML',
      { userData: { text: '#cloud-config\na: [1\nb: {{json secrets.password}}', origin: 'mine.hbs' } },
      /user-data of lab-003 \(mine.hbs\) is not YAML/,
    ],
    ['with an alias that is a password', { userData: { text: '#cloud-config\na: *hunter2secret', origin: 'mine.hbs' } }, /is not YAML/],
    ['with a password for a first line', { userData: { text: 'hunter2', origin: 'mine.hbs' } }, /in no format/],
    ['with a key twice', { userData: { text: '#cloud-config\na: 1\na: 2\n', origin: 'mine.hbs' } }, /is not YAML/],
    ['that is a list', { userData: { text: '#cloud-config\n- a\n', origin: 'mine.hbs' } }, /is not YAML that cloud-init can read/],
    [
      'in no format that cloud-init knows',
      { userData: { text: 'packages: [vim]\n', origin: 'mine.hbs' } },
      /in no format that cloud-init knows/,
    ],
    ['with an unknown variable', { userData: { text: '#cloud-config\na: {{nmae}}', origin: 'mine.hbs' } }, /cannot be rendered/],
    ['without an instance-id', { metaData: { text: 'local-hostname: x', origin: 'mine.hbs' } }, /no usable instance-id/],
    [
      'with an instance-id that stays',
      { metaData: { text: 'instance-id: i-1\nlocal-hostname: x', origin: 'mine.hbs' } },
      /no usable instance-id/,
    ],
    ['with a network-config that is no mapping', { networkConfig: { text: 'dhcp', origin: 'net.hbs' } }, /network-config of lab-003/],
  ];
  it.each(refused)('%s is refused, without revealing a secret', (_what, sources, message) => {
    let error: unknown;
    try {
      render(sources);
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(CowherdError);
    const { message: said, details, hint, code } = error as CowherdError;
    expect([code, said]).toEqual(['BAD_TEMPLATE', expect.stringMatching(message)]);
    expect(hint).toBeTruthy();
    expect([said, ...details, hint].join()).not.toContain('hunter2');
  });

  it('is shown with masked secrets', () => {
    const text = `${read('user-data')}password: {{json secrets.password}}\ncert: |\n{{indent 2 secrets.password}}\n`;
    const sources = { ...builtIn, userData: { text, origin: 'mine.hbs' } };
    const shown = coverHostKey(compileSeed(record, sources, coveredValues(secrets))(member, 'lab-003-12345678')).files['user-data'] ?? '';
    expect(shown).not.toMatch(/hunter2/);
    expect(shown).toContain('password: "********"');
    expect(shown).toContain('-----BEGIN OPENSSH PRIVATE KEY----- ******** -----END');
    expect(shown).toContain(hostKey(secrets, member).publicKey);
  });
});
