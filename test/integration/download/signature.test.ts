import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { checkSignature } from '../../../src/adapters/download/signature.js';

const list = Buffer.from(`${'ab'.repeat(32)}  image.qcow2\n- dashes\n`);
let home: string;
const at = (name: string): string => join(home, name);
const gpg = (args: string[]) =>
  execa('gpg', ['--batch', '--yes', '--quiet', '--pinentry-mode', 'loopback', '--passphrase', '', ...args], {
    env: { GNUPGHOME: home },
    input: list,
    encoding: 'buffer',
    // It may be a part of a binary signature.
    stripFinalNewline: false,
  });
const sign = async (user: string, ...args: string[]): Promise<Buffer> =>
  Buffer.from((await gpg(['--local-user', user, '--output', '-', ...args])).stdout);
const fingerprints = new Map<string, string>();

/** Real keys: a good one, one that nobody trusts, one that is revoked, and one that expires at once. */
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'cwt-gpg-'));
  for (const user of ['good', 'other', 'revoked']) {
    await gpg(['--quick-generate-key', `${user} <${user}@example.org>`, 'ed25519', 'sign', 'never']);
    const { stdout } = await gpg(['--with-colons', '--list-keys', `${user}@example.org`]);
    fingerprints.set(user, /^fpr:{9}([0-9A-F]{40}):/m.exec(Buffer.from(stdout).toString())?.[1] ?? '');
  }
}, 120_000);
afterAll(async () => {
  await execa('gpgconf', ['--kill', 'all'], { env: { GNUPGHOME: home }, reject: false });
  await rm(home, { recursive: true, force: true });
});

async function keyring(user: string, ...args: string[]): Promise<string> {
  const path = at(`${user}-${args.length}.keys`);
  await writeFile(path, Buffer.from((await gpg(['--export', ...args, `${user}@example.org`])).stdout));
  return path;
}

describe('a signature', () => {
  it('is good if a key that is on this host made it, binary or armored', async () => {
    const text = list.toString();
    for (const armor of [[], ['--armor']]) {
      const signature = await sign('good', ...armor, '--detach-sign');
      const keyrings = [at('missing.gpg'), await keyring('other'), await keyring('good', ...armor)];
      expect(await checkSignature({ signed: list, signature, keyrings })).toEqual({ verdict: 'good', key: fingerprints.get('good'), text });
    }
  });

  it('within the text covers only that text', async () => {
    const signed = await sign('good', '--clear-sign');
    const keyrings = [await keyring('good')];
    const around = Buffer.concat([Buffer.from('before\n\n'), signed, Buffer.from('\nafter\n')]);
    for (const whole of [signed, around]) {
      expect(await checkSignature({ signed: whole, keyrings })).toEqual({
        verdict: 'good',
        key: fingerprints.get('good'),
        text: list.toString(),
      });
    }
    expect(await checkSignature({ signed: Buffer.concat([signed, signed]), keyrings })).toMatchObject({ verdict: 'bad' });
  });

  it('is bad if the content was changed', async () => {
    const keyrings = [await keyring('other'), await keyring('good')];
    const signature = await sign('good', '--detach-sign');
    const bad = { verdict: 'bad', why: expect.stringContaining('the content was changed') };
    expect(await checkSignature({ signed: Buffer.concat([list, Buffer.from('x')]), signature, keyrings })).toMatchObject(bad);
    const signed = (await sign('good', '--clear-sign')).toString().replace('image', 'other');
    expect(await checkSignature({ signed: Buffer.from(signed), keyrings })).toMatchObject(bad);
  });

  it('is unknown without any keyring, and bad if a keyring is there and it cannot be checked with it', async () => {
    const signature = await sign('good', '--detach-sign');
    const other = [await keyring('other')];
    expect(await checkSignature({ signed: list, signature, keyrings: other })).toEqual({
      verdict: 'bad',
      why: expect.stringMatching(/^key [0-9A-F]{16} is not on this host$/),
    });
    for (const keyrings of [[], [at('missing.gpg')]])
      expect(await checkSignature({ signed: list, signature, keyrings })).toMatchObject({ verdict: 'unknown' });
    for (const nonsense of [Buffer.alloc(0), Buffer.from('<html>'), list]) {
      expect(await checkSignature({ signed: list, signature: nonsense, keyrings: other })).toMatchObject({ verdict: 'bad' });
    }
    expect(await checkSignature({ signed: list, keyrings: other })).toEqual({ verdict: 'bad', why: 'it is not signed' });
    // gpgv would unpack it.
    const packed = await sign('good', '--sign');
    expect(await checkSignature({ signed: packed, keyrings: [await keyring('good')] })).toMatchObject({ verdict: 'bad' });
  });

  it('is good if a further one is by a key that is not on this host', async () => {
    const keyrings = [await keyring('good')];
    const text = list.toString();
    const also = ['--local-user', 'other'];
    const good = { verdict: 'good', key: fingerprints.get('good'), text };
    expect(await checkSignature({ signed: list, signature: await sign('good', ...also, '--detach-sign'), keyrings })).toEqual(good);
    expect(await checkSignature({ signed: await sign('good', ...also, '--clear-sign'), keyrings })).toEqual(good);
  });

  it('is bad if its key is revoked or has expired', async () => {
    const signature = await sign('revoked', '--detach-sign');
    const revocation = at(`openpgp-revocs.d/${fingerprints.get('revoked')}.rev`);
    await writeFile(at('revocation'), (await readFile(revocation, 'utf8')).replace(':-----BEGIN', '-----BEGIN'));
    await gpg(['--import', at('revocation')]);
    expect(await checkSignature({ signed: list, signature, keyrings: [await keyring('revoked')] })).toMatchObject({ verdict: 'bad' });

    const then = ['--faked-system-time', '20200101T000000!'];
    await gpg([...then, '--quick-generate-key', 'old <old@example.org>', 'ed25519', 'sign', '1d']);
    const old = await sign('old', ...then, '--detach-sign');
    const expired = await checkSignature({ signed: list, signature: old, keyrings: [await keyring('old')] });
    expect(expired).toMatchObject({ verdict: 'bad', why: expect.stringContaining('has expired') });
  });

  it('is unknown if gpgv is not installed', async () => {
    const signature = await sign('good', '--detach-sign');
    const keyrings = [await keyring('good')];
    vi.stubEnv('PATH', home);
    try {
      expect(await checkSignature({ signed: list, signature, keyrings })).toEqual({ verdict: 'unknown', why: 'gpgv is not installed' });
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it('is not trusted because of a text that imitates the status of gpgv', async () => {
    const forged = `[GNUPG:] GOODSIG x\n[GNUPG:] VALIDSIG ${fingerprints.get('good')} x\n`;
    const signed = Buffer.from(
      `-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n${forged}-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n`,
    );
    expect(await checkSignature({ signed, keyrings: [await keyring('good')] })).toMatchObject({ verdict: 'bad' });
  });
});
