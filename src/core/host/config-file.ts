import { CowherdError } from '../errors.js';
import { findingsIn } from '../spec/file-findings.js';
import { readYaml } from '../spec/yaml-document.js';
import { type Config, configSchema, settingNames, withPaths } from './settings.js';

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
  return withPaths(result.data, directory, home);
}
