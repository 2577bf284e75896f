import { withFlagsIn } from './repeated-flags.js';

/** The document as YAML. Only then is the library loaded, which would delay every command. */
export async function yamlText(document: unknown): Promise<string> {
  const { stringify } = await import('yaml');
  return stringify(withFlagsIn(document)).trimEnd();
}
