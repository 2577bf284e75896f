import { stringify } from 'yaml';

/** The document as YAML, without a newline at its end. */
export function yamlText(document: unknown): string {
  return stringify(document).trimEnd();
}
