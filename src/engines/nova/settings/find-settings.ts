import { constants } from 'node:fs';
import { lstat, open, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { CowherdError, isDenied } from '../../../core/errors.js';
import { entryFromFile, type SettingsFile } from '../core/clouds-file.js';
import { parseOpenStackUri } from '../core/connection.js';
import type { CloudSettings } from '../core/settings.js';
import { settingsOf } from '../core/settings-from-entry.js';
import { entryFromEnvironment, variableOf } from '../core/settings-from-environment.js';

export interface SettingsOptions {
  environment?: Record<string, string | undefined>;
  workingDirectory?: string;
  /** Default: /etc/openstack. */
  systemDirectory?: string;
}

const maxBytes = 1024 * 1024;
const endings = ['yaml', 'yml', 'json'];

/**
 * Finds the settings of a cloud where the OpenStack clients look for them.
 * @param uri openstack://CLOUD, or openstack:/// for OS_CLOUD or the other OS_* variables
 * @throws BAD_USAGE, FILE_NOT_FOUND, NOT_SUPPORTED
 */
export async function findSettings(uri: string, options: SettingsOptions = {}): Promise<CloudSettings> {
  const { environment = process.env, workingDirectory = process.cwd() } = options;
  const home = environment.HOME || homedir();
  const cloud = parseOpenStackUri(uri).cloud ?? (environment.OS_CLOUD || undefined);
  if (cloud === undefined) {
    const origin = { title: 'the cloud of the OS_* variables', source: 'the environment', nameOf: variableOf };
    return settingsOf(entryFromEnvironment(environment), { ...origin, home, directory: workingDirectory });
  }
  const places = { environment, workingDirectory, systemDirectory: options.systemDirectory ?? '/etc/openstack', home };
  const file = await findFile('clouds', environment.OS_CLIENT_CONFIG_FILE, places);
  if (file === undefined) throw noFile(cloud, environment.OS_CLIENT_CONFIG_FILE);
  const secure = await findFile('secure', environment.OS_CLIENT_SECURE_FILE, places);
  const inAuth = new Set(Object.keys(entryFromEnvironment({}).auth));
  return settingsOf(entryFromFile(file, secure, cloud), {
    title: `cloud ${cloud}`,
    source: file.path,
    nameOf: (field) => (inAuth.has(field) ? `auth.${field}` : field),
    home,
    directory: dirname(file.path),
  });
}

interface Places {
  environment: Record<string, string | undefined>;
  workingDirectory: string;
  systemDirectory: string;
  home: string;
}

/** The first existing file: the one of the variable, or NAME.yaml, .yml or .json in ./, ~/.config/openstack and /etc/openstack. */
async function findFile(name: string, named: string | undefined, places: Places): Promise<SettingsFile | undefined> {
  const { environment, workingDirectory, systemDirectory, home } = places;
  if (named !== undefined && named !== '') {
    const path = resolve(workingDirectory, named);
    if (await isThere(path)) return read(path);
  }
  const { XDG_CONFIG_HOME: xdg = '' } = environment;
  const directories = [
    workingDirectory,
    ...(isAbsolute(xdg) ? [join(xdg, 'openstack')] : []),
    join(home, '.config/openstack'),
    systemDirectory,
  ];
  for (const directory of directories) {
    for (const ending of endings) {
      const path = join(directory, `${name}.${ending}`);
      if (!(await isThere(path))) continue;
      if (directory === workingDirectory) await refuseOtherUsersFile(path, environment);
      return read(path);
    }
  }
  return undefined;
}

function noFile(cloud: string, named: string | undefined): CowherdError {
  const places = `./, ~/.config/openstack and /etc/openstack${named ? ', nor the file of OS_CLIENT_CONFIG_FILE' : ''}`;
  return new CowherdError('FILE_NOT_FOUND', `There is no clouds.yaml for cloud ${cloud} in ${places}`, {
    hint: 'Download clouds.yaml from the dashboard of your cloud (API access) to ~/.config/openstack, or use openstack:/// with the OS_* variables.',
  });
}

function isThere(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

/** Another user's file in a shared directory must not choose the server to which the password in secure.yaml is sent. */
async function refuseOtherUsersFile(path: string, environment: Record<string, string | undefined>): Promise<void> {
  const own = process.getuid?.() ?? 0;
  // With sudo, the files of the calling user are trusted too.
  const caller = own === 0 ? Number(environment.SUDO_UID ?? Number.NaN) : Number.NaN;
  const trusted = new Set([0, own, caller]);
  for (const stats of [await lstat(path), await stat(path).catch(() => undefined)]) {
    if (stats === undefined) continue;
    const isWritable = !stats.isSymbolicLink() && (stats.mode & 0o002) !== 0;
    if (trusted.has(stats.uid) && !isWritable) continue;
    throw new CowherdError(
      'BAD_USAGE',
      `${path} is not used: ${isWritable ? 'every user can write to it' : 'it belongs to another user'}`,
      {
        hint: `If the file is yours, set OS_CLIENT_CONFIG_FILE=${path} to use it; otherwise run the command in another directory.`,
      },
    );
  }
}

async function read(path: string): Promise<SettingsFile> {
  const refuse = (reason: string, cause?: unknown): CowherdError =>
    new CowherdError('BAD_USAGE', `${path} ${reason}`, {
      hint: `Check ${path}, or set OS_CLIENT_CONFIG_FILE to another clouds.yaml.`,
      cause,
    });
  // A pipe without a writer would block forever.
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((cause: unknown) => {
    throw refuse(isDenied(cause) ? 'may not be read by this user' : 'cannot be read', cause);
  });
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw refuse('is not a file');
    if (stats.size > maxBytes) throw refuse('is larger than 1 MiB');
    return { path, text: new TextDecoder('utf-8', { fatal: true }).decode(await handle.readFile()) };
  } catch (cause) {
    throw cause instanceof CowherdError ? cause : refuse('is not a text file in UTF-8', cause);
  } finally {
    await handle.close();
  }
}
