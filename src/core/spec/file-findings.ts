import type { z } from 'zod';
import { closestTo } from '../suggestion.js';
import type { YamlPlace } from './yaml-document.js';

/** Problems of a fleet file, one line each, with the position and a suggestion. */

const maxFindings = 20;

export interface Findings {
  /** A line for a problem at a path of the document. */
  at(path: readonly PropertyKey[], message: string, part?: 'key' | 'value'): string;
  of(error: z.ZodError, document: unknown): string[];
}

/**
 * @param locate the position of a path in the text; undefined if the document has no text
 * @param keysAt the valid keys at a path
 */
export function findingsIn(
  file: string,
  locate: ((path: readonly PropertyKey[], part: 'key' | 'value') => YamlPlace | undefined) | undefined,
  keysAt: (path: readonly PropertyKey[]) => readonly string[],
): Findings {
  const placeOf = (path: readonly PropertyKey[], part: 'key' | 'value'): string | undefined => {
    const place = locate?.(path, part);
    return place === undefined ? undefined : `${file}:${place.line}:${place.column}`;
  };
  const at: Findings['at'] = (path, message, part = 'value') => {
    const [place, name] = [placeOf(path, part), formatPath(path)];
    return `${[place, place !== undefined && path.length === 0 ? undefined : name].filter((word) => word !== undefined).join(': ')}: ${message}`;
  };
  const unknownKey = (path: readonly PropertyKey[], key: string): string => {
    const meant = closestTo(key, keysAt(path));
    const known = meant === undefined ? '' : `; did you mean ${JSON.stringify(meant)}?`;
    return `${placeOf([...path, key], 'key') ?? formatPath(path)}: unknown key ${JSON.stringify(key)}${known}`;
  };
  return {
    at,
    of: ({ issues }, document) => {
      // Unknown keys first, since a missing key is often misspelled.
      const unknown = issues.flatMap((issue) =>
        issue.code === 'unrecognized_keys' ? issue.keys.slice(0, maxFindings).map((key) => unknownKey(issue.path, key)) : [],
      );
      const others = issues.filter((issue) => issue.code !== 'unrecognized_keys').slice(0, maxFindings);
      return [...unknown, ...others.map((issue) => at(issue.path, described(issue, valueAt(document, issue.path))))].slice(0, maxFindings);
    },
  };
}

/** A readable message for a zod issue. */
function described(issue: z.core.$ZodIssue, value: unknown): string {
  if (value === undefined && issue.code !== 'custom') return 'is missing';
  if (issue.code === 'invalid_value') {
    const words = issue.values.map(String);
    const meant = typeof value === 'string' ? closestTo(value, words) : undefined;
    const list = words.length === 1 ? `is not ${words[0]}` : `is none of ${words.join(', ')}`;
    return meant === undefined ? list : `${list}; did you mean ${JSON.stringify(meant)}?`;
  }
  if (issue.code === 'invalid_union') return 'cannot be a value of that type';
  return issue.message.replace(/^Invalid input: /, '');
}

function valueAt(document: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, part) => (typeof value === 'object' && value !== null ? (value as Record<PropertyKey, unknown>)[part] : undefined),
    document,
  );
}

function formatPath(path: readonly PropertyKey[]): string {
  if (path.length === 0) return 'the document';
  return path.map((part, position) => (typeof part === 'number' ? `[${part}]` : `${position === 0 ? '' : '.'}${String(part)}`)).join('');
}
