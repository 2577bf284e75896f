import { Composer, type CST, isMap, isScalar, isSeq, Lexer, LineCounter, type ParsedNode, Parser, visit } from 'yaml';

/** Parses untrusted YAML with bounded time, memory and stack. */

const maxDepth = 64;
const maxLexemes = 60_000;
/** Each key is compared with every other key of its mapping. */
const maxComparisons = 1_000_000;
/** Real files have a few aliases; thousands are an attack. */
const maxAliases = 50;

export interface YamlProblem {
  /** May quote the text. */
  reason: string;
  /** Never quotes the text. */
  kind: string;
  /** The position as ` at line 3, column 7`; empty if unknown. */
  place: string;
  /** The same for programs. */
  at: YamlPlace | undefined;
}

/** Both start at 1. */
export interface YamlPlace {
  line: number;
  column: number;
}

export interface YamlValue {
  value: unknown;
  /** The position of a key or its value in the text; for a missing one, the position of its parent. */
  locate(path: readonly PropertyKey[], part: 'key' | 'value'): YamlPlace | undefined;
  problem?: undefined;
}

/** One YAML document as plain values. */
export function readYaml(text: string): YamlValue | { problem: YamlProblem } {
  const lines = new LineCounter();
  lines.addNewLine(0);
  const problemAt = (reason: string, kind: string, offset?: number): { problem: YamlProblem } => {
    const { line, col } = offset === undefined ? { line: 0, col: 0 } : lines.linePos(offset);
    const at = line === 0 ? undefined : { line, column: col };
    return { problem: { reason, kind, place: at === undefined ? '' : ` at line ${line}, column ${col}`, at } };
  };
  try {
    const { tokens, excess, offset } = takeApart(text, lines);
    if (excess !== undefined) return problemAt(excess, excess, offset);
    let comparisons = 0;
    const uniqueKeys = (a: ParsedNode, b: ParsedNode): boolean => {
      if (++comparisons > maxComparisons) throw new RangeError('a mapping in it has too many keys');
      return a === b || (isScalar(a) && isScalar(b) && a.value === b.value);
    };
    const [document, second] = new Composer({ uniqueKeys, logLevel: 'silent' }).compose(tokens, true, text.length);
    if (document === undefined) return { value: null, locate: () => undefined };
    if (second !== undefined) return problemAt('it holds more than one document', 'more than one document', second.range[0]);
    // An unknown tag is only a warning, and its value is misread.
    const [error] = [...document.errors, ...document.warnings];
    if (error !== undefined)
      return problemAt(error.message.split('\n')[0] ?? '', error.code.toLowerCase().replaceAll('_', ' '), error.pos[0]);
    // Later steps would silently skip such a key.
    visit(document, (key, node) => {
      if (key === 'key' && isScalar(node) && node.value === '__proto__') throw new Error('it has a key __proto__, which is not allowed');
    });
    const contents = document.contents as ParsedNode | null;
    return {
      value: document.toJS({ maxAliasCount: maxAliases }),
      locate: (path, part) => {
        const offset = offsetOf(contents, path, part);
        if (offset === undefined) return undefined;
        const { line, col } = lines.linePos(offset);
        return { line, column: col };
      },
    };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return problemAt(reason, /alias/i.test(reason) ? 'an alias names nothing, or there are too many of them' : 'it cannot be read');
  }
}

/** The library composes recursively, and a stack overflow in it can abort the process. */
function takeApart(text: string, lines: LineCounter): { tokens: CST.Token[]; excess?: string; offset?: number } {
  const parser = new Parser(lines.addNewLine);
  const tokens: CST.Token[] = [];
  let lexemes = 0;
  for (const lexeme of new Lexer().lex(text)) {
    for (const token of parser.next(lexeme)) tokens.push(token);
    if (++lexemes > maxLexemes) return { tokens, excess: 'it has too many parts', offset: parser.offset };
    if (parser.stack.length > maxDepth) return { tokens, excess: `it is nested more than ${maxDepth} levels deep`, offset: parser.offset };
  }
  for (const token of parser.end()) tokens.push(token);
  return { tokens };
}

/** As far as the path exists: the content of an alias is elsewhere in the text. */
function offsetOf(contents: ParsedNode | null, path: readonly PropertyKey[], part: 'key' | 'value'): number | undefined {
  let node = contents;
  let offset = node?.range[0];
  for (const [position, step] of path.entries()) {
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step));
      if (pair === undefined) break;
      const isKey = part === 'key' && position === path.length - 1;
      node = pair.value;
      offset = isKey || node === null ? pair.key.range[0] : node.range[0];
    } else if (isSeq(node) && typeof step === 'number' && node.items[step] !== undefined) {
      node = node.items[step];
      offset = node.range[0];
    } else break;
  }
  return offset;
}
