import { CowherdError } from '../errors.js';
import { findingsIn } from '../spec/file-findings.js';
import { readYaml, type YamlValue } from '../spec/yaml-document.js';
import {
  architectures,
  type Catalog,
  catalogDefaultsSchema,
  catalogImageSchema,
  catalogSchema,
  imageFileSchema,
  listSchema,
} from './catalog.js';

const hint = 'A catalog has images; each needs a name and files with a url: see "The catalog" in docs/base-images.md.';

/**
 * Reads a catalog in YAML or JSON.
 * @param where its path or URL, for messages
 * @throws BAD_SPEC, one detail line per finding, each with its position
 */
export function parseCatalog(text: string, where: string): Catalog {
  const yaml = readYaml(text);
  if (yaml.problem !== undefined) {
    const { at, reason } = yaml.problem;
    throw new CowherdError('BAD_SPEC', `${where}${at === undefined ? '' : `:${at.line}:${at.column}`}: invalid YAML: ${reason}`, { hint });
  }
  return checkCatalog(yaml.value, where, yaml.locate);
}

/**
 * Checks a parsed catalog.
 * @param locate the position of a path of the document in the text
 * @throws BAD_SPEC
 */
export function checkCatalog(document: unknown, where: string, locate?: YamlValue['locate']): Catalog {
  const findings = findingsIn(where, locate, knownKeys);
  const refuse = (details: string[], advice: string): never => {
    throw new CowherdError('BAD_SPEC', `${where} is not a catalog of images`, { details, hint: advice });
  };
  const result = catalogSchema.safeParse(document);
  if (!result.success) return refuse(findings.of(result.error, document), hint);
  const repeated = repeatedNames(result.data);
  if (repeated.length > 0) {
    const details = repeated.map(({ path, word, earlier }) => findings.at(path, `${word} is already a name of images[${earlier}]`));
    return refuse(details, 'Use each name and each alias only once.');
  }
  return result.data;
}

function knownKeys(path: readonly PropertyKey[]): string[] {
  switch (path.at(-1)) {
    case 'defaults':
      return Object.keys(catalogDefaultsSchema.shape);
    case 'files':
      return [...architectures];
    case 'list':
      return Object.keys(listSchema.shape);
    default:
      if (path.length === 0) return Object.keys(catalogSchema.shape);
      return path.at(-2) === 'files' ? Object.keys(imageFileSchema.shape) : Object.keys(catalogImageSchema.shape);
  }
}

/** At most twenty. */
function repeatedNames({ images }: Catalog): Array<{ path: PropertyKey[]; word: string; earlier: number }> {
  const seen = new Map<string, number>();
  const repeated: ReturnType<typeof repeatedNames> = [];
  for (const [position, { name, aliases }] of images.entries()) {
    const words: Array<[string, PropertyKey[]]> = [
      [name, ['name']],
      ...aliases.map((alias, index): [string, PropertyKey[]] => [alias, ['aliases', index]]),
    ];
    for (const [word, path] of words) {
      const earlier = seen.get(word);
      if (earlier === undefined) seen.set(word, position);
      else repeated.push({ path: ['images', position, ...path], word, earlier });
    }
  }
  return repeated.slice(0, 20);
}
