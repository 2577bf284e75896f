import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Received } from '../../../../fakes/openstack/fake-cloud.js';
import { BasesLab, disk, sha512 } from '../../../../support/openstack/bases-lab.js';

const lab = BasesLab.here();
const yearMs = 365 * 24 * 3_600_000;
const isUpload = ({ method, path }: Received): boolean => method === 'PUT' && path.endsWith('/file');
const isPatch = ({ method }: Received): boolean => method === 'PATCH';

describe('base add', () => {
  it('uploads a file once, and protects it', async () => {
    const content = disk(1);
    const path = await lab.file('Golden Disk.img', content);
    const seen: string[] = [];
    const added = await lab.bases.add(
      { path, trustChain: false },
      { onProgress: (event) => event.kind === 'bytes' && seen.push(`${event.what} ${event.doneBytes}`) },
    );
    const digest = sha512(content).slice(0, 64);
    expect(added).toMatchObject({
      ...{
        name: 'golden-disk',
        ref: `golden-disk@${digest.slice(0, 12)}`,
        digest,
        format: 'raw',
        virtualBytes: 4096,
        allocatedBytes: 4096,
      },
      ...{ how: 'copied', fleets: [], problems: [], promotedFrom: null, depth: 1, generalisation: [] },
    });
    expect(added).not.toHaveProperty('warning');
    expect(seen).toEqual([`uploading ${path} 4096`]);
    const uploaded = lab.cloud.image('golden-disk');
    expect(uploaded).toMatchObject({
      ...{ tags: ['cowherd'], isProtected: true, minDisk: 1, sha512: sha512(content) },
      properties: { 'cowherd:base': 'golden-disk', 'cowherd:sha512': sha512(content) },
    });

    expect(await lab.add(path)).toMatchObject({ how: 'already there', path: `glance:${uploaded.id}` });
    expect([lab.cloud.images.length, lab.fake.count('PUT', /file/)]).toEqual([1, 1]);
  });

  it('of another content with the same name is another import', async () => {
    const first = await lab.add(await lab.file('golden.img', disk(1)));
    const second = await lab.add(await lab.file('golden.img', disk(2)));
    expect((await lab.bases.list()).bases.map(({ ref }) => ref)).toEqual([first.ref, second.ref]);
    // The name alone means the newest one, as on this host.
    expect(await lab.bases.inspect('golden')).toMatchObject({ digest: second.digest, source: 'a file, by cowherd base add' });
    expect(await lab.bases.inspect(first.ref)).toMatchObject({ digest: first.digest });
    await expect(lab.bases.remove('golden', {})).rejects.toMatchObject({ code: 'BAD_USAGE', hint: expect.stringContaining('base remove') });
    expect(await lab.bases.remove(first.ref, {})).toEqual({ name: 'golden', digest: first.digest, freedBytes: 4096 });
    expect(await lab.bases.remove('golden', {})).toMatchObject({ digest: second.digest });
    expect(lab.cloud.images).toEqual([]);
  });

  it('of the same content with another name is another image', async () => {
    const path = await lab.file('golden.img', disk(1));
    await lab.add(path);
    expect(await lab.add(path, { name: 'other' })).toMatchObject({ how: 'copied', name: 'other' });
    expect(lab.cloud.images).toHaveLength(2);
  });

  const qcow2 = (set: (header: Buffer) => void): Buffer => {
    const header = Buffer.alloc(65_536);
    header.write('QFI\xfb', 'latin1');
    header.writeUInt32BE(3, 4);
    header.writeUInt32BE(16, 20);
    header.writeBigUInt64BE(5n * 1024n ** 3n, 24);
    header.writeUInt32BE(104, 100);
    set(header);
    return header;
  };

  it('reads the size of a qcow2 disk, so that the cloud refuses flavors that are too small', async () => {
    await lab.add(
      await lab.file(
        'golden.qcow2',
        qcow2(() => undefined),
      ),
    );
    expect(lab.cloud.image('golden')).toMatchObject({ format: 'qcow2', minDisk: 5, virtualBytes: 5 * 1024 ** 3 });
  });

  it.each([
    ['a backing file', 'golden.qcow2', qcow2((header) => header.writeBigUInt64BE(512n, 8)), 'BASE_REFUSED', 'qemu-img convert -O qcow2'],
    [
      'an external data file',
      'golden.qcow2',
      qcow2((header) => header.writeBigUInt64BE(4n, 72)),
      'BASE_REFUSED',
      'qemu-img convert -O qcow2',
    ],
    ['encryption', 'golden.qcow2', qcow2((header) => header.writeUInt32BE(1, 32)), 'BASE_REFUSED', 'unencrypted'],
    ['text', 'golden.img', Buffer.from('<html><body>404</body></html>'), 'BASE_REFUSED', 'direct link'],
    ['a part of a sector', 'golden.img', Buffer.concat([disk(1), Buffer.alloc(7)]), 'BASE_REFUSED', 'truncate'],
    ['no valid name', '.img', disk(1), 'BAD_USAGE', 'Rename'],
    ['nothing', 'golden.img', Buffer.alloc(0), 'BASE_REFUSED', 'not empty'],
  ])('refuses a file with %s, without a request', async (_what, name, content, code, hint) => {
    const path = await lab.file(name, content);
    // Also if a backing file is trusted: the cloud does not have it.
    await expect(lab.add(path, { trustChain: true })).rejects.toMatchObject({ code, hint: expect.stringContaining(hint) });
    expect(lab.fake.received).toEqual([]);
  });

  it('refuses a URL, a missing file and a directory', async () => {
    await expect(lab.add('https://example.org/golden.qcow2')).rejects.toMatchObject({
      code: 'BAD_USAGE',
      hint: expect.stringContaining('curl'),
    });
    await expect(lab.add(join(lab.directory, 'x.img'))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
    await expect(lab.add(lab.directory)).rejects.toMatchObject({ code: 'BASE_REFUSED', message: expect.stringContaining('directory') });
  });

  it('warns about a raw disk that cannot boot', async () => {
    expect((await lab.add(await lab.file('golden.img', Buffer.alloc(4096)))).warning).toContain('no boot sector');
  });

  it('protects an image again, and completes an upload that ended before its seal', async () => {
    const path = await lab.file('golden.img', disk(1));
    lab.fake.fail(isPatch, { status: 400, reply: 'no' });
    await expect(lab.add(path)).rejects.toMatchObject({ hint: expect.any(String) });
    expect((await lab.bases.list()).bases).toMatchObject([{ problems: ['it is not protected'] }]);
    expect(await lab.add(path)).toMatchObject({ how: 'already there', problems: [] });
    expect(lab.cloud.images.map(({ isProtected }) => isProtected)).toEqual([true]);
  });

  it('whose seal has a lost reply is sealed', async () => {
    lab.fake.fail(isPatch, 'lost');
    expect(await lab.add(await lab.file('golden.img', disk(1)))).toMatchObject({ problems: [] });
  });

  it('that is interrupted leaves no image', async () => {
    const path = await lab.file('golden.img', disk(1));
    const end = new AbortController();
    lab.fake.fail(isUpload, 'silence');
    setTimeout(() => end.abort(), 100);
    await expect(lab.bases.add({ path, trustChain: false }, { signal: end.signal })).rejects.toMatchObject({ code: 'INTERRUPTED' });
    expect(lab.cloud.images).toEqual([]);
  });

  it('of a file that changes meanwhile leaves no image', async () => {
    const path = await lab.file('golden.img', disk(1));
    lab.fake.on((received) => (isUpload(received) ? void writeFileSync(path, disk(2)) : undefined));
    await expect(lab.add(path)).rejects.toMatchObject({
      code: 'BASE_REFUSED',
      message: expect.stringContaining('changed while it was uploaded'),
    });
    expect(lab.cloud.images).toEqual([]);
  });

  it.each([
    ['is protected', true, 4 * yearMs, 'already there', ['theirs']],
    ['is older', false, -6 * yearMs, 'already there', ['theirs']],
    ['is newer', false, 4 * yearMs, 'copied', ['ours', 'theirs']],
  ] as const)('at the same time as another one, whose image %s, keeps one', async (_what, isProtected, created, how, left) => {
    const content = disk(1);
    const path = await lab.file('golden.img', content);
    let ours: string | undefined;
    lab.fake.on((received) => {
      if (!isUpload(received)) return undefined;
      ours = lab.cloud.image('golden').id;
      const same = { name: 'golden', bytes: content.length, sha512: sha512(content), tags: ['cowherd'] };
      lab.image('theirs', { ...same, properties: { 'cowherd:base': 'golden' }, isProtected, created });
      return undefined;
    });
    const added = await lab.add(path);
    expect(added.how).toBe(how);
    expect(
      lab
        .ids()
        .map((id) => (id === ours ? 'ours' : id))
        .sort(),
    ).toEqual(left);
    // Whatever is left, every later command uses the same image.
    expect(await lab.add(path)).toMatchObject({ how: 'already there', path: added.path });
  });
});
