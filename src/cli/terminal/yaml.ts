import { withFlagsIn } from './repeated-flags.js';

/** The document as YAML. Only then is the library loaded, which would delay every command. */
export async function yamlOutput(document: unknown): Promise<string> {
  const { yamlText } = await import('../../core/spec/yaml-text.js');
  return yamlText(withFlagsIn(document));
}
