import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { imageContent } from '../../support/download/file-server.js';
import { DownloadLab } from './setup.js';

const content = imageContent(8_000_000);
let lab: DownloadLab;
beforeEach(async () => {
  lab = await DownloadLab.open();
});
afterEach(() => lab.close());

describe.runIf(process.getuid?.() === 0)('on a small file system, a download', () => {
  beforeEach(async () => {
    await mkdir(join(lab.store, 'downloads'));
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=3m,mode=755', 'cwt-small', join(lab.store, 'downloads')]);
  });
  afterEach(() => execa('umount', ['--lazy', join(lab.store, 'downloads')]));

  it('that does not fit is refused before it begins', async () => {
    const url = lab.server.serve('/a.img', content);
    const refusal = await lab.refusal(url);
    expect(refusal).toMatchObject({ code: 'PREFLIGHT_FAILED', hint: expect.stringContaining('cowherd base prune') });
    expect(refusal.message).toMatch(/needs 7\.63 MiB, but .*\/downloads has only 3 MiB free$/);
    expect(await lab.files()).toEqual([]);
  });

  it('whose size is unknown fills it, and is removed', async () => {
    const url = lab.server.serve('/a.img', { content, always: { kind: 'chunked' } });
    expect(await lab.refusal(url)).toMatchObject({ code: 'PREFLIGHT_FAILED', hint: expect.stringContaining('The disk is full') });
    expect(await lab.files()).toEqual([]);
    expect(lab.server.requests).toHaveLength(1);
  });
});
