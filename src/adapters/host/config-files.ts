import { lstat, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import { readNamedFile } from './named-files.js';

/** The files with defaults for the command line. */

export interface ConfigFile {
  path: string;
  text: string;
}

export interface FoundConfig {
  project: ConfigFile | undefined;
  user: ConfigFile | undefined;
  /** Project files that are not used, and why. */
  ignored: Array<{ path: string; reason: string }>;
}

const projectFileName = 'cowherd.yaml';

export function home(): string {
  return process.env.HOME || homedir();
}

function userFilePath(): string {
  const { XDG_CONFIG_HOME: directory = '' } = process.env;
  // By the XDG specification, a relative path is invalid.
  return join(isAbsolute(directory) ? directory : join(home(), '.config'), 'cowherd', 'config.yaml');
}

/** @param directory where the search for the project file starts; undefined if there is no working directory */
export async function findConfig(directory: string | undefined): Promise<FoundConfig> {
  const ignored: FoundConfig['ignored'] = [];
  const projectPath = directory === undefined ? undefined : await nearest(directory);
  const distrust = projectPath === undefined ? undefined : await whyNotTrusted(projectPath);
  if (projectPath !== undefined && distrust !== undefined) ignored.push({ path: projectPath, reason: distrust });
  const user = userFilePath();
  return {
    project: projectPath === undefined || distrust !== undefined ? undefined : await read(projectPath),
    user: (await isThere(user)) ? await read(user) : undefined,
    ignored,
  };
}

async function read(path: string): Promise<ConfigFile> {
  return { path, text: await readNamedFile(path) };
}

async function nearest(directory: string): Promise<string | undefined> {
  for (let level = directory; ; level = dirname(level)) {
    const path = join(level, projectFileName);
    if (await isThere(path)) return path;
    if (level === dirname(level)) return undefined;
  }
}

async function isThere(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

/** Another user's file in a shared directory must not select the keys that can log in to this user's guests. */
async function whyNotTrusted(path: string): Promise<string | undefined> {
  const own = process.getuid?.() ?? 0;
  // With sudo, the files of the calling user are trusted too.
  const caller = own === 0 ? Number(process.env.SUDO_UID ?? Number.NaN) : Number.NaN;
  const trusted = new Set([0, own, caller]);
  for (const link of [await lstat(path), await stat(path).catch(() => undefined)]) {
    if (link === undefined) continue;
    if (!trusted.has(link.uid)) return `it belongs to another user (uid ${link.uid})`;
    if (!link.isSymbolicLink() && (link.mode & 0o002) !== 0) return 'every user can write to it';
  }
  return undefined;
}
