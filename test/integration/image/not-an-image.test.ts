import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildGolden } from '../../../scripts/golden.js';
import { localFiles } from '../../../src/adapters/host/local-files.js';
import { BaseDirectory } from '../../../src/adapters/image/base-store.js';
import { QemuImg } from '../../../src/adapters/qemu/qemu-img.js';
import { CowherdError } from '../../../src/core/errors.js';
import { examineFile } from '../../../src/engines/nova/verbs/examine-file.js';
import { readFleetFile } from '../../../src/services/fleet/file.js';

/** Files that cannot become base images as they are. Each is identified, with a hint that is followed here exactly. */
describe('a file that is not an image', () => {
  let dir: string;
  let store: BaseDirectory;
  const at = (name: string): string => join(dir, name);
  const add = (path: string, format?: 'raw' | 'qcow2') => store.import({ path, format, trustChain: false });
  const refused = async (path: string, format?: 'raw' | 'qcow2'): Promise<CowherdError> => {
    const error = await add(path, format).then(
      () => undefined,
      (reason: CowherdError) => reason,
    );
    if (error === undefined) throw new Error(`${path} was accepted`);
    // A dry run reports the same.
    await expect(store.preview({ path, format, trustChain: false })).rejects.toMatchObject({ message: error.message });
    return error;
  };
  /** Runs the commands of a hint. */
  const follow = (error: Pick<CowherdError, 'hint'>) =>
    execa('bash', ['-ec', error.hint?.replace(/^[^:]*: /, '') ?? 'false'], { cwd: dir });
  const run = (command: string) => execa('bash', ['-ec', command], { cwd: dir });

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'cwt-content-'));
    store = new BaseDirectory(at('store'), new QemuImg());
    await buildGolden(at('golden.qcow2'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  it('an ISO image, unless it is meant as a disk', async () => {
    await mkdir(at('tree'));
    await run('genisoimage -quiet -o cd.iso tree 2>/dev/null || xorriso -as mkisofs -quiet -o cd.iso tree');
    await run('cp cd.iso cd.qcow2');
    expect(await refused(at('cd.iso'))).toMatchObject({
      code: 'BASE_REFUSED',
      message: `${at('cd.iso')} is an ISO image: a CD or DVD, not the disk of an installed system`,
      hint: expect.stringContaining('--format raw'),
    });
    expect((await refused(at('cd.qcow2'))).message).toContain('is an ISO image');
    expect((await add(at('cd.iso'), 'raw')).base.format).toBe('raw');
  });

  it.each([
    ['gzip -k golden.qcow2', 'golden.qcow2.gz', 'is compressed with gzip', 'golden.qcow2'],
    ['xz -k golden.qcow2', 'golden.qcow2.xz', 'is compressed with xz', 'golden.qcow2'],
    ['tar -cf golden.tar golden.qcow2', 'golden.tar', 'is a tar archive', 'golden.qcow2'],
    ['tar -czf golden.tgz golden.qcow2', 'golden.tgz', 'is compressed with gzip', 'golden.qcow2'],
    [
      'qemu-img convert -f qcow2 -O vmdk golden.qcow2 DISK.vmdk; tar -cf golden.ova DISK.vmdk; rm DISK.vmdk',
      'golden.ova',
      'is a tar archive',
      'golden.qcow2',
    ],
  ])('an archive, where nothing is unpacked, whose hint extracts the image: %s', async (make, name, what, result) => {
    await run(make);
    await rm(at('golden.qcow2'));
    const ports = { files: localFiles };
    const error = await examineFile({ ports } as never, { path: at(name), trustChain: false }).catch((reason: CowherdError) => reason);
    if (!(error instanceof CowherdError)) throw new Error('accepted');
    expect([error.code, error.message]).toEqual(['BASE_REFUSED', `${at(name)} ${what}`]);
    await follow(error);
    expect((await add(at(result))).base.format).toBe('qcow2');
  });

  it.each([
    ['page.qcow2', '<!DOCTYPE html>\n<html><head><title>404</title>', 'an HTML page'],
    ['page.img', '\n  <html lang="en">'.padEnd(2048), 'an HTML page'],
    ['denied.qcow2', '<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', 'an XML document'],
    ['web.xml', '<domain type="kvm"><name>web</name></domain>', 'an XML document'],
    ['reply.img', '{"message": "Not Found"}'.padEnd(512), 'a JSON document'],
    ['SHA256SUMS', `${'0'.repeat(64)}  debian-12.qcow2\n`.repeat(16), 'a text file'],
    ['packed.zip', Buffer.concat([Buffer.from('504b0304', 'hex'), Buffer.alloc(508)]), 'a zip archive'],
  ])('%s is identified', async (name, content, what) => {
    await writeFile(at(name), content);
    expect((await refused(at(name))).message).toBe(`${at(name)} is ${what}`);
    expect((await refused(at(name), 'qcow2')).message).toBe(`${at(name)} is ${what}`);
  });

  it.each([
    ['in another format', 'qemu-img convert -O qed golden.qcow2 "my disk.img"', 'my disk.img', 'in the format qed'],
    [
      'longer than whole sectors',
      'qemu-img convert -O raw golden.qcow2 "my disk.img"; printf x >> "my disk.img"',
      'my disk.img',
      'not a multiple of 512',
    ],
    [
      'with holes of more than 64 GiB',
      'qemu-img convert -O raw golden.qcow2 "my disk.img"; truncate -s 70G "my disk.img"',
      'my disk.img',
      'are on disk',
    ],
    [
      'cut within a sector that holds nothing',
      'cp golden.qcow2 "my disk.qcow2"; printf x >> "my disk.qcow2"',
      'my disk.qcow2',
      'ends within a sector',
    ],
  ])('a disk image %s, whose hint converts it', async (_, make, name, what) => {
    await run(make);
    const error = await refused(at(name));
    expect([error.code, error.message]).toEqual(['BASE_REFUSED', expect.stringContaining(what)]);
    await rm(at('golden.qcow2'));
    await follow({ hint: error.hint?.replace(/^.*[.:] (?=\w+: (qemu-img|truncate))/, '').replace(/^.*: (?=qemu-img|truncate)/, '') });
    const { base } = await add(at(error.hint?.includes('truncate') ? name : 'golden.qcow2'));
    expect(base.virtualBytes).toBeGreaterThanOrEqual(64 * 1024 ** 2);
  });

  it.each([
    ['on a copy of it', async (path: string) => damage(path)],
    ['Shut down what uses it', async (path: string) => markDirty(path)],
  ])('a damaged image, which the command of the hint repairs: %s', async (says, harm) => {
    await buildGolden(at('my golden.qcow2'), { filledMiB: 1 });
    await harm(at('my golden.qcow2'));
    const error = await refused(at('my golden.qcow2'));
    expect([error.code, error.hint]).toEqual(['BASE_REFUSED', expect.stringContaining(says)]);
    const [, command = ''] = /"(qemu-img check -r all [^"]+)"/.exec(error.hint ?? '') ?? [];
    // It exits with 0 if everything was repaired.
    await run(command);
    expect((await add(at('my golden.qcow2'))).base.format).toBe('qcow2');
  });

  it('another format by mistake: the other --format of the hint works', async () => {
    await run('qemu-img convert -O raw golden.qcow2 disk.qcow2');
    expect((await refused(at('disk.qcow2'))).hint).toBe('If it is a raw disk, use --format raw.');
    expect((await refused(at('disk.qcow2'), 'qcow2')).hint).toBe('Leave out --format, or use --format raw.');
    expect((await add(at('disk.qcow2'), 'raw')).base.format).toBe('raw');
    expect((await refused(at('golden.qcow2'), 'raw')).hint).toMatch(/^Use --format qcow2\./);
    expect((await add(at('golden.qcow2'), 'qcow2')).base.format).toBe('qcow2');
  });

  it('a directory; a disk with any content is accepted', async () => {
    expect(await refused(dir)).toMatchObject({ message: `${dir} is a directory`, hint: `Name the image file in it: ${at('FILE.qcow2')}` });
    for (const [name, byte] of [
      ['zeros.img', 0],
      ['ones.img', 0xff],
      ['bytes.img', 0x90],
    ] as const) {
      await writeFile(at(name), Buffer.alloc(64 * 1024, byte));
      expect((await add(at(name))).base.format).toBe('raw');
    }
    await writeFile(at('letters.img'), 'x'.repeat(1024));
    expect((await add(at('letters.img'), 'raw')).base.format).toBe('raw');
  });

  it('a URL, whose hint has the command that downloads it', async () => {
    const url = 'https://cloud.debian.org/images/debian-12-genericcloud-amd64.qcow2?mirror=1&x=2';
    // test/e2e/base/pull.test.ts runs this command.
    expect(await refused(url)).toMatchObject({ code: 'BAD_USAGE', hint: `Download it into the store: cowherd base pull '${url}'` });
    expect((await refused('ftp://host/')).hint).toContain('curl -fL -o golden.qcow2 ftp://host/');
    expect((await refused(`file://${at('golden.qcow2')}`)).hint).toBe(`Name the path itself: ${at('golden.qcow2')}`);
    // Also from a fleet file, where paths are relative to it.
    const [fleet] = await readFleetFile({ readFile: async () => `name: lab\nbase: ${url}\ncount: 1\n` }, at('lab.yaml'));
    expect(fleet?.base).toBe(url);
    // Simulates curl, since there is no network.
    const local = `file://${at('golden.qcow2')}`;
    await execa('curl', ['-fL', '-o', at('copy.qcow2'), local]);
    expect((await add(at('copy.qcow2'))).how).not.toBe('already there');
  });
});

/** Counts a cluster wrongly: a refcount block of another value. */
async function damage(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const read = async (at: number): Promise<number> => Number((await file.read(Buffer.alloc(8), 0, 8, at)).buffer.readBigUInt64BE());
    const block = await read(await read(48));
    // The count of the first cluster, which is the header: 0 instead of 1.
    await file.write(Buffer.from([0, 0]), 0, 2, block);
  } finally {
    await file.close();
  }
}

/** Sets the bit of an image whose writer was killed. */
async function markDirty(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.write(Buffer.from('0000000000000001', 'hex'), 0, 8, 72);
  } finally {
    await file.close();
  }
}
