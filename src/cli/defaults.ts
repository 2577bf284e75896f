import { dirname } from 'node:path';
import { findConfig, home } from '../adapters/host/config-files.js';
import { chooseConnection } from '../adapters/libvirt/connection.js';
import { type ConfigLayer, configOfEnvironment, type Settings, settle } from '../core/host/settings.js';
import { defaultStore } from '../host.js';
import { defaultCloudStore } from '../open-engine.js';

/** Defaults for the command line: environment, then the project's cowherd.yaml, then the user's config.yaml. The library reads none. */

export interface Defaults {
  settings: Settings;
  /** Project files that are ignored, and why. */
  ignored: Array<{ path: string; reason: string }>;
}

/** @throws BAD_SPEC, BAD_USAGE if a file or a variable is invalid */
export async function readDefaults(): Promise<Defaults> {
  const directory = workingDirectory();
  const { project, user, ignored } = await findConfig(directory);
  const layers: ConfigLayer[] = configOfEnvironment(process.env, directory ?? '/', home());
  for (const [kind, file] of [
    ['project file', project],
    ['user file', user],
  ] as const) {
    if (file === undefined) continue;
    // Most users have none: without it, the YAML parser is not loaded.
    const { parseConfig } = await import('../core/host/config-file.js');
    layers.push({ source: { kind, from: file.path }, values: parseConfig(file.text, file.path, dirname(file.path), home()) });
  }
  return { settings: settle(layers), ignored };
}

export { readNamedFile } from '../adapters/host/named-files.js';
export { virshDefault } from '../adapters/libvirt/connection.js';

/** The values used if nothing is set. */
export async function builtInDefaults(connect: string | undefined): Promise<{ connect: string; store: string }> {
  const ofCloud = connect === undefined ? undefined : await defaultCloudStore(connect);
  if (connect !== undefined && ofCloud !== undefined) return { connect, store: ofCloud };
  const uri = await chooseConnection(connect, process.getuid?.() === 0);
  return { connect: uri, store: defaultStore(uri) };
}

function workingDirectory(): string | undefined {
  try {
    return process.cwd();
  } catch {
    return undefined;
  }
}
