import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectedOf } from '../../../src/services/base/pull/expected.js';
import type { PullSource } from '../../../src/services/base/pull/source.js';
import { DownloadLab } from './setup.js';

const sha256 = 'ab'.repeat(32);
const other = 'cd'.repeat(32);

describe('what an image must be', () => {
  let lab: DownloadLab;
  let home: string;
  let key: string;

  const gpg = async (input: string, ...args: string[]): Promise<Buffer> => {
    const quiet = ['--batch', '--yes', '--quiet', '--pinentry-mode', 'loopback', '--passphrase', ''];
    const { stdout } = await execa('gpg', [...quiet, ...args], {
      env: { GNUPGHOME: home },
      input,
      encoding: 'buffer',
      stripFinalNewline: false,
    });
    return Buffer.from(stdout);
  };

  beforeAll(async () => {
    lab = await DownloadLab.open();
    home = await mkdtemp(join(tmpdir(), 'cwt-gpg-'));
    await gpg('', '--quick-generate-key', 'cwt <cwt@example.org>', 'ed25519', 'sign', 'never');
    key = join(home, 'cwt.gpg');
    await writeFile(key, await gpg('', '--export', 'cwt@example.org'));
  }, 120_000);
  afterAll(async () => {
    await execa('gpgconf', ['--kill', 'all'], { env: { GNUPGHOME: home }, reject: false });
    await rm(home, { recursive: true, force: true });
    await lab.close();
  });

  /** Serves a list in a directory of its own. @returns the source of an image beside it */
  function listed(text: string | Buffer, file = 'image-1.qcow2', list: Partial<NonNullable<PullSource['list']>> = {}): PullSource {
    const directory = `/${Math.random().toString(36).slice(2)}`;
    const url = lab.server.serve(`${directory}/SHA256SUMS`, text);
    return { url: lab.server.url(`${directory}/${file}`), name: 'image', list: { url, hash: 'sha256', keyrings: [], ...list } };
  }
  const expected = (source: PullSource, given: { sha256?: string; sha512?: string } = {}) => expectedOf(lab, source, given);

  it('is what the user says, otherwise what a list says, otherwise anything', async () => {
    const source = listed(`${sha256}  image-1.qcow2\n`);
    expect(await expected(source, { sha256: other.toUpperCase() })).toMatchObject({
      sha256: other,
      vouched: { verifiedBy: 'given digest' },
    });
    expect(await expected(source)).toMatchObject({ sha256, url: source.url, vouched: { verifiedBy: 'list', list: source.list?.url } });
    const bare = await expected({ url: source.url, name: 'image' });
    expect(bare).toMatchObject({ vouched: { verifiedBy: 'nothing' }, told: expect.stringContaining('Nothing vouches for this image') });
    expect(bare.sha256 ?? bare.sha512).toBeUndefined();
    await expect(expected(source, { sha256: 'abc' })).rejects.toMatchObject({ code: 'BAD_USAGE' });
  });

  it('is vouched for by a signature whose key is on this host', async () => {
    const text = `${sha256}  image-1.qcow2\n`;
    const clear = await gpg(text, '--clear-sign');
    const inline = await expected(listed(clear, undefined, { signature: 'inline', keyrings: [key] }));
    expect(inline).toMatchObject({ sha256, vouched: { verifiedBy: 'signed list', key: expect.stringMatching(/^[0-9A-F]{40}$/) } });
    const signature = lab.server.serve('/separate.gpg', await gpg(text, '--detach-sign'));
    expect(await expected(listed(text, undefined, { signature, keyrings: [key] }))).toMatchObject({
      vouched: { verifiedBy: 'signed list' },
    });
    const unknown = await expected(listed(clear, undefined, { signature: 'inline', keyrings: ['/nowhere.gpg'] }));
    expect(unknown).toMatchObject({ sha256, vouched: { verifiedBy: 'list' }, told: expect.stringContaining('signature was not checked') });
  });

  it('is refused if the signature is wrong, and text outside a signed text is ignored', async () => {
    const text = `${sha256}  image-1.qcow2\n`;
    const signature = lab.server.serve('/wrong.gpg', await gpg(text, '--detach-sign'));
    await expect(expected(listed(`${other}  image-1.qcow2\n`, undefined, { signature, keyrings: [key] }))).rejects.toMatchObject({
      code: 'BASE_REFUSED',
      message: expect.stringContaining('is not valid: '),
      details: [`it is checked with the keys in ${key}`],
    });
    // A server that is taken over cannot omit the signature, either.
    await expect(expected(listed(text, undefined, { signature: 'inline', keyrings: [key] }))).rejects.toMatchObject({
      message: expect.stringMatching(/is not valid: it is not signed$/),
    });
    const clear = (await gpg('nothing\n'.concat(`${sha256}  image-2.qcow2\n`), '--clear-sign')).toString();
    const around = `${other}  image-1.qcow2\n${clear}${other}  image-1.qcow2\n`;
    await expect(expected(listed(around, undefined, { signature: 'inline', keyrings: [key] }))).rejects.toMatchObject({
      code: 'BASE_REFUSED',
    });
  });

  it('is the newest file of a pattern, and the one digest of a list beside the image', async () => {
    const names = ['image-9.qcow2', 'image-10.qcow2', 'other-11.qcow2'];
    const source = listed(names.map((name, at) => `${String(at).repeat(64)}  ${name}`).join('\n'), 'image-*.qcow2');
    const newest = await expected(source);
    expect(newest).toMatchObject({ sha256: '1'.repeat(64) });
    expect(newest.url).toMatch(/\/image-10\.qcow2$/);
    const image = lab.server.url('/dated/image-latest.qcow2');
    const url = lab.server.serve('/dated/image-latest.qcow2.sha256', `${sha256}  image-20261127.qcow2\n`);
    expect(await expected({ url: image, name: 'image', list: { url, hash: 'sha256', keyrings: [] } })).toMatchObject({
      sha256,
      url: image,
    });
  });

  it('is refused if the list lacks the image or says two things about it', async () => {
    await expect(expected(listed(`${sha256}  image-2.qcow2\n`))).rejects.toMatchObject({
      message: expect.stringContaining('does not list image-1.qcow2'),
    });
    const twice = `${sha256}  image-1.qcow2\n${other}  image-1.qcow2\n`;
    await expect(expected(listed(twice))).rejects.toMatchObject({ code: 'BASE_REFUSED' });
    await expect(expected(listed('<html>'))).rejects.toMatchObject({ code: 'BASE_REFUSED' });
  });
});
