import { link, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { replaceOwnFile } from '../../../src/adapters/host/own-output.js';

const begins = '<!DOCTYPE html>\n<!-- a report -->\n';

describe('a file that the user named, and may write again', () => {
  let directory: string;
  const at = (name: string): string => join(directory, name);
  const write = (name: string, text = `${begins}new`): Promise<void> => replaceOwnFile(at(name), text, { begins, store: at('store') });

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'cwt-output-'));
    await mkdir(at('store'));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  it('is written, and replaced in one step, without a trace beside it', async () => {
    await write('a.html', `${begins}old`);
    await link(at('a.html'), at('kept'));
    const { ino, mode } = await stat(at('a.html'));
    await write('a.html');
    expect(await readFile(at('a.html'), 'utf8')).toBe(`${begins}new`);
    // A reader that has the old file open still sees all of it.
    expect(await readFile(at('kept'), 'utf8')).toBe(`${begins}old`);
    expect(await stat(at('a.html'))).toMatchObject({ mode });
    expect((await stat(at('a.html'))).ino).not.toBe(ino);
    expect((await readdir(directory)).sort()).toEqual(['a.html', 'kept', 'store']);
  });

  it('may be empty before, as mktemp leaves it', async () => {
    await writeFile(at('a.html'), '');
    await write('a.html');
    expect(await readFile(at('a.html'), 'utf8')).toBe(`${begins}new`);
  });

  it.each([
    ['a document', /not an earlier report/, () => writeFile(at('a'), '<!DOCTYPE html>\n<html>')],
    ['a short file', /not an earlier report/, () => writeFile(at('a'), '<')],
    ['a directory', /not a regular file/, () => mkdir(at('a'))],
    ['a pipe', /not a regular file/, () => execa('mkfifo', [at('a')])],
    ['a link to a report', /not a regular file/, () => writeFile(at('b'), begins).then(() => symlink('b', at('a')))],
    ['a link to nothing', /not a regular file/, () => symlink('missing', at('a'))],
  ])('is refused if it is %s', async (_what, message, prepare) => {
    await prepare();
    const before = (await readdir(directory)).sort();
    const error = { code: 'BAD_USAGE', message: expect.stringMatching(message), hint: 'Name another file, or remove it first.' };
    await expect(write('a')).rejects.toMatchObject(error);
    expect((await readdir(directory)).sort()).toEqual(before);
  });

  it('is refused in the store, also through a link, and in a missing directory', async () => {
    await symlink('store', at('link'));
    for (const name of ['store/a.html', 'link/a.html']) {
      await expect(write(name)).rejects.toMatchObject({ code: 'BAD_USAGE', message: expect.stringContaining('is inside the store') });
    }
    await expect(write('none/a.html')).rejects.toMatchObject({ code: 'FILE_NOT_FOUND', hint: 'Create it first.' });
    expect(await readdir(at('store'))).toEqual([]);
  });
});
