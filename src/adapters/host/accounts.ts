import { runTool } from '../process.js';

/** Users and groups as the host's name service knows them, so also those of a directory such as LDAP. */

const lookUpMs = 10_000;

/** @returns undefined if the user has no entry */
export async function userNameOf(uid: number): Promise<string | undefined> {
  return (await entries('passwd', [uid]))[0]?.[0];
}

/** Names of groups; those without an entry are left out. */
export async function groupNamesOf(gids: readonly number[]): Promise<string[]> {
  return (await entries('group', gids)).flatMap(([name]) => name ?? []);
}

/** All groups of a user; none if the user has no entry. */
export async function groupIdsOf(uid: number): Promise<number[]> {
  return (await lines('id', ['-G', String(uid)])).flatMap((line) => line.split(' ').map(Number));
}

async function entries(database: 'passwd' | 'group', ids: readonly number[]): Promise<string[][]> {
  return ids.length === 0 ? [] : (await lines('getent', [database, ...ids.map(String)])).map((line) => line.split(':'));
}

/** If a tool is missing or does not answer, there are no entries: names are shown as numbers, and only the own group counts. */
async function lines(tool: string, args: readonly string[]): Promise<string[]> {
  const { stdout } = await runTool(tool, args, { timeoutMs: lookUpMs, anyExitCode: true }).catch(() => ({ stdout: '' }));
  return stdout.split('\n').filter((line) => line !== '');
}
