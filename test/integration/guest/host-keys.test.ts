import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Reidentification, reidentifyAssignments } from '../../../src/core/guest/reidentify.js';
import { makeHostKeys } from '../../../src/services/guest/host-keys.js';

const macs = [{ from: '52:54:00:00:00:01', to: '52:54:00:00:00:02' }];
const identity = { hostname: 'lab-001', machineId: '0123456789abcdef0123456789abcdef', macs, hostKeys: 'renew' as const };
const given = { now: new Date(1_700_000_000_250), entropy: Buffer.from('00ff', 'hex') };
const all: Reidentification = { clock: true, entropy: true, renew: true, identity };

describe('new host keys', () => {
  it('can be read by OpenSSH, including the public keys; the guest generates other types', async () => {
    const types = ['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ssh-rsa'];
    const keys = await makeHostKeys([...types, 'ecdsa-sha2-nistp521', 'ssh-rsa']);
    expect(keys.map(({ publicKey }) => publicKey.split(' ')[0])).toEqual(types);
    const directory = mkdtempSync(join(tmpdir(), 'cwt-keys-'));
    try {
      for (const [position, { privateKey, publicKey }] of keys.entries()) {
        const path = join(directory, String(position));
        writeFileSync(path, privateKey, { mode: 0o600 });
        expect(execFileSync('ssh-keygen', ['-y', '-f', path], { encoding: 'utf8' }).trim()).toBe(publicKey);
      }
    } finally {
      rmSync(directory, { recursive: true });
    }
    const text = reidentifyAssignments({ ...all, identity: { ...identity, newHostKeys: keys } }, given);
    const read = execFileSync('/bin/sh', { input: `${text}printf '%s\\n' "$new_ecdsa" "$new_rsa_pub" "$new_ed25519"`, encoding: 'utf8' });
    expect(read).toBe(`${keys[1]?.privateKey}${keys[2]?.publicKey}\n${keys[0]?.privateKey}`);
    // Binary, for dropbear.
    const binary = execFileSync('/bin/sh', { input: `${text}printf "$new_dropbear"` });
    expect(binary).toEqual(keys[0]?.dropbear);
    expect((await makeHostKeys(types)).map(({ publicKey }) => publicKey)).not.toContain(keys[0]?.publicKey);
  }, 30_000);
});
