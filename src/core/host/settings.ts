import { isAbsolute, join, resolve } from 'node:path';
import { z } from 'zod';
import { CowherdError } from '../errors.js';
import { isPublicKey } from '../guest/ssh-keys.js';
import { maxLength } from '../limits.js';
import { fleetSchema } from '../spec/spec.js';

/** Defaults of the command line, and the precedence of their sources. */

const text = z.string().min(1).max(maxLength.path);

/** config.yaml and cowherd.yaml. */
export const configSchema = z.strictObject({
  connect: text.optional(),
  store: text.optional(),
  network: fleetSchema.shape.network,
  seed: fleetSchema.shape.seed,
  sshKeys: z.array(text).max(100).optional(),
  template: text.optional(),
  /** The user's own catalog of images: a path or a URL. */
  catalog: text.optional(),
});
export type Config = z.output<typeof configSchema>;
export type SettingName = keyof Config;

export const settingNames = Object.keys(configSchema.shape) as SettingName[];

/** Environment variables and their settings; several keys are separated by colons. */
const variables: Record<SettingName, string> = {
  connect: 'LIBVIRT_DEFAULT_URI',
  store: 'COWHERD_STORE',
  network: 'COWHERD_NETWORK',
  seed: 'COWHERD_SEED',
  sshKeys: 'COWHERD_SSH_KEYS',
  template: 'COWHERD_TEMPLATE',
  catalog: 'COWHERD_CATALOG',
};

export type SourceKind = 'flag' | 'environment' | 'project file' | 'user file' | 'built-in';

/** The source of a value; `from` is the variable or the file. */
export interface Source {
  kind: SourceKind;
  from?: string;
}

export interface ConfigLayer {
  source: Source;
  values: Config;
}

export type Settings = { [Name in SettingName]?: { value: NonNullable<Config[Name]>; source: Source } };

/** @param layers in descending precedence */
export function settle(layers: readonly ConfigLayer[]): Settings {
  const settings: Record<string, { value: unknown; source: Source }> = {};
  for (const name of settingNames) {
    const layer = layers.find(({ values }) => values[name] !== undefined);
    if (layer !== undefined) settings[name] = { value: layer.values[name], source: layer.source };
  }
  return settings as Settings;
}

/** @throws BAD_SPEC */
export function configOfEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
  directory: string,
  home: string,
): ConfigLayer[] {
  return settingNames.flatMap((name) => {
    const variable = variables[name];
    const value = environment[variable];
    if (value === undefined || value === '') return [];
    const parsed = configSchema.safeParse({ [name]: name === 'sshKeys' ? value.split(':').filter((key) => key !== '') : value });
    if (!parsed.success) {
      throw new CowherdError('BAD_USAGE', `${variable} has an invalid value: ${parsed.error.issues[0]?.message ?? ''}`, {
        hint: `Correct it, or unset it: unset ${variable}`,
      });
    }
    const values = withPaths(parsed.data, directory, home);
    return [{ source: { kind: 'environment' as const, from: variable }, values }];
  });
}

/** @returns the config with absolute paths: relative ones are in that directory, and ~ is the home directory */
export function withPaths(config: Config, directory: string, home: string): Config {
  const expanded = (path: string): string => expand(path, directory, home);
  const { store, template, sshKeys, catalog, ...rest } = config;
  return {
    ...rest,
    ...(store === undefined ? {} : { store: expanded(store) }),
    ...(template === undefined ? {} : { template: expanded(template) }),
    ...(catalog === undefined ? {} : { catalog: /^https?:\/\//i.test(catalog) ? catalog : expanded(catalog) }),
    ...(sshKeys === undefined ? {} : { sshKeys: sshKeys.map((key) => (isPublicKey(key) ? key : expanded(key))) }),
  };
}

function expand(path: string, directory: string, home: string): string {
  if (path === '~' || path.startsWith('~/')) return join(home, path.slice(2));
  return isAbsolute(path) ? path : resolve(directory, path);
}
