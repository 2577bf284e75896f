import { isAbsolute, join, resolve } from 'node:path';
import { z } from 'zod';
import { CowherdError } from '../errors.js';
import { isPublicKey } from '../guest/ssh-keys.js';
import { maxLength } from '../limits.js';
import { findingsIn } from '../spec/file-findings.js';
import { fleetSchema } from '../spec/spec.js';
import { readYaml } from '../spec/yaml-document.js';

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
});
export type Config = z.output<typeof configSchema>;
export type SettingName = keyof Config;

export const settingNames = Object.keys(configSchema.shape) as SettingName[];

/** Environment variables and their settings; several keys are separated by colons. */
export const variables: Record<SettingName, string> = {
  connect: 'LIBVIRT_DEFAULT_URI',
  store: 'COWHERD_STORE',
  network: 'COWHERD_NETWORK',
  seed: 'COWHERD_SEED',
  sshKeys: 'COWHERD_SSH_KEYS',
  template: 'COWHERD_TEMPLATE',
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

/**
 * Reads a config file. Paths in it are relative to its directory, and may begin with ~/.
 * @throws BAD_SPEC, with the position of each finding
 */
export function parseConfig(content: string, path: string, directory: string, home: string): Config {
  const yaml = readYaml(content);
  if (yaml.problem !== undefined) {
    const { at, reason } = yaml.problem;
    throw new CowherdError('BAD_SPEC', `${path}${at === undefined ? '' : `:${at.line}:${at.column}`}: invalid YAML: ${reason}`, {
      hint: 'Correct the file, or move it away.',
    });
  }
  // An empty file sets nothing.
  const document = yaml.value ?? {};
  const result = configSchema.safeParse(document);
  if (!result.success) {
    const isFleetFile = typeof document === 'object' && ('fleets' in document || ('name' in document && 'count' in document));
    throw new CowherdError('BAD_SPEC', `${path} is not a valid cowherd config file`, {
      details: findingsIn(path, yaml.locate, () => settingNames).of(result.error, document),
      hint: isFleetFile
        ? 'It looks like a fleet file: give it another name, such as lab.yaml, since a cowherd.yaml holds defaults.'
        : `It may set ${settingNames.join(', ')}. Correct the file, or move it away.`,
    });
  }
  return withPaths(result.data, (file) => expand(file, directory, home));
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
    const values = withPaths(parsed.data, (file) => expand(file, directory, home));
    return [{ source: { kind: 'environment' as const, from: variable }, values }];
  });
}

function withPaths(config: Config, expanded: (path: string) => string): Config {
  const { store, template, sshKeys, ...rest } = config;
  return {
    ...rest,
    ...(store === undefined ? {} : { store: expanded(store) }),
    ...(template === undefined ? {} : { template: expanded(template) }),
    ...(sshKeys === undefined ? {} : { sshKeys: sshKeys.map((key) => (isPublicKey(key) ? key : expanded(key))) }),
  };
}

function expand(path: string, directory: string, home: string): string {
  if (path === '~' || path.startsWith('~/')) return join(home, path.slice(2));
  return isAbsolute(path) ? path : resolve(directory, path);
}
