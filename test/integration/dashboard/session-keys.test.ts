import { chmod, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { sessionKeys } from '../../../src/adapters/dashboard/session-keys.js';

let state = '';
const file = () => join(state, 'cowherd', 'dashboard.json');

beforeEach(async () => {
  state = await mkdtemp(join(tmpdir(), 'cwt-state-'));
  vi.stubEnv('XDG_STATE_HOME', state);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(state, { recursive: true, force: true });
});

it('are kept in a file that only this user can read', async () => {
  const made = await sessionKeys();
  expect(made).toMatchObject({ isKept: true, prefix: expect.stringMatching(/^[0-9a-f]{32}$/) });
  expect(made.secret).toHaveLength(32);
  expect(((await stat(file())).mode & 0o777).toString(8)).toBe('600');
  expect(((await stat(join(state, 'cowherd'))).mode & 0o777).toString(8)).toBe('700');
  expect(await sessionKeys()).toEqual(made);
});

it('are replaced if others could have read them, or if the file is damaged', async () => {
  const made = await sessionKeys();
  await chmod(file(), 0o640);
  const second = await sessionKeys();
  expect(second.prefix).not.toBe(made.prefix);
  expect(((await stat(file())).mode & 0o777).toString(8)).toBe('600');
  await writeFile(file(), (await readFile(file(), 'utf8')).slice(0, 20));
  const third = await sessionKeys();
  expect(third).toMatchObject({ isKept: true });
  expect(third.prefix).not.toBe(second.prefix);
});

it('are not read through a link', async () => {
  const made = await sessionKeys();
  const elsewhere = join(state, 'elsewhere.json');
  await writeFile(elsewhere, await readFile(file()), { mode: 0o600 });
  await rm(file());
  await symlink(elsewhere, file());
  expect((await sessionKeys()).prefix).not.toBe(made.prefix);
});

it('last as long as the server where no file can be written', async () => {
  await writeFile(join(state, 'cowherd'), '');
  expect(await sessionKeys()).toMatchObject({ isKept: false });
  await rm(join(state, 'cowherd'));
  await mkdir(join(state, 'cowherd'));
  if (process.getuid?.() !== 0) return;
  const { chown } = await import('node:fs/promises');
  await chown(join(state, 'cowherd'), 65_534, 65_534);
  expect(await sessionKeys()).toMatchObject({ isKept: false });
});
